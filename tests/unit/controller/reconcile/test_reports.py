"""What people are told of a reconcile: Events, metrics, and nothing twice."""

from __future__ import annotations

import pytest

from rotated_secrets.controller.work.queue import RetryLater
from rotated_secrets.secretstores.base import (
    AccessDenied,
    StoreError,
    StoreRefused,
    StoreThrottled,
    StoreUnavailable,
)
from tests.support.fake_operator import KEY, SPEC, FakeOperator, changed, with_admin


def metric(operator: FakeOperator, series: str, **labels: str) -> float | None:
    return operator.services.metrics.registry.get_sample_value(f"rotatedsecrets_{series}", labels)


def test_delivery_is_told_counted_and_its_echo_known_as_our_own(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.reconcile()
    assert operator.events.reasons.count("SecretSynced") == 1
    assert metric(operator, "sync_total", outcome="written") == 1
    target = operator.target()
    assert target is not None
    assert not operator.services.index.needs_look(KEY, target["metadata"]["resourceVersion"])


@pytest.mark.parametrize("by_others", [False, True])
def test_change_of_the_target_secret_by_others_while_it_is_written_is_looked_at(
    operator: FakeOperator, by_others: bool
) -> None:
    index = operator.services.index

    def shown(method: str, path: str) -> None:
        if path.startswith("/api/v1/namespaces/shop/secrets") and (target := operator.target()) is not None:
            assert not index.needs_look(KEY, target["metadata"]["resourceVersion"])
            assert not by_others or not index.needs_look(KEY, "of-others")

    operator.cluster.after_write = shown
    with_admin(operator).apply(SPEC)
    operator.looked_at.clear()
    operator.reconcile()
    assert (KEY in operator.looked_at) == by_others


def test_rotation_is_told_and_counted_once(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()
    operator.ask("now")
    operator.settle()
    assert [reason for reason in operator.events.reasons if reason.startswith("Rotation")] == [
        "RotationStarted",
        "RotationSucceeded",
    ]
    labels = {"engine": "fake", "strategy": "SingleUser", "trigger": "Annotation", "outcome": "Succeeded"}
    assert metric(operator, "rotations_total", **labels) == 1
    for step in ("createSecret", "setSecret", "testSecret", "finishSecret"):
        assert metric(operator, "rotation_step_seconds_count", engine="fake", step=step) == 1


def test_gauges_follow_the_status_and_go_with_the_resource(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.reconcile()
    assert metric(operator, "ready", namespace="shop", name="orders") == 1
    operator.apply(changed(SPEC, source={"secretId": "billing/orders"}))
    operator.reconcile()
    assert metric(operator, "ready", namespace="shop", name="orders") == 0
    operator.cluster.objects.clear()
    operator.reconcile()
    assert metric(operator, "ready", namespace="shop", name="orders") is None


def test_spec_that_does_not_parse_is_not_ready_and_keeps_the_rest_of_its_status(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.reconcile()
    before = operator.status()
    operator.apply({"source": {"secretId": "shop/orders"}, "rotation": {"strategy": "Unheard"}})
    operator.reconcile()
    assert metric(operator, "ready", namespace="shop", name="orders") == 0
    assert operator.condition()[:2] == ("False", "InvalidSpec")
    after = operator.status()
    assert after["state"] == "InvalidSpec"
    assert metric(operator, "rotation_failing", namespace="shop", name="orders") == 0
    assert {key: after[key] for key in before if key not in ("conditions", "state", "observedGeneration")} == {
        key: before[key] for key in before if key not in ("conditions", "state", "observedGeneration")
    }


def test_denial_is_told_once_however_often_it_is_looked_at(operator: FakeOperator) -> None:
    operator.apply(changed(SPEC, source={"secretId": "billing/orders"}))
    for _ in range(3):
        operator.reconcile()
    assert operator.events.reasons == ["AccessDenied"]


def test_hold_is_told_once_and_its_end_too(operator: FakeOperator) -> None:
    with_admin(operator).apply(changed(SPEC, rotation={"suspend": True}))
    operator.settle()
    operator.ask("now")
    for _ in range(3):
        operator.reconcile()
    operator.apply(SPEC, annotations={"rotatedsecrets.io/rotate": "now"})
    operator.settle()
    assert operator.events.reasons.count("RotationHeld") == 1
    assert operator.events.reasons.count("RotationResumed") == 1
    assert metric(operator, "rotation_held", reason="Suspended") == 0


def test_database_logins_are_counted_by_purpose_and_outcome(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()
    operator.server().passwords["app"] = "changed by hand"
    operator.ask("now")
    operator.settle()
    logins = {"engine": "fake", "purpose": "verify"}
    assert metric(operator, "database_connections_total", **logins, outcome="ok") == 1
    assert metric(operator, "database_connections_total", **logins, outcome="AuthenticationFailed") == 1


def test_step_that_failed_is_told_on_the_resource_until_it_succeeds(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()
    operator.server().down = True
    operator.ask("now")
    for _ in range(2):
        with pytest.raises(RetryLater):
            operator.reconcile()
        assert operator.condition("Rotated")[0] == "False"
    operator.server().down = False
    operator.settle()
    assert operator.condition("Rotated")[0] == "True"


def test_our_own_rotation_is_no_news_to_the_change_feed(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()
    operator.services.feeds.poll()
    operator.ask("now")
    operator.settle()
    operator.looked_at.clear()
    operator.services.feeds.poll()
    assert operator.looked_at == []


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (AccessDenied("allow secretsmanager:PutSecretValue"), 1),
        (StoreRefused("LimitExceededException"), 1),
        (StoreUnavailable("AWS is away"), 0),
        (StoreThrottled("AWS is busy"), 0),
    ],
    ids=lambda each: type(each).__name__,
)
def test_step_that_is_refused_counts_as_failed_once_and_one_that_passes_does_not(
    operator: FakeOperator, error: StoreError, counted: int
) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()

    def fail(operation: str, asked: str) -> None:
        if operation == "PutSecretValue":
            raise error

    operator.aws.before_call = fail
    operator.ask("now")
    for _ in range(3):
        with pytest.raises(RetryLater):
            operator.reconcile()
    labels = {"engine": "fake", "strategy": "SingleUser", "trigger": "Annotation"}
    assert metric(operator, "rotations_total", **labels, outcome="Failed") == counted
    assert operator.condition("Rotated")[:2] == ("False", "CreateFailed")
    operator.aws.before_call = lambda operation, asked: None
    operator.settle()
    assert metric(operator, "rotations_total", **labels, outcome="Succeeded") == 1
