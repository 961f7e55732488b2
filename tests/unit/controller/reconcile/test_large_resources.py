"""A RotatedSecret that is too large is refused with what to remove, and nothing of it is kept or done."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from rotated_secrets.cluster import Conflict, Rejected, Unreachable
from rotated_secrets.controller.watch.transform import LARGEST
from tests.support.fake_operator import KEY, SPEC, FakeOperator, path_of, with_admin

LABELS = {"filling": "x" * LARGEST}


@pytest.fixture
def large(operator: FakeOperator) -> FakeOperator:
    with_admin(operator).apply(SPEC, labels=LABELS)
    return operator


def test_resource_that_is_too_large_is_told_its_size_and_what_to_remove(
    large: FakeOperator, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert large.reconcile() is None
    status, reason, message = large.condition()
    assert (status, reason) == ("False", "InvalidSpec")
    assert message.startswith("RotatedSecret shop/orders is too large: 512 KiB as JSON with metadata.labels alone 512")
    assert message.endswith("reads at most 512 KiB and 10000 values; remove what fills metadata.labels")
    assert large.events.recorded == [("ResourceTooLarge", message)]
    assert [record.getMessage() for record in caplog.records] == [message]
    assert not large.aws.calls
    assert large.target() is None


def test_its_status_is_written_once(large: FakeOperator) -> None:
    large.reconcile()
    before = large.cluster.writes
    large.reconcile()
    assert large.cluster.writes == before


def test_resource_that_was_made_smaller_is_worked_on(large: FakeOperator) -> None:
    large.reconcile()
    large.apply(SPEC, labels={})
    large.settle()
    assert large.condition()[0] == "True"


def test_resource_that_grows_keeps_what_its_status_holds(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()
    before = operator.status()
    operator.apply(SPEC, labels=LABELS)
    operator.reconcile()
    after = operator.status()
    assert {**after, "conditions": [], "state": ""} == {**before, "conditions": [], "state": ""}
    assert after["state"] == "InvalidSpec"
    assert [each["type"] for each in after["conditions"]] == [
        *(each["type"] for each in before["conditions"]),
        "Stalled",
    ]
    assert operator.condition()[1] == "InvalidSpec"


@pytest.mark.parametrize("seen", [True, False])
def test_its_secret_is_free_for_another(operator: FakeOperator, seen: bool) -> None:
    """Also where the watch has not shown yet that it is too large, or where it only has too many values."""
    other = KEY._replace(name="young")
    with_admin(operator).apply(SPEC, creationTimestamp="2026-01-01T00:00:00Z")
    operator.apply(SPEC, key=other, creationTimestamp="2026-01-02T00:00:00Z")
    operator.settle()
    operator.settle(other)
    assert operator.condition("Held", key=other)[1] == "ManagedElsewhere"
    if seen:
        operator.apply(SPEC, labels=LABELS)
    else:
        operator.cluster.put(path_of(KEY), {"spec": SPEC, "metadata": {"labels": LABELS}})
    operator.reconcile()
    operator.services.look_again((other,))
    operator.settle(other)
    assert operator.condition("Held", key=other)[1] == "NotHeld"


@pytest.mark.parametrize("error", [Rejected("etcd: too large", 413), Unreachable("no answer"), Conflict("moved", 409)])
def test_status_that_cannot_be_written_is_no_reason_to_try_for_ever(
    large: FakeOperator, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = large.cluster.request

    def refused(method: str, path: str, **options: Any) -> Any:
        if method == "PATCH":
            raise error
        return request(method, path, **options)

    monkeypatch.setattr(large.cluster, "request", refused)
    assert large.reconcile() is None
    assert large.events.reasons == ["ResourceTooLarge"]
    assert (KEY in large.looked_at) is isinstance(error, Conflict), "it is another object now"


def test_resource_that_goes_while_it_is_refused_is_let_go(large: FakeOperator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large.services.resources, "read_large", lambda key: None)
    assert large.reconcile() is None
    assert large.events.recorded == []


def test_status_of_another_version_is_replaced_by_its_conditions_alone(large: FakeOperator) -> None:
    large.cluster.objects[path_of(KEY)]["status"] = {"rotation": {"trigger": "FromTheFuture"}}
    large.reconcile()
    assert large.condition()[1] == "InvalidSpec"
    assert large.status()["rotation"] == {"trigger": "FromTheFuture"}
