"""The operator rotates values that AWS's templates wrote, and the other way round: a team can switch either way."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.databases.elasticache.user import place_in
from rotated_secrets.databases.registry import engine_named
from rotated_secrets.rotation.observation import Terms
from rotated_secrets.rotation.strategies import next_user, pending_mismatch, pending_value
from rotated_secrets.secretstores.base import StoredVersion
from rotated_secrets.values import Arn, Credential, Endpoint, SecretText, SecretValue, VersionId
from tests.support.aws_templates import ELASTICACHE, HOST, MASTER, TEMPLATES, USER_ARN, Template
from tests.support.observations import seen

ARN = Arn("arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/orders-AbCdEf")
MADE = datetime(2026, 1, 1, tzinfo=UTC)

BY_ENGINE = [(template, engine) for template in TEMPLATES for engine in template.engines]
each_template = pytest.mark.parametrize(
    ("template", "engine"), BY_ENGINE, ids=[f"{template.name} {engine}" for template, engine in BY_ENGINE]
)


def terms(template: Template, endpoint: Endpoint = Endpoint()) -> Terms:  # noqa: B008 - frozen
    strategy = Strategy.ALTERNATING_USERS if template.alternate else Strategy.SINGLE_USER
    rotation = Rotation(strategy=strategy, clone_suffix=template.suffix)
    return Terms(ARN, rotation, schedule=None, request=None, created_at=MADE, endpoint=endpoint)


def stored(value: dict[str, object]) -> StoredVersion:
    return StoredVersion(VersionId("v"), SecretValue.parse(json.dumps(value)), MADE, ARN)


def followed(template: Template, value: dict[str, object], endpoint: Endpoint = Endpoint()) -> dict[str, object]:  # noqa: B008
    """Return the value that the operator creates from this one."""
    asked = terms(template, endpoint)
    made = pending_value(asked, seen(asked, stored(value)), lambda: SecretText("new"))
    fields: dict[str, object] = json.loads(made.text.reveal())
    return fields


def followed_by_aws(template: Template, value: dict[str, object]) -> dict[str, object]:
    """Return the value that the template creates from this one."""
    return {**value, "username": template.next_username(value), "password": "new"}


@each_template
def test_every_key_of_the_template_is_read(template: Template, engine: str) -> None:
    credential = Credential.of(SecretValue.parse(json.dumps(template.value(engine))))
    fields = dict(template.fields)
    assert (credential.engine, credential.host, credential.username) == (engine, HOST, template.username)
    assert credential.password == SecretText("old")
    assert (credential.port, credential.dbname) == (fields["port"], fields["dbname"])
    assert (credential.ssl, credential.masterarn) == (fields.get("ssl"), MASTER)


@each_template
def test_the_engine_is_known_with_the_templates_strategy_and_users(template: Template, engine: str) -> None:
    known = engine_named(engine)
    assert terms(template).rotation.strategy in known.strategies
    known.check_username(template.username)
    known.check_username(template.next_username(template.value(engine)))


@each_template
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"port": "1234"},
        {"port": 1234},
        {"ssl": "true"},
        {"ssl": True},
        {"ssl": False},
        {"team": ["orders", {"on": "call"}], "replica-eu": {"host": "other"}, "": None},
        {"password": "all of \"\\/@' and ☃"},
    ],
    ids=str,
)
def test_operator_and_template_create_the_same_value(
    template: Template, engine: str, changes: dict[str, object]
) -> None:
    value = template.value(engine, **changes)
    ours, theirs = followed(template, value), followed_by_aws(template, value)
    assert list(ours.items()) == list(theirs.items())
    assert [type(found) for found in ours.values()] == [type(found) for found in theirs.values()]
    assert template.accepts(ours)


@each_template
@pytest.mark.parametrize("key", ["port", "dbname", "ssl", "masterarn", "dbInstanceIdentifier", "dbClusterIdentifier"])
def test_a_key_that_the_value_does_not_have_is_not_added(template: Template, engine: str, key: str) -> None:
    value = template.value(engine, key)
    made = followed(template, value)
    assert list(made) == list(value)
    assert template.accepts(made) == template.accepts(value)


@each_template
def test_operator_and_template_can_alternate(template: Template, engine: str) -> None:
    value, users = template.value(engine), []
    for turn in (followed, followed_by_aws, followed_by_aws, followed, followed, followed_by_aws):
        before, value = value, turn(template, value)
        assert template.accepts(value)
        assert pending_mismatch(terms(template), seen(terms(template), stored(before), stored(value))) is None
        users.append(value["username"])
    alternate = template.next_username(template.value(engine))
    assert users == [alternate, template.username] * 3


def test_lower_case_oracle_user_is_the_same_user_for_operator_and_template() -> None:
    template = next(each for each in TEMPLATES if each.name == "SecretsManagerRDSOracleRotationMultiUser")
    value = template.value("oracle", username="orders")
    ours = next_user(terms(template).rotation, Credential.of(SecretValue.parse(json.dumps(value))))
    assert ours.upper() == template.next_username(value) == "ORDERS_CLONE"
    again = template.next_username({**value, "username": ours})
    assert again == "ORDERS"


def test_elasticache_value_needs_no_other_key_and_gets_none() -> None:
    value = ELASTICACHE.value(None)
    place = place_in(SecretValue.parse(json.dumps(value)))
    assert place is not None
    credential = Credential.of(SecretValue.parse(json.dumps(value)), place)
    assert (credential.engine, credential.username) == ("elasticache", "orders")
    made = followed(ELASTICACHE, value, place)
    assert list(made.items()) == [("password", "new"), ("username", "orders"), ("user_arn", USER_ARN)]
    assert ELASTICACHE.accepts(made)
    assert engine_named("elasticache").strategies
