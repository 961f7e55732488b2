"""Random values: what is replaced and what is kept, their formats, and which settings are refused."""

from __future__ import annotations

import base64
import json
import re
import string
import uuid
from datetime import UTC, datetime
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given
from pydantic import ValidationError

from rotated_secrets.api.rotation import PasswordPolicy, RandomValue, Rotation, Strategy, ValueFormat
from rotated_secrets.databases.base import PasswordLimits
from rotated_secrets.rotation.observation import Terms
from rotated_secrets.rotation.password import InvalidPasswordPolicy
from rotated_secrets.rotation.random_value import check_generator, check_keys, value_generator
from rotated_secrets.rotation.strategies import check_value, pending_mismatch, pending_value
from rotated_secrets.secretstores.base import StoredVersion
from rotated_secrets.values import Arn, Endpoint, InvalidSecretValue, SecretValue, VersionId
from tests.support.observations import seen

ARN = Arn("arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/token-AbCdEf")
MADE = datetime(2026, 1, 1, tzinfo=UTC)
WEBHOOK = Endpoint(engine="webhook", host="hooks.example.com", has_user=False)


def rotation(length: int | None = None, **random: Any) -> Rotation:
    wanted = RandomValue(**random) if random else None
    return Rotation(strategy=Strategy.RANDOM_VALUE, password=PasswordPolicy(length=length), random=wanted)


def version(text: str) -> StoredVersion:
    return StoredVersion(VersionId("v"), SecretValue.parse(text), MADE, ARN)


def terms(asked: Rotation, endpoint: Endpoint | None = None) -> Terms:
    return Terms(ARN, asked, schedule=None, request=None, created_at=MADE, endpoint=endpoint)


def following(asked: Rotation, text: str) -> StoredVersion:
    value = pending_value(terms(asked), seen(terms(asked), version(text)), value_generator(asked))
    return StoredVersion(VersionId("w"), value, MADE, ARN)


def drawn(asked: Rotation) -> str:
    check_generator(asked)
    return value_generator(asked)().reveal()


# ---- what is replaced

fields = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda key: key != "engine"),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2),
    max_size=6,
)


@given(fields, st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4, unique=True), st.randoms())
def test_the_keys_named_are_new_and_all_others_are_kept_in_their_order(
    others: dict[str, Any], keys: list[str], order: Any
) -> None:
    assume("engine" not in keys)
    items = list((others | dict.fromkeys(keys, "old")).items())
    order.shuffle(items)
    asked, before = rotation(keys=tuple(keys)), json.dumps(dict(items))
    after = following(asked, before)
    assert after.value.fields is not None
    assert list(after.value.fields) == [key for key, _ in items]
    kept = {key: value for key, value in items if key not in keys}
    assert json.dumps({key: after.value.fields[key] for key in kept}) == json.dumps(kept)
    new = [after.value.fields[key] for key in keys]
    assert len({"old", *new}) == 1 + len(keys), "each key has a value of its own"
    assert pending_mismatch(terms(asked), seen(terms(asked), version(before), after)) is None


def test_plain_text_is_replaced_as_a_whole() -> None:
    after = following(rotation(format=ValueFormat.HEX), "a-token")
    assert re.fullmatch("[0-9a-f]{32}", after.value.text.reveal())


def test_every_byte_of_the_other_keys_is_kept() -> None:
    before = '\ufeff{ "n":1.10,\n"password" : "old", "x":1e400, "x": "\\u00fc\\/" }\n'
    new = following(rotation(format=ValueFormat.HEX), before).value
    assert new.fields is not None
    assert new.text.reveal() == before.replace("old", new.fields["password"])


def test_key_may_have_any_name() -> None:
    after = following(rotation(keys=("self", "API key")), '{"self": "a", "API key": "b"}')
    assert after.value.fields is not None and after.value.fields["self"] not in ("a", after.value.fields["API key"])


@pytest.mark.parametrize(
    ("asked", "text", "message"),
    [
        (rotation(keys=("token", "pin")), '{"token": "x", "pin": 1234}', "no text at pin, which rotation.random.keys"),
        (rotation(keys=("a", "b", "c")), '{"b": "x"}', "no text at a, c"),
        (rotation(), '{"token": "x"}', "no text at password"),
        (rotation(keys=("token",)), "plain", "plain text, and rotation.random.keys names keys"),
        (rotation(), '{"password": "x",}', "looks like JSON but is not a JSON object"),
        (rotation(), ' ["x"]', "looks like JSON"),
        (rotation(), '\ufeff ["x"]', "looks like JSON"),
        (rotation(), '{"password": "x", "password": "y"}', "has the key password more than once"),
        (rotation(), "[" * 200, "looks like JSON but is nested more than 100 levels deep"),
        (rotation(keys=("token",)), '{"token": "x", "engine": "postgres"}', "lock out its application"),
    ],
)
def test_value_that_does_not_fit_is_refused_with_a_reason(asked: Rotation, text: str, message: str) -> None:
    with pytest.raises(InvalidSecretValue, match=re.escape(message)):
        following(asked, text)


def test_key_that_is_repeated_is_told_before_a_rotation_begins() -> None:
    with pytest.raises(InvalidSecretValue, match="has the key password more than once"):
        check_value(terms(rotation()), version('{"password": "x", "password": "y"}'))


def test_value_with_an_engine_is_accepted_with_a_webhook() -> None:
    current = version('{"engine": "postgres", "password": "old"}')
    check_value(terms(rotation(), WEBHOOK), current)
    assert pending_value(
        terms(rotation(), WEBHOOK), seen(terms(rotation(), WEBHOOK), current), value_generator(rotation())
    ).fields


def test_no_key_is_named_twice() -> None:
    with pytest.raises(ValidationError, match="a key is named twice"):
        RandomValue(keys=("token", "token"))


# ---- what AWSPENDING may hold


@pytest.mark.parametrize(
    ("pending", "message"),
    [
        ('{"id": 1, "token": "y", "n": NaN}', None),
        ('{"token": "y", "n": NaN, "id": 1}', None),
        ('{"id": true, "token": "y", "n": NaN}', "differ in a key that the operator does not know"),
        ('{"id": 1, "token": "y"}', "differ in a key that the operator does not know"),
        ('{"id": 1, "token": "y", "n": NaN, "url\\n": "x"}', "differ in a key that the operator does not know"),
        ('{"id": 1, "token": 7, "n": NaN}', "no text at token"),
        ("y", "the other is not"),
    ],
)
def test_only_the_random_keys_may_differ_from_the_current_version(pending: str, message: str | None) -> None:
    current = version('{"id": 1, "token": "x", "n": NaN}')
    asked = terms(rotation(keys=("token",)))
    mismatch = pending_mismatch(asked, seen(asked, current, version(pending)))
    assert mismatch is None if message is None else message in (mismatch or "")


def test_plain_text_does_not_become_json() -> None:
    asked = terms(rotation())
    assert pending_mismatch(asked, seen(asked, version("token"), version('{"password": "x"}')))
    assert pending_mismatch(asked, seen(asked, version("token"), version("another"))) is None


@given(fields, st.text(min_size=1, max_size=8), st.text(max_size=8))
def test_no_other_key_may_differ(others: dict[str, Any], key: str, changed: str) -> None:
    assume(key not in ("password", "engine") and others.get(key) != changed)
    before = {"password": "x", **others}
    assume(isinstance(before["password"], str))
    after = {**before, "password": "y", key: changed}
    asked = terms(rotation())
    assert pending_mismatch(asked, seen(asked, version(json.dumps(before)), version(json.dumps(after))))


# ---- formats

prefixes = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=12)


@given(st.integers(8, 128), st.sampled_from(ValueFormat), prefixes)
def test_every_value_matches_its_settings_or_is_refused_beforehand(length: int, form: ValueFormat, prefix: str) -> None:
    asked = rotation(length, format=form, prefix=prefix)
    try:
        value = drawn(asked)
    except InvalidPasswordPolicy:
        return
    assert value.startswith(prefix)
    text = value.removeprefix(prefix)
    if form is ValueFormat.UUID:
        assert str(uuid.UUID(text)) == text and uuid.UUID(text).version == 4
        return
    assert len(text) == length
    match form:
        case ValueFormat.HEX:
            assert bytes.fromhex(text) and text == text.lower()
        case ValueFormat.BASE64URL:
            encoded = base64.urlsafe_b64encode(base64.urlsafe_b64decode(text + "=" * (-length % 4)))
            assert encoded.rstrip(b"=").decode() == text, "a strict decoder takes it"
        case ValueFormat.ALPHANUMERIC:
            assert set(text) <= set(string.ascii_letters + string.digits)
        case _:
            assert set(text) <= set(string.ascii_letters + string.digits + "_-")


@pytest.mark.parametrize("form", ValueFormat)
def test_no_value_repeats_and_every_character_occurs(form: ValueFormat) -> None:
    values = [drawn(rotation(None if form is ValueFormat.UUID else 64, format=form)) for _ in range(300)]
    assert len(set(values)) == len(values)
    hexadecimal, letters = set("0123456789abcdef"), set(string.ascii_letters + string.digits)
    expected = {
        ValueFormat.HEX: hexadecimal,
        ValueFormat.UUID: hexadecimal | {"-"},
        ValueFormat.ALPHANUMERIC: letters,
    }
    assert set("".join(values)) == expected.get(form, letters | {"-", "_"})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (rotation(14, format=ValueFormat.HEX), "56 bits of entropy, and at least 64 are needed"),
        (rotation(33, format=ValueFormat.HEX), "write an even number"),
        (rotation(10, format=ValueFormat.BASE64URL), "56 bits"),
        (rotation(33, format=ValueFormat.BASE64URL), "write 34"),
        (rotation(10, format=ValueFormat.ALPHANUMERIC), "60 bits"),
        (rotation(10), "60 bits"),
        (rotation(20, format=ValueFormat.UUID), "UUID ignores rotation.password.length"),
    ],
)
def test_weak_or_impossible_settings_are_refused(asked: Rotation, message: str) -> None:
    with pytest.raises(InvalidPasswordPolicy, match=re.escape(message)):
        check_generator(asked)


@pytest.mark.parametrize(("form", "least"), [(ValueFormat.HEX, 16), (ValueFormat.BASE64URL, 11), ("Alphanumeric", 11)])
def test_sixty_four_bits_are_enough(form: ValueFormat, least: int) -> None:
    check_generator(rotation(least, format=form))


def test_a_prefix_adds_no_entropy() -> None:
    with pytest.raises(InvalidPasswordPolicy, match="32 bits"):
        check_generator(rotation(8, format=ValueFormat.HEX, prefix="a-long-prefix-"))


def test_field_that_the_format_ignores_is_refused() -> None:
    policy = PasswordPolicy(exclude_characters="0", exclude_uppercase=True)
    asked = Rotation(strategy=Strategy.RANDOM_VALUE, password=policy, random=RandomValue(format=ValueFormat.HEX))
    with pytest.raises(InvalidPasswordPolicy, match=r"password\.excludeCharacters and rotation\.password\.excludeUpp"):
        check_generator(asked)


def test_other_strategies_draw_passwords_within_the_limits_of_their_engine() -> None:
    asked = Rotation(strategy=Strategy.SINGLE_USER, password=PasswordPolicy(length=32))
    limits = PasswordLimits(longest=40, excluded="abcdefghijklmnop")
    assert not set(value_generator(asked, limits)().reveal()) & set(limits.excluded)
    with pytest.raises(InvalidPasswordPolicy, match="at most 30"):
        check_generator(asked, PasswordLimits(longest=30))


def test_binary_value_is_not_replaced() -> None:
    with pytest.raises(InvalidSecretValue, match="is binary"):
        check_keys(Rotation(strategy=Strategy.RANDOM_VALUE), SecretValue.of_bytes(b"token"))
