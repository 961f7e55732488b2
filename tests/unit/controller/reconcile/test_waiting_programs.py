"""What programs see that wait for a RotatedSecret: in progress, then current, or failed where a person has to act."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from rotated_secrets.controller.work.queue import RetryLater
from tests.support.fake_operator import KEY, SPEC, FakeOperator, changed, path_of, with_admin
from tests.support.kstatus import CURRENT, FAILED, computed


def seen(operator: FakeOperator) -> str:
    return computed(operator.cluster.objects[path_of(KEY)])


def test_what_works_is_current(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()
    assert seen(operator) == CURRENT
    assert operator.condition("Stalled") == ("", "", "")


STALLS: list[tuple[str, dict[str, Any]]] = [
    ("InvalidSpec", {"source": {"secretId": "shop/orders"}, "rotation": {"strategy": "Unheard"}}),
    ("AccessDenied", changed(SPEC, source={"secretId": "billing/orders"})),
    ("SecretNotFound", changed(SPEC, source={"secretId": "shop/absent"})),
    ("TemplateFailed", changed(SPEC, target={"template": {"URL": "{{ absent }}"}})),
]


@pytest.mark.parametrize(("reason", "spec"), STALLS, ids=[each[0] for each in STALLS])
def test_what_only_a_person_can_correct_has_failed_until_it_is_corrected(
    reason: str, spec: dict[str, Any], operator: FakeOperator
) -> None:
    with_admin(operator).apply(spec)
    with contextlib.suppress(RetryLater):
        operator.reconcile()
    assert (seen(operator), operator.condition("Stalled")[1]) == (FAILED, reason)
    operator.apply(SPEC)
    operator.settle()
    assert (seen(operator), operator.condition("Stalled")) == (CURRENT, ("", "", ""))


def test_spec_that_does_not_parse_any_more_is_seen_as_its_generation(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()
    operator.apply(STALLS[0][1])
    operator.reconcile()
    assert operator.status()["observedGeneration"] == 2
    assert seen(operator) == FAILED
