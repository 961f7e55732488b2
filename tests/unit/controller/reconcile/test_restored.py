"""A RotatedSecret that a backup has restored, with annotations of the one before it, and no status."""

from __future__ import annotations

from typing import Any

import pytest

from rotated_secrets.api.names import ROTATE_ANNOTATION
from tests.support.fake_operator import SPEC, FakeOperator, changed, with_admin

OLDER = "2025-12-31T23:59:59Z-4f1c2a9b"
"""What the command line wrote before the fake cluster makes an object."""


def managed(time: str) -> list[dict[str, Any]]:
    fields: dict[str, Any] = {"f:metadata": {"f:annotations": {f"f:{ROTATE_ANNOTATION}": {}}}}
    return [{"manager": "velero", "operation": "Update", "time": time, "fieldsV1": fields}]


@pytest.mark.parametrize("rotation", [{}, {"strategy": "External", "adminSecretId": None}])
def test_request_of_the_one_before_does_not_rotate_again_and_is_acknowledged(
    operator: FakeOperator, rotation: dict[str, Any]
) -> None:
    spec = changed(SPEC, rotation=rotation)
    made = managed("2026-01-01T00:00:00Z")
    with_admin(operator).apply(spec, annotations={ROTATE_ANNOTATION: OLDER}, managedFields=made)
    operator.settle()
    assert operator.status()["handledRequests"]["rotate"] == OLDER
    assert operator.status().get("history", []) == []
    assert operator.condition()[0] == "True"


def test_writing_the_same_annotation_again_asks_for_nothing_and_another_value_does(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC, annotations={ROTATE_ANNOTATION: OLDER})
    operator.settle()
    operator.apply(SPEC, annotations={ROTATE_ANNOTATION: OLDER}, managedFields=managed("2026-03-01T00:00:00Z"))
    operator.settle()
    assert operator.status().get("history", []) == []
    operator.ask("2026-03-01T00:00:00Z-77777777")
    operator.settle()
    assert [entry["outcome"] for entry in operator.status()["history"]] == ["Succeeded"]


def test_request_that_was_made_after_the_creation_rotates_although_its_clock_was_slow(operator: FakeOperator) -> None:
    with_admin(operator).apply(
        SPEC, annotations={ROTATE_ANNOTATION: OLDER}, managedFields=managed("2026-01-01T00:00:01Z")
    )
    operator.settle()
    assert [entry["outcome"] for entry in operator.status()["history"]] == ["Succeeded"]
