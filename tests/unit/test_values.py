"""Secret values print as ``***`` and AWS's JSON is read as its templates read it."""

from __future__ import annotations

import copy
import json
import logging
import pickle

import pytest

from rotated_secrets.values import Credential, InvalidSecretValue, SecretText, SecretValue

CANARY = "c4n4ry-p4ssw0rd"
FIELDS = {"engine": "postgres", "host": "db", "username": "app", "password": CANARY}


def value(**fields: object) -> SecretValue:
    return SecretValue.parse(json.dumps(FIELDS | fields))


@pytest.mark.parametrize(
    "show", [str, repr, "{}".format, "{0!r:>40}".format, lambda text: f"{text!s:>20}", "%s".__mod__]
)
def test_secret_is_never_shown(show: object) -> None:
    for holder in (SecretText(CANARY), value(), Credential.of(value())):
        assert CANARY not in show(holder)  # type: ignore[operator]


def test_format_of_a_secret_shows_nothing_of_it() -> None:
    assert f"{SecretText(CANARY):>40}" == "***"


def test_secret_is_never_logged_nor_pickled(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("x").warning("%s %r", SecretText(CANARY), value())
    assert CANARY not in caplog.text
    with pytest.raises(TypeError):
        pickle.dumps(SecretText(CANARY))


def test_error_about_a_value_does_not_quote_it() -> None:
    for broken in ({"port": CANARY}, {"ssl": CANARY}, {"username": {CANARY: 1}}):
        with pytest.raises(InvalidSecretValue) as message:
            Credential.of(value(**broken))
        assert CANARY not in str(message.value)


@pytest.mark.parametrize("missing", ["engine", "host", "username", "password"])
def test_missing_key_is_named(missing: str) -> None:
    fields = {key: text for key, text in FIELDS.items() if key != missing}
    with pytest.raises(InvalidSecretValue, match=f"lacks {missing}"):
        Credential.of(SecretValue.parse(json.dumps(fields)))


@pytest.mark.parametrize("text", ["not json", "[1]", '"text"', "null", "", "{"])
def test_value_that_is_not_a_json_object_is_no_credential(text: str) -> None:
    with pytest.raises(InvalidSecretValue, match="not a JSON object"):
        Credential.of(SecretValue.parse(text))


@pytest.mark.parametrize(("written", "port"), [(5432, 5432), ("5432", 5432), (None, None), ("", None)])
def test_port_is_a_number_or_a_string_of_digits(written: object, port: int | None) -> None:
    assert Credential.of(value(port=written)).port == port


@pytest.mark.parametrize("written", [0, 65536, -1, "x", True, 1.5, "٣", [1]])
def test_any_other_port_is_refused(written: object) -> None:
    with pytest.raises(InvalidSecretValue, match="port"):
        Credential.of(value(port=written))


@pytest.mark.parametrize(
    ("written", "ssl"), [(True, True), ("TRUE", True), ("false", False), (False, False), (None, None)]
)
def test_ssl_is_a_boolean_or_its_name(written: object, ssl: bool | None) -> None:
    assert Credential.of(value(ssl=written)).ssl is ssl


@pytest.mark.parametrize("key", ["engine", "host", "username", "password", "dbname", "masterarn"])
def test_half_a_character_is_refused_and_its_key_named(key: str) -> None:
    with pytest.raises(InvalidSecretValue, match=f"^{key} in the secret value holds half a character") as message:
        Credential.of(SecretValue.parse(json.dumps(FIELDS | {key: f"{CANARY}\ud83d"})))
    assert CANARY not in str(message.value)


def test_half_a_character_in_another_key_is_kept() -> None:
    changed = SecretValue.parse(json.dumps(FIELDS | {"note": "\ud83d", "name": "ü"})).replacing(password="x")
    assert changed.fields == FIELDS | {"note": "\ud83d", "name": "ü", "password": "x"}
    assert changed.text.reveal().encode()


def test_texts_of_half_a_character_can_be_compared() -> None:
    assert SecretText("\ud83d") == SecretText("\ud83d")
    assert SecretText("\ud83d") != SecretText("\ud83e")


@pytest.mark.parametrize(
    "deep", ["[" * 200_000, '{"a":' * 101 + "1" + "}" * 101, '{"a": ' + "[" * 100 + "]" * 100 + "}"]
)
def test_value_that_is_nested_too_deep_is_refused_as_that(deep: str) -> None:
    value = SecretValue.parse(deep)
    for use in (Credential.of, lambda value: value.replacing(password="x")):
        with pytest.raises(InvalidSecretValue, match="the secret value is nested more than 100 levels deep"):
            use(value)


@pytest.mark.parametrize("key", ["host", "password", "port"])
def test_key_that_the_operator_reads_and_that_is_repeated_is_told(key: str) -> None:
    text = json.dumps(FIELDS | {"port": 1}).replace("{", f'{{"{key}": "{CANARY}", ', 1)
    with pytest.raises(InvalidSecretValue, match=f"has the key {key} more than once") as message:
        Credential.of(SecretValue.parse(text))
    assert CANARY not in str(message.value)


def test_repeated_key_is_not_replaced_and_any_other_is_kept_twice() -> None:
    value = SecretValue.parse('{"a": 1, "password": "x", "a": 2}')
    assert value.replacing(password="y").text.reveal() == '{"a": 1, "password": "y", "a": 2}'
    with pytest.raises(InvalidSecretValue, match="the key a more than once"):
        value.replacing(a="x")


def test_byte_order_mark_makes_no_other_value_of_it() -> None:
    text = "\ufeff" + json.dumps(FIELDS)
    value = SecretValue.parse(text)
    assert Credential.of(value).password == SecretText(CANARY)
    assert value.replacing(password="x").text.reveal() == text.replace(CANARY, "x")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1]", "is not a JSON object: it is a list"),
        ("12", "is not a JSON object: it is a number"),
        ("null", "is not a JSON object: it is null"),
        ('{"password": "x",\n "port" 1}', "is not a JSON object: Expecting ':' delimiter, line 2, column 9"),
    ],
)
def test_what_is_no_object_is_told_as_what_it_is(text: str, told: str) -> None:
    with pytest.raises(InvalidSecretValue) as message:
        Credential.of(SecretValue.parse(text))
    assert told in str(message.value)


def test_integer_of_thousands_of_digits_is_a_number_like_any_other() -> None:
    text = json.dumps(FIELDS)[:-1] + f', "n": -{"7" * 10_000}}}'
    changed = Credential.of(SecretValue.parse(text)).value
    assert changed is not None
    assert changed.replacing(password="x").text.reveal() == text.replace(CANARY, "x")


@pytest.mark.parametrize("deep", ["[" * 200_000, '{"a":' * 200_000, '{"password": ' + "[" * 200_000])
def test_json_that_is_nested_too_deep_is_kept_as_text(deep: str) -> None:
    value = SecretValue.parse(deep)
    assert value.fields is None
    assert value.text.reveal() == deep


def test_value_cannot_be_changed_in_place() -> None:
    original = value()
    assert original.fields is not None
    with pytest.raises(TypeError):
        original.fields["password"] = "x"  # type: ignore[index]
    assert copy.copy(original) == original
    assert original.replacing(password="x") != original


def test_binary_value_is_never_rotated_nor_shown() -> None:
    value = SecretValue.of_bytes(b'{"password": "cAnArY"}')
    assert "cAnArY" not in f"{value} {value!r}"
    with pytest.raises(InvalidSecretValue, match="is binary"):
        value.replacing(password="x")
    with pytest.raises(InvalidSecretValue, match="is binary"):
        Credential.of(value)
