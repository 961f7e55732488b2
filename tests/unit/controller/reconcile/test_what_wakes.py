"""A RotatedSecret that rests costs nothing, and each thing that its look depends on ends the rest."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotated_secrets.api.names import REQUEST_ANNOTATIONS, RESYNC_ANNOTATION, ROTATE_ANNOTATION
from rotated_secrets.controller.work.queue import RetryLater
from tests.support.fake_operator import KEY, SPEC, FakeOperator, changed, fake_operator, with_admin, write_policy

SECRET = "/api/v1/namespaces/shop/secrets/orders"
ALLOWED = {"namespaces": ["shop"], "secrets": ["shop/*"], "adminSecrets": ["shop/admin/*"]}


@pytest.fixture
def resting(operator: FakeOperator) -> FakeOperator:
    with_admin(operator).apply(SPEC)
    operator.settle()
    return operator


def test_rest_costs_no_call_to_aws_no_login_and_no_write(resting: FakeOperator) -> None:
    before = len(resting.aws.calls), len(resting.server().logins), len(resting.cluster.writes)
    for _ in range(3):
        resting.reconcile()
    assert before == (len(resting.aws.calls), len(resting.server().logins), len(resting.cluster.writes))


def edits_the_spec(operator: FakeOperator) -> None:
    operator.apply(changed(SPEC, rotation={"verifyQueries": ["SELECT 1"]}))


def makes_it_again(operator: FakeOperator) -> None:
    operator.apply(SPEC, uid="another")


def edits_the_target(operator: FakeOperator) -> None:
    secret = operator.cluster.objects[SECRET]
    operator.cluster.put(SECRET, secret | {"data": {"password": "eHh4"}})


def deletes_the_target(operator: FakeOperator) -> None:
    del operator.cluster.objects[SECRET]


@pytest.mark.parametrize(
    "happens",
    [
        edits_the_spec,
        makes_it_again,
        edits_the_target,
        deletes_the_target,
    ],
)
def test_rest_ends(resting: FakeOperator, happens: Callable[[FakeOperator], None]) -> None:
    happens(resting)
    assert resting.looks_afresh()


@pytest.mark.parametrize("annotation", sorted(REQUEST_ANNOTATIONS))
def test_rest_ends_with_a_new_value_of_an_annotation_that_asks_for_something(
    resting: FakeOperator, annotation: str
) -> None:
    resting.ask("now", annotation=annotation)
    assert resting.looks_afresh()


def test_annotations_that_ask_for_something_are_known() -> None:
    assert {RESYNC_ANNOTATION, ROTATE_ANNOTATION} <= REQUEST_ANNOTATIONS


def test_rest_ends_with_another_policy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write_policy(tmp_path / "policy", ALLOWED)
    with fake_operator(monkeypatch, access_policy_file=path) as operator:
        with_admin(operator).apply(SPEC)
        operator.settle()
        assert not operator.looks_afresh()
        write_policy(path, ALLOWED, {"namespaces": ["other"], "secrets": ["other/*"]})
        assert operator.looks_afresh()


def test_rest_ends_with_news_from_the_store(resting: FakeOperator) -> None:
    resting.services.observed.invalidate(KEY)
    assert resting.looks_afresh()


def test_rest_ends_when_the_schedule_comes_true(operator: FakeOperator) -> None:
    with_admin(operator).apply(changed(SPEC, rotation={"schedule": "rate(30 days)"}))
    operator.settle()
    due = operator.reconcile()
    assert due is not None
    assert timedelta(days=29) < due - datetime.now(UTC) <= timedelta(days=30)


class TestWaiting:
    """How long a hold rests depends on whether a watch tells of its end."""

    def rests(self, operator: FakeOperator) -> timedelta | None:
        operator.ask("now")
        operator.settle()
        again = operator.reconcile()
        return None if again is None else again - datetime.now(UTC)

    def test_suspended_waits_for_an_edit_alone(self, operator: FakeOperator) -> None:
        with_admin(operator).apply(changed(SPEC, rotation={"suspend": True}))
        assert self.rests(operator) is None
        assert operator.condition("Held")[1] == "Suspended"

    def test_login_that_was_rejected_is_tried_again_after_minutes_not_seconds(self, operator: FakeOperator) -> None:
        """Many databases lock a user out after a few."""
        with_admin(operator).apply(SPEC)
        operator.settle()
        operator.server().passwords["app"] = "changed by hand"
        again = self.rests(operator)
        assert operator.condition("Held")[1] == "LoginFailed"
        assert again is not None
        assert timedelta(minutes=4) < again <= timedelta(minutes=5)
        assert operator.server().users.count("app") == 2

    def test_secret_rotated_elsewhere_is_looked_at_after_minutes(self, operator: FakeOperator) -> None:
        with_admin(operator)
        next(iter(operator.aws.secrets.values())).about["rotation_enabled"] = True
        operator.apply(SPEC)
        again = self.rests(operator)
        assert again is not None
        assert timedelta(minutes=4) < again <= timedelta(minutes=5)

    def test_obstacle_is_looked_at_after_minutes_also_where_nothing_is_due(self, operator: FakeOperator) -> None:
        with_admin(operator).apply(changed(SPEC, rotation={"schedule": "rate(1 hour)"}))
        operator.settle()
        again = operator.reconcile()
        assert again is not None
        assert again - datetime.now(UTC) <= timedelta(minutes=5)

    def test_target_in_the_way_is_checked_each_minute_without_a_call_to_aws(self, operator: FakeOperator) -> None:
        operator.cluster.put(SECRET, {"data": {}, "type": "Opaque"})
        with_admin(operator).apply(SPEC)
        operator.settle()
        again = operator.reconcile()
        assert operator.condition("Synced")[:2] == ("False", "NotOurs")
        assert again is not None
        assert timedelta(seconds=50) < again - datetime.now(UTC) <= timedelta(minutes=1)
        assert not operator.looks_afresh()
        del operator.cluster.objects[SECRET]
        operator.settle()
        assert operator.condition("Synced")[0] == "True"

    def test_workload_that_could_not_be_restarted_is_tried_again_within_minutes(self, operator: FakeOperator) -> None:
        with_admin(operator)
        spec = changed(SPEC, rollout={"restart": [{"kind": "Deployment", "name": "api"}]})
        where = "/apis/apps/v1/namespaces/shop/deployments/api"
        operator.cluster.put(where, {"spec": {"template": {"metadata": {}, "spec": {}}}})
        operator.apply(spec)
        operator.settle()
        operator.cluster.forbidden.add(("PATCH", where))
        operator.ask("now")
        again = operator.reconcile()
        assert again is not None
        assert timedelta(minutes=4) < again - datetime.now(UTC) <= timedelta(minutes=5)
        operator.cluster.forbidden.clear()


def test_target_that_somebody_goes_on_changing_is_put_back_a_few_times_at_once(resting: FakeOperator) -> None:
    for _ in range(30):
        edits_the_target(resting)
        calls = len(resting.aws.calls)
        try:
            resting.reconcile()
        except RetryLater:
            raise AssertionError("a fight is no failure") from None
    assert resting.condition("Synced")[:2] == ("False", "SyncFailed")
    assert "still changes it" in resting.condition("Ready")[2]
    assert len(resting.aws.calls) == calls, "the store is asked in a fight"
    puts = [path for method, path in resting.cluster.writes if method == "PUT"]
    assert 5 <= len(puts) <= 15


def test_new_version_is_delivered_in_the_middle_of_a_fight(resting: FakeOperator) -> None:
    for _ in range(30):
        edits_the_target(resting)
        resting.reconcile()
    resting.ask("now")
    resting.settle()
    assert resting.condition("Rotated")[0] == "True"
    assert resting.condition("Synced")[0] == "True"
