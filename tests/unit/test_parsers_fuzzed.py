"""Every parser of text from outside takes any text, and raises only what its callers expect of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from rotated_secrets.controller.access.policy_file import InvalidPolicy, parse_policy
from rotated_secrets.databases.base import DatabaseError
from rotated_secrets.databases.hosts import HostRules, resolve
from rotated_secrets.databases.mariadb.state import State
from rotated_secrets.databases.mysql.accounts import Account
from rotated_secrets.databases.mysql.show_grants import read
from rotated_secrets.databases.redis.users import read_user
from rotated_secrets.delivery import template
from rotated_secrets.delivery.errors import TemplateFailed
from rotated_secrets.rotation.schedule import InvalidSchedule, parse_schedule
from rotated_secrets.values import Credential, InvalidSecretValue, SecretValue
from tests.support.examples import examples

KEYS = ("engine", "host", "port", "username", "password", "dbname", "ssl", "masterarn")
ROW = ("plugin", "authentication_string", "auth_or", "ssl_type", "ssl_cipher", "max_questions", "password_lifetime")
ACL = ("flags", "passwords", "commands", "keys", "channels", "selectors")
CRON_FIELD = st.from_regex(r"[0-9*/,?LW#-]{1,8}|MON-FRI|L-3|1970-2199", fullmatch=True)
RULE = ("namespaces", "secrets", "adminSecrets", "accounts", "regions")
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=8), inside, max_size=4),
    max_leaves=12,
)


def words(*known: str) -> st.SearchStrategy[str]:
    """Texts of a grammar's own words in any order, and any text at all."""
    return st.lists(st.sampled_from(known) | st.text(max_size=3), max_size=16).map("".join) | st.text(max_size=80)


def objects(*keys: str) -> st.SearchStrategy[str]:
    return (st.dictionaries(st.sampled_from(keys), anything, max_size=len(keys)) | anything).map(json.dumps)


def read_value(text: str) -> None:
    value = SecretValue.parse(text)
    with contextlib.suppress(InvalidSecretValue):
        Credential.of(value)
    if value.fields is not None:
        assert value.replacing(password="x").fields == {**value.fields, "password": "x"} or "NaN" in text


def render(source: str) -> None:
    values = {"password": "p", "port": 5432, "more": {"a": ["/4A=", 1]}, "huge": float("inf")}
    assert len(template.rendered("X", source, values)) <= template.MAX_OUTPUT


def find(host: str) -> None:
    def unknown(name: str) -> tuple[str, ...]:
        raise OSError(name)

    resolve(host, 5432, HostRules(), unknown)


class NoError(Exception):
    """Of a parser that takes everything."""


PARSERS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], object], type[Exception]]] = {
    "secret value": (
        objects(*KEYS)
        | words("{", "}", "[", "]", '"port"', ":", "1e400", "-", "9" * 5000, "\ufeff", "\\ud800", '"', ",", "NaN"),
        read_value,
        InvalidSecretValue,
    ),
    "template": (
        words(
            *(
                "{{",
                "}}",
                "{%",
                "%}",
                "{#",
                " if ",
                " endif ",
                " for x in password ",
                "password",
                "more",
                "~",
                "|upper",
            ),
            *(
                "|replace('a','bb')",
                "|tojson",
                "|default(1)",
                " is defined",
                "==",
                ".__class__",
                "['a']",
                "value['a']",
                "[0]",
                "|b64decode",
                "(",
                ")",
                "1",
            ),
        ),
        render,
        TemplateFailed,
    ),
    "schedule": (
        words("rate(", "cron(", ")", " ", "*", "?", "0", "1", "9", "/", "-", ",", "L", "W", "#", "SUN", "JAN", "days")
        | st.lists(
            st.from_regex(r"[0-9*/,?LW#-]{1,8}|MON-FRI|L-3|1970-2199", fullmatch=True), min_size=5, max_size=7
        ).map(lambda fields: f"cron({' '.join(fields)})"),
        parse_schedule,
        InvalidSchedule,
    ),
    "SHOW GRANTS": (
        st.lists(
            words(
                *(
                    "GRANT ",
                    "REVOKE ",
                    "SET ",
                    " ON ",
                    " TO ",
                    "`a`",
                    "'b'",
                    '"c"',
                    "*",
                    ".",
                    ",",
                    "(",
                    ")",
                    "@",
                    "PROXY",
                ),
                *("PROXY", " WITH GRANT OPTION", " WITH ADMIN OPTION", "ALL", "USAGE", "X_Y", "`", "'", "\\"),
            ),
            max_size=3,
        ),
        lambda lines: read(lines, Account("a")),
        NoError,
    ),
    "mysql.global_priv": (objects(*ROW), lambda text: State.read("app", "%", text), ValueError),
    "ACL GETUSER": (
        anything
        | st.lists(st.sampled_from(["flags", "passwords", "commands", "keys", "selectors"]) | anything, max_size=8),
        lambda answer: read_user("app", answer),
        DatabaseError,
    ),
    "access policy": (
        words("rules:", "\n", "- ", "  ", "namespaces", "secrets", ":", "[", "]", "{namespace}", "*", "&a", "*a", "!!x")
        | st.lists(st.dictionaries(st.sampled_from(RULE), anything, max_size=3), max_size=2).map(
            lambda rules: json.dumps({"rules": rules})
        ),
        parse_policy,
        InvalidPolicy,
    ),
    "host": (
        words("a", ".", "-", "_", "1", "0x", "::", ":", "%", "[", "]", "/", "127", "\n", "\x00", "é")
        | st.ip_addresses().map(str),
        find,
        DatabaseError,
    ),
}


@pytest.mark.parametrize("name", PARSERS)
@examples(300, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_parser_takes_any_text_and_raises_only_its_own_error(name: str, data: st.DataObject) -> None:
    texts, parse, expected = PARSERS[name]
    text = data.draw(texts)
    with contextlib.suppress(expected):
        parse(text)


def test_limits_of_a_mariadb_account_are_numbers_and_never_sql() -> None:
    with pytest.raises(ValueError, match="global_priv"):
        State.read("app", "%", json.dumps({"max_questions": "0; DROP USER admin"}))


@pytest.mark.parametrize("port", ["9" * 5000, "0" * 5000 + "1"])
def test_port_of_thousands_of_digits_is_refused(port: str) -> None:
    fields = {"engine": "e", "host": "h", "username": "u", "password": "p", "port": port}
    with pytest.raises(InvalidSecretValue, match="port"):
        Credential.of(SecretValue.parse(json.dumps(fields)))


@pytest.mark.parametrize("number", ["1e400", "1.10", "-0.0", "123456789012345678.25", "9" * 5000, "Infinity", "NaN"])
def test_number_is_written_into_the_new_version_as_it_was(number: str) -> None:
    text = f'{{"password": "x", "n": {number}}}'
    assert SecretValue.parse(text).replacing(password="y").text.reveal() == text.replace("x", "y")


@pytest.mark.parametrize(("levels", "usable"), [(99, True), (100, False)])
def test_levels_of_a_value_are_bounded(levels: int, usable: bool) -> None:
    text = '{"a": ' + "[" * levels + "]" * levels + "}"
    assert (SecretValue.parse(text).fields is not None) is usable
