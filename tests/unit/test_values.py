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


def test_value_that_is_nested_too_deep_to_be_written_is_refused() -> None:
    nested: object = 1
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(InvalidSecretValue, match="nested too deep"):
        SecretValue(SecretText(""), {"deep": nested}).replacing(password="x")


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
