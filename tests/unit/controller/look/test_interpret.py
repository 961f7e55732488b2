"""What a spec and a value mean: where the credential logs in, by which engine, and what stands in the way."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from rotated_secrets.api.key import Key
from rotated_secrets.controller.work.queue import RetryLater
from rotated_secrets.databases.base import PasswordLimits
from tests.support.fake_operator import KEY, SPEC, FakeOperator, changed, fake_operator, with_admin

ALTERNATING = {"strategy": "AlternatingUsers"}


def looked_at(operator: FakeOperator, spec: Any, **metadata: Any) -> tuple[str, str, str]:
    operator.apply(spec, **metadata)
    with contextlib.suppress(RetryLater):
        operator.reconcile()
    return operator.condition()


def test_template_that_makes_no_sense_costs_no_call_to_aws(operator: FakeOperator) -> None:
    with_admin(operator)
    status, reason, _ = looked_at(operator, changed(SPEC, target={"template": {"A": "{{ for }"}}))
    assert (status, reason) == ("False", "InvalidSpec")
    assert operator.aws.calls == []


def test_webhook_at_a_host_that_is_not_allowed_costs_no_call_to_aws(operator: FakeOperator) -> None:
    webhook = {"webhook": {"url": "https://hooks.example.com/x", "authSecretName": "hook"}}
    spec = changed(SPEC, database=webhook, rotation={"strategy": "SingleUser", "adminSecretId": None})
    del spec["rotation"]["adminSecretId"]
    status, reason, message = looked_at(operator, spec)
    assert (status, reason) == ("False", "InvalidSpec")
    assert "do not allow webhooks at hooks.example.com" in message
    assert operator.aws.calls == []


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("a-token", "not a JSON object"),
        ({"engine": "fake"}, "lacks"),
        ({"engine": "unheard-of", "host": "h", "username": "u", "password": "p"}, "engine in the secret value"),
        ({"engine": "fake", "host": "192.0.2.7", "username": "u" * 21, "password": "p"}, "too long"),
    ],
)
def test_value_that_cannot_be_rotated_is_told_and_not_delivered(operator: FakeOperator, value: Any, says: str) -> None:
    with_admin(operator)
    next(iter(operator.aws.secrets.values())).put(value, "broken")
    status, reason, message = looked_at(operator, SPEC)
    assert (status, reason) == ("False", "InvalidSecretValue")
    assert says in message
    assert operator.target() is None


def test_random_value_is_refused_where_the_value_is_a_databases(operator: FakeOperator) -> None:
    operator.secret()
    spec = {"source": {"secretId": "shop/orders"}, "rotation": {"strategy": "RandomValue"}}
    assert looked_at(operator, spec)[:2] == ("False", "InvalidSecretValue")
    assert operator.target() is None


EXTERNAL = {"strategy": "External", "schedule": "rate(30 days)"}


def external(operator: FakeOperator, about: dict[str, Any], **rotation: Any) -> tuple[str, str, str]:
    operator.secret().about.update(about)
    return looked_at(operator, {"source": {"secretId": "shop/orders"}, "rotation": EXTERNAL | rotation})


def test_schedule_of_a_secret_that_aws_does_not_rotate_is_told_long_before_it_is_due(operator: FakeOperator) -> None:
    status, reason, message = external(operator, {})
    assert (status, reason) == ("False", "InvalidSpec")
    assert "no rotation is configured" in message
    assert "aws secretsmanager rotate-secret" in message
    assert operator.target() is not None
    next(iter(operator.aws.secrets.values())).about["rotation_enabled"] = True
    operator.services.observed.invalidate(KEY)
    operator.settle()
    assert operator.condition()[0] == "True"
    assert "RotateSecret" not in operator.aws.operations()


@pytest.mark.parametrize(
    ("about", "rotation"),
    [
        ({"rotation_enabled": True}, {}),
        ({}, {"schedule": None}),
        ({}, {"suspend": True}),
        ({"primary_region": "eu-north-1"}, {}),
    ],
)
def test_secret_that_aws_rotates_or_need_not_rotate_is_followed(
    operator: FakeOperator, about: dict[str, Any], rotation: dict[str, Any]
) -> None:
    assert external(operator, about, **rotation)[0] == "True"


@pytest.mark.parametrize(
    ("rotation", "says"),
    [
        ({"schedule": "rate(1 hour)"}, "4"),
        (ALTERNATING | {"cloneSuffix": "_root"}, "cloneSuffix _root is not one that the operator allows"),
    ],
)
def test_rotation_that_the_settings_do_not_allow_is_an_obstacle_and_no_end_of_delivery(
    operator: FakeOperator, rotation: dict[str, Any], says: str
) -> None:
    with_admin(operator)
    status, reason, message = looked_at(operator, changed(SPEC, rotation=rotation))
    assert (status, reason) == ("False", "InvalidSpec")
    assert says in message
    assert operator.target() is not None
    operator.ask("now")
    operator.reconcile()
    assert operator.condition("Held")[:2] == ("True", "InvalidSpec")
    assert "PutSecretValue" not in operator.aws.operations()


def test_strategy_that_the_engine_lacks_is_an_obstacle(operator: FakeOperator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator.engine, "strategies", frozenset())
    with_admin(operator)
    assert "fake has no SingleUser" in looked_at(operator, SPEC)[2]
    assert operator.target() is not None


def test_password_that_the_engine_does_not_take_is_an_obstacle(
    operator: FakeOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator.engine, "passwords", PasswordLimits(longest=8))
    with_admin(operator)
    assert looked_at(operator, SPEC)[1] == "InvalidSpec"
    operator.ask("now")
    operator.reconcile()
    assert "PutSecretValue" not in operator.aws.operations()


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"rotation_enabled": True}, "AWS rotates this secret itself"),
        ({"owning_service": "rds"}, "managed and rotated by the AWS service rds"),
        ({"primary_region": "us-east-1"}, "a replica of the one in us-east-1"),
    ],
)
def test_secret_that_is_rotated_elsewhere_is_followed_and_not_rotated(
    operator: FakeOperator, about: dict[str, Any], says: str
) -> None:
    with_admin(operator)
    next(iter(operator.aws.secrets.values())).about = about
    looked_at(operator, SPEC)
    assert operator.target() is not None
    operator.ask("now")
    operator.reconcile()
    held = operator.condition("Held")
    assert held[:2] == ("True", "ManagedElsewhere")
    assert says in held[2]
    assert "PutSecretValue" not in operator.aws.operations()


def test_oldest_resource_alone_rotates_a_secret(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC, key=Key("shop", "older"), creationTimestamp="2020-01-01T00:00:00Z")
    looked_at(operator, SPEC)
    operator.ask("now")
    operator.reconcile()
    assert operator.condition("Held")[:2] == ("True", "ManagedElsewhere")
    assert "shop/older was there first" in operator.condition("Held")[2]


def test_older_resource_that_may_not_use_the_secret_holds_nothing_although_no_look_was_taken_at_it(
    operator: FakeOperator,
) -> None:
    """Its namespace may have thousands that wait for a look before it."""
    squatter = {**SPEC, "source": {"secretId": "shop/orders"}}
    with_admin(operator).apply(squatter, key=Key("stranger", "older"), creationTimestamp="2020-01-01T00:00:00Z")
    looked_at(operator, SPEC)
    operator.ask("now")
    operator.reconcile()
    assert operator.condition("Held")[0] == "False"
    assert "PutSecretValue" in operator.aws.operations()


def test_alternating_users_need_an_admin_secret(operator: FakeOperator) -> None:
    operator.secret()
    spec = {"source": {"secretId": "shop/orders"}, "rotation": ALTERNATING}
    status, reason, message = looked_at(operator, spec)
    assert (status, reason) == ("False", "InvalidSpec")
    assert "needs an admin secret" in message
    assert operator.target() is not None


def test_change_of_the_spec_does_not_rotate_by_surprise(operator: FakeOperator) -> None:
    """The schedule counts from when it was first seen, also where a look was interrupted before it was told."""
    with_admin(operator)
    operator.apply(changed(SPEC, rotation={"schedule": "rate(30 days)"}))
    operator.settle()
    assert operator.status()["schedule"]["expression"] == "rate(30 days)"
    assert "PutSecretValue" not in operator.aws.operations()


def test_engine_that_asks_aws_is_given_the_identity_of_the_resource(
    operator: FakeOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def asking(client: object, whom: str) -> object:
        asked.append(whom)
        return operator.engine

    monkeypatch.setattr(operator.engine, "asking", asking, raising=False)
    with_admin(operator)
    looked_at(operator, SPEC)
    assert asked == ["the operator's identity"]


def test_two_resources_do_not_share_what_they_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_operator(monkeypatch, minimum_interval="1h") as operator:
        with_admin(operator)
        looked_at(operator, changed(SPEC, rotation={"schedule": "rate(2 hours)"}))
        assert operator.condition(key=KEY)[0] == "True"


def test_random_value_without_the_keys_that_it_replaces_is_told_and_not_delivered(operator: FakeOperator) -> None:
    operator.secret(value={"client_id": "orders"})
    rotation = {"strategy": "RandomValue", "random": {"keys": ["client_secret"]}}
    status, reason, message = looked_at(operator, {"source": {"secretId": "shop/orders"}, "rotation": rotation})
    assert (status, reason) == ("False", "InvalidSecretValue")
    assert "client_secret" in message
    assert operator.target() is None


@pytest.mark.parametrize("name", ["fake", "webhook"])
def test_engine_that_is_switched_off_is_denied_by_its_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with fake_operator(monkeypatch, engines="postgres", webhook_hosts="hooks.example.com") as operator:
        with_admin(operator)
        webhook = {"webhook": {"url": "https://hooks.example.com/x", "authSecretName": "hook"}}
        rotation = {"strategy": "SingleUser"}
        source = {"source": {"secretId": "shop/orders"}, "rotation": rotation}
        status, reason, message = looked_at(operator, source | {"database": webhook} if name == "webhook" else SPEC)
        assert (status, reason) == ("False", "AccessDenied")
        assert f"engine {name} is switched off" in message
        assert "add it to --engines" in message
        assert "AccessDenied" in operator.events.reasons
        assert operator.server().logins == []
