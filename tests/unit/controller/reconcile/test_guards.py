"""A replica that has lost the lead changes nothing: not the store, not a database, not the cluster."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rotated_secrets.controller.process.leader import LeadershipLost
from rotated_secrets.controller.watch.transform import LARGEST
from tests.support.fake_operator import KEY, SPEC, FakeOperator, changed, path_of, with_admin

WRITES = ("PutSecretValue", "UpdateSecretVersionStage", "RotateSecret")


def loses_the_lead(operator: FakeOperator) -> Callable[..., None]:
    def lose(*_: object) -> None:
        operator.leader.leads = False

    return lose


def test_nothing_is_written_about_a_secret_that_is_denied(operator: FakeOperator) -> None:
    operator.apply(changed(SPEC, source={"secretId": "billing/orders"}))
    operator.leader.leads = False
    with pytest.raises(LeadershipLost):
        operator.reconcile()
    assert operator.cluster.writes == []
    assert operator.events.recorded == []


def test_nothing_is_written_about_a_spec_that_does_not_parse(operator: FakeOperator) -> None:
    operator.apply({"source": {}})
    operator.leader.leads = False
    with pytest.raises(LeadershipLost):
        operator.reconcile()
    assert operator.cluster.writes == []


def test_nothing_is_written_about_a_resource_that_is_too_large(operator: FakeOperator) -> None:
    operator.apply(SPEC, labels={"filling": "x" * LARGEST})
    operator.leader.leads = False
    with pytest.raises(LeadershipLost):
        operator.reconcile()
    assert operator.cluster.writes == []
    assert operator.events.recorded == []


def test_nothing_is_written_about_a_resource_that_is_being_deleted(operator: FakeOperator) -> None:
    operator.apply(SPEC, deletionTimestamp="2026-01-02T00:00:00Z")
    operator.leader.leads = False
    with pytest.raises(LeadershipLost):
        operator.reconcile()
    assert operator.cluster.writes == []


def test_no_action_begins(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.leader.leads = False
    with pytest.raises(LeadershipLost):
        operator.reconcile()
    assert operator.server().logins == []
    assert operator.cluster.writes == []


def test_status_at_the_end_of_a_run_is_not_written(operator: FakeOperator) -> None:
    """Its last action was the target Secret; what is left to write is the status alone."""
    with_admin(operator).apply(SPEC)
    operator.cluster.after_write = loses_the_lead(operator)
    with pytest.raises(LeadershipLost):
        operator.reconcile()
    assert [path for _, path in operator.cluster.writes] == ["/api/v1/namespaces/shop/secrets"]
    assert "AccessDenied" not in operator.events.reasons


def test_status_at_the_end_of_a_run_is_written_by_the_leader(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.reconcile()
    assert operator.cluster.writes[-1] == ("PATCH", f"{path_of(KEY)}/status")
    assert operator.status()["currentVersionId"]
    assert operator.status()["observedGeneration"] == 1


@pytest.mark.parametrize("call", range(1, 5))
def test_lead_that_is_lost_before_a_call_ends_the_rotation_there(operator: FakeOperator, call: int) -> None:
    """The next action asks for the Lease again; the next leader goes on from what was done."""
    with_admin(operator).apply(SPEC)
    operator.settle()
    made = 0

    def counts(operation: str, asked: str) -> None:
        nonlocal made
        made += operation in WRITES or operation == "GetSecretValue"
        operator.leader.leads = made < call + 1

    operator.aws.before_call = counts
    operator.ask("now")
    before = len(operator.aws.calls)
    with pytest.raises(LeadershipLost):
        operator.reconcile()
    later = [operation for operation, _, _ in operator.aws.calls[before:]]
    operator.aws.before_call = lambda operation, asked: None
    operator.leader.leads = True
    assert later.count("PutSecretValue") <= 1
    operator.settle()
    assert operator.condition("Rotated")[0] == "True"
    assert len(operator.status()["history"]) == 1
    assert operator.aws.operations().count("PutSecretValue") == 1
