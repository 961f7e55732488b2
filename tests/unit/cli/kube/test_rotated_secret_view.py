"""The lenient reader understands what the models of the operator write."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rotated_secrets.api.status import (
    ConditionType,
    HandledRequests,
    Outcome,
    Reason,
    Retiring,
    RotatedSecretStatus,
    Step,
)
from rotated_secrets.cli.kube import rotated_secret
from rotated_secrets.rotation.policies import ATTEMPTS
from tests.support.cli.resource_builders import FIRST, NOW, SECOND, claim_of, entry_of, object_of, status_of, view_of


def test_its_constants_are_those_of_the_api() -> None:
    assert list(Step) == list(rotated_secret.STEPS)
    assert list(ConditionType) == list(rotated_secret.CONDITIONS)
    assert set(Reason) >= rotated_secret.NEEDS_FIX_REASONS
    assert rotated_secret.ATTEMPTS == ATTEMPTS
    assert [each for each in Outcome if view_of(status_of(history=(entry_of(each),))).history[0].succeeded] == [
        Outcome.SUCCEEDED
    ]


def test_every_field_that_the_operator_writes_is_read() -> None:
    found = view_of(
        status_of(
            rotation=claim_of(attempt=2, failure="refused"),
            history=(entry_of(),),
            retiring=Retiring(version_id=FIRST, user="orders", after=NOW),
            handled_requests=HandledRequests(rotate="before", resync="look"),
        ),
        annotations={"rotatedsecrets.io/rotate": "now", "rotatedsecrets.io/resync": "look"},
        target={"secretName": "orders-secret"},
        schedule="rate(7 days)",
        suspend=True,
    )
    assert (found.namespace, found.name, found.secret_id, found.target) == (
        "shop",
        "orders-db",
        "shop/orders-db",
        "orders-secret",
    )
    assert (found.strategy, found.schedule, found.suspended) == ("AlternatingUsers", "rate(7 days)", True)
    assert (found.engine, found.active_user) == ("postgres", "orders")
    assert (found.current_version_id, found.synced_version_id) == (FIRST, FIRST)
    assert (found.last_rotation, found.last_duration) == (NOW - timedelta(days=3), "1.2s")
    assert found.next_rotation == NOW + timedelta(days=4)
    assert [each.type for each in found.conditions] == [each for each in ConditionType if each != "Stalled"]
    assert (found.rotate_request, found.resync_request) == ("now", "look")
    assert (found.handled_rotate, found.handled_resync) == ("before", "look")
    assert found.claim == rotated_secret.ClaimView(
        "Annotation", "now", SECOND, "SetSecret", 2, NOW - timedelta(seconds=2), "SetSecret begins", "refused"
    )
    assert found.history[0].took == timedelta(seconds=1.25)
    assert found.retiring == rotated_secret.RetiringPassword("orders", FIRST, NOW)


@pytest.mark.parametrize(
    "status",
    [
        None,
        {"conditions": None, "history": ["?"], "rotation": "Rotating", "lastRotationTime": "yesterday"},
        {"history": [{"outcome": "Postponed", "step": "Fifth"}], "rotation": {"trigger": "Whim"}},
    ],
)
def test_a_status_of_another_operator_version_breaks_nothing(status: dict[str, Any] | None) -> None:
    found = rotated_secret.read(object_of() | {"status": status})
    assert found.ready == "Unknown"
    assert found.last_rotation is None


def test_an_unknown_word_is_kept_as_it_is() -> None:
    written = status_of(history=(entry_of(),)).model_dump(mode="json", by_alias=True, exclude_none=True)
    written["history"][0]["outcome"] = "Postponed"
    assert rotated_secret.read(object_of() | {"status": written}).history[0].outcome == "Postponed"


def test_there_is_no_target_with_creation_policy_none() -> None:
    assert view_of(target={"creationPolicy": "None"}).target is None
    assert view_of(RotatedSecretStatus()).target == "orders-db"
