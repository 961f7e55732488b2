"""What AWS returned for what was asked: held against the policy before anything of it is read, and usable at all."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rotated_secrets.api.key import Key
from rotated_secrets.controller.work.queue import RetryLater
from rotated_secrets.rotation.observation import with_stage_moved
from rotated_secrets.values import Stage, VersionId
from tests.support.fake_operator import KEY, SPEC, FakeOperator, changed, with_admin


def test_secret_that_aws_returns_is_held_against_the_policy_before_it_is_read(operator: FakeOperator) -> None:
    with_admin(operator)
    operator.aws.returns["shop/orders"] = operator.secret("billing/orders").arn
    operator.apply(SPEC)
    operator.reconcile()
    assert operator.condition()[:2] == ("False", "AccessDenied")
    assert "billing/orders" in operator.condition()[2]
    assert operator.aws.operations() == ["DescribeSecret"]
    assert operator.target() is None


def test_what_aws_returned_and_the_policy_denies_is_not_followed(operator: FakeOperator) -> None:
    with_admin(operator)
    operator.aws.returns["shop/orders"] = operator.secret("billing/orders").arn
    operator.apply(SPEC)
    operator.reconcile()
    operator.aws.calls.clear()
    operator.services.feeds.poll()
    assert operator.aws.calls == []


def test_secret_that_is_not_there_is_looked_for_again(operator: FakeOperator) -> None:
    operator.apply(SPEC)
    with pytest.raises(RetryLater):
        operator.reconcile()
    assert operator.condition()[:2] == ("False", "SecretNotFound")


def test_secret_that_is_to_be_deleted_is_not_delivered(operator: FakeOperator) -> None:
    with_admin(operator)
    operator.aws.create("shop/x", "y").about = {}
    secret = next(iter(operator.aws.secrets.values()))
    secret.about["deleted_at"] = datetime(2026, 1, 2, tzinfo=UTC)
    operator.apply(SPEC)
    with pytest.raises(RetryLater):
        operator.reconcile()
    assert operator.condition()[1] == "SecretNotFound"
    assert "scheduled for deletion" in operator.condition()[2]
    assert operator.target() is None


def test_secret_without_a_current_version_is_told(operator: FakeOperator) -> None:
    with_admin(operator)
    secret = next(iter(operator.aws.secrets.values()))
    secret.stages = {}
    operator.apply(SPEC)
    with pytest.raises(RetryLater):
        operator.reconcile()
    assert "no version staged AWSCURRENT" in operator.condition()[2]


def test_stage_that_moved_between_two_calls_makes_a_new_look_and_no_decision(operator: FakeOperator) -> None:
    with_admin(operator)
    secret = next(iter(operator.aws.secrets.values()))

    def moves(operation: str, asked: str) -> None:
        if operation == "GetSecretValue" and len(secret.versions) == 1:
            secret.put(operator.credential(password="second"), "second")

    operator.aws.before_call = moves
    operator.apply(SPEC)
    with pytest.raises(RetryLater, match="moved"):
        operator.reconcile()
    assert operator.target() is None
    operator.settle()
    assert operator.status()["syncedVersionId"] == "second"


def test_secret_that_turns_out_to_be_anothers_has_both_looked_at_again(operator: FakeOperator) -> None:
    """One names it by its ARN, one by its name: only AWS tells that both are the same."""
    with_admin(operator)
    secret = next(iter(operator.aws.secrets.values()))
    operator.apply(SPEC, creationTimestamp="2026-01-02T00:00:00Z")
    operator.settle()
    older = Key("shop", "older")
    operator.apply(changed(SPEC, source={"secretId": secret.arn}), key=older, creationTimestamp="2020-01-01T00:00:00Z")
    operator.looked_at.clear()
    operator.reconcile(older)
    assert KEY in operator.looked_at
    operator.reconcile(KEY)
    assert operator.condition("Held")[1] == "ManagedElsewhere"


def test_secret_is_followed_from_the_first_look_on(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()
    secret = next(iter(operator.aws.secrets.values()))
    operator.services.feeds.poll()
    operator.looked_at.clear()
    secret.put(operator.credential(password="by-hand"), "by-hand")
    operator.services.feeds.poll()
    assert operator.looked_at == [KEY]


def test_secret_that_does_not_make_sense_yet_is_followed_already(operator: FakeOperator) -> None:
    with_admin(operator)
    secret = next(iter(operator.aws.secrets.values()))
    secret.put("not json", "broken")
    operator.apply(SPEC)
    with pytest.raises(RetryLater):
        operator.reconcile()
    assert operator.condition()[1] == "InvalidSecretValue"
    operator.services.feeds.poll()
    operator.looked_at.clear()
    secret.put(operator.credential(), "mended")
    operator.services.feeds.poll()
    assert operator.looked_at == [KEY]


def test_pending_version_of_someone_else_is_left_alone(operator: FakeOperator) -> None:
    with_admin(operator)
    secret = next(iter(operator.aws.secrets.values()))
    operator.apply(SPEC)
    operator.settle()
    secret.versions[VersionId("strange")] = secret.current
    secret.stages = with_stage_moved(secret.stages, Stage.PENDING, to=VersionId("strange"))
    operator.ask("now")
    operator.reconcile()
    assert operator.condition("Held")[:2] == ("True", "ManagedElsewhere")
    assert "PutSecretValue" not in operator.aws.operations()
