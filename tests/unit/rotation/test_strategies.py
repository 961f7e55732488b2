"""Which users there are, which version follows which, and what it holds."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import hypothesis.strategies as st
import pytest
from hypothesis import given

from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.status import Claim, RotatedSecretStatus, Step, Trigger
from rotated_secrets.databases.base import Users
from rotated_secrets.rotation.observation import Login, Terms
from rotated_secrets.rotation.status_updates import failed
from rotated_secrets.rotation.strategies import (
    MOST_BYTES,
    descends_from,
    next_successor,
    pending_mismatch,
    pending_value,
    successor,
    users_of,
)
from rotated_secrets.secretstores.base import StoredVersion
from rotated_secrets.values import Arn, Endpoint, InvalidSecretValue, SecretText, SecretValue, VersionId
from tests.support.observations import seen

ARN = Arn("arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/orders-AbCdEf")
MADE = datetime(2026, 1, 1, tzinfo=UTC)
ALTERNATING = Rotation(strategy=Strategy.ALTERNATING_USERS)
SINGLE = Rotation(strategy=Strategy.SINGLE_USER)
RANDOM = Rotation(strategy=Strategy.RANDOM_VALUE)
NEW = SecretText("new")


def value(**fields: object) -> SecretValue:
    given = {"engine": "postgres", "host": "db", "username": "app", "password": "old"}
    return SecretValue.parse(json.dumps(given | fields))


def terms(rotation: Rotation) -> Terms:
    endpoint = None if rotation is RANDOM else Endpoint()
    return Terms(ARN, rotation, schedule=None, request=None, created_at=MADE, endpoint=endpoint)


def version(secret: SecretValue) -> StoredVersion:
    return StoredVersion(VersionId("v"), secret, MADE, ARN)


def following(rotation: Rotation, current: SecretValue, password: SecretText) -> SecretValue:
    return pending_value(terms(rotation), seen(terms(rotation), version(current)), lambda: password)


def test_users_alternate_and_there_are_never_three() -> None:
    current, users = value(), set()
    for number in range(6):
        current = following(ALTERNATING, current, SecretText(str(number)))
        assert current.fields is not None
        users.add(current.fields["username"])
    assert users == {"app", "app_clone"}


@pytest.mark.parametrize("name", ["app", "app_clone"])
def test_users_are_the_same_given_either_name(name: str) -> None:
    assert users_of(ALTERNATING, name) == Users("app", "app_clone")


def test_single_user_with_the_clones_name_is_just_a_user() -> None:
    assert users_of(SINGLE, "app_clone") == Users("app_clone")


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()))
def test_every_other_key_of_the_value_is_kept(unknown: dict[str, object]) -> None:
    known = {"port": 5432, "dbname": "x", "ssl": True, "masterarn": "m"}
    texts = {"engine": "postgres", "host": "db", "username": "app", "password": "old"}
    before = value(**{**unknown, **known, **texts})
    after = following(ALTERNATING, before, NEW)
    assert before.fields is not None and after.fields is not None
    assert list(after.fields) == list(before.fields)
    assert {**after.fields, "username": "app", "password": "old"} == dict(before.fields)
    assert after.fields["password"] == "new"


def test_plain_text_is_replaced_whole_and_in_a_json_object_only_the_password() -> None:
    assert following(RANDOM, SecretValue.parse("token"), NEW).text.reveal() == "new"
    after = following(RANDOM, SecretValue.parse('{"id": 1, "password": "old"}'), NEW)
    assert dict(after.fields or {}) == {"id": 1, "password": "new"}


@pytest.mark.parametrize("rotation", [ALTERNATING, SINGLE, RANDOM])
def test_next_version_is_at_most_as_large_as_aws_takes(rotation: Rotation) -> None:
    def padded(size: int) -> SecretValue:
        bare = value(username="app_clone") if rotation is not RANDOM else SecretValue.parse('{"password": "old"}')
        text = bare.text.reveal()
        return SecretValue.parse(text[:-1] + ', "pad": "' + "ü" * ((size - len(text) - 12) // 2) + '"}')

    changed = following(rotation, padded(MOST_BYTES - 8), NEW)
    exact = SecretText("n" * (3 + MOST_BYTES - changed.size))
    assert following(rotation, padded(MOST_BYTES - 8), exact).size == MOST_BYTES
    with pytest.raises(InvalidSecretValue, match=f"{ARN} would have 65537 bytes, and AWS takes 65536 at most: shorten"):
        following(rotation, padded(MOST_BYTES - 8), SecretText(exact.reveal() + "n"))


def test_next_user_is_the_same_text_where_the_user_does_not_change() -> None:
    text = value().text.reveal().replace('"app"', r'"\u0061pp"')
    assert following(SINGLE, SecretValue.parse(text), NEW).text.reveal() == text.replace("old", "new")


@pytest.mark.parametrize("text", ['{"engine": "postgres", "password": "old"}', '{"key": "old"}', '{"password": 1}'])
def test_random_value_never_replaces_what_it_does_not_know(text: str) -> None:
    with pytest.raises(InvalidSecretValue):
        following(RANDOM, SecretValue.parse(text), NEW)


@given(st.uuids(), st.sets(st.integers(0, 200), max_size=20))
def test_every_operator_computes_the_same_successors_and_none_is_reused(version: object, used: set[int]) -> None:
    current = VersionId(str(version))
    known = {successor(ARN, current, n) for n in used}
    after = next_successor(ARN, current, known)
    assert after not in known
    assert descends_from(ARN, [current], after)
    assert not descends_from(ARN, [after], current)
    assert after == next_successor(ARN, current, known)


@pytest.mark.parametrize(
    ("pending", "message"),
    [
        (value(username="app_clone"), None),
        (value(username="app"), "AWSPENDING is for another user"),
        (value(username="postgres"), "AWSPENDING is for another user"),
        (value(username="app_clone", host="elsewhere"), "differ in host"),
        (value(username="app_clone", masterarn="another"), "differ in masterarn"),
        (SecretValue.parse("no json"), "not a JSON object"),
    ],
)
def test_pending_that_the_operator_would_not_create_is_recognised(pending: SecretValue, message: str | None) -> None:
    mismatch = pending_mismatch(terms(ALTERNATING), seen(terms(ALTERNATING), version(value()), version(pending)))
    assert mismatch is None if message is None else message in (mismatch or "")


@pytest.mark.parametrize(
    ("login", "active", "named"),
    [
        (Login.UNTRIED, None, False),
        (Login.REJECTED, None, False),
        (Login.REJECTED, "another", False),
        (Login.REJECTED, "app", True),
        (Login.REJECTED, "app_clone", True),
        (Login.WORKS, None, True),
    ],
)
def test_history_names_a_user_once_that_has_logged_in(login: Login, active: str | None, named: bool) -> None:
    now = seen(terms(ALTERNATING), version(value()))
    now = replace(now, login=login, status=RotatedSecretStatus(active_user=active))
    claim = Claim(
        trigger=Trigger.SCHEDULE, from_version_id=VersionId("v"), attempt=1, step=Step.CREATE, started_at=MADE
    )
    entry = failed(now, terms(ALTERNATING), claim, "it failed", MADE).history[0]
    assert entry.user == ("app_clone" if named else None)
