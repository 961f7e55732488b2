"""Redis users as two generations of the server describe them, and when one is the other's clone."""

from __future__ import annotations

import pytest

from rotated_secrets.databases.base import Refused, Server, Tls, Users
from rotated_secrets.databases.redis.admin import _examined
from rotated_secrets.databases.redis.errors import ErrorReply, Lost, TooLong, failed_command
from rotated_secrets.databases.redis.users import User, differences, mark, not_the_clone, read_user, rules_of_clone

SERVER = Server("redis.example.com", ("192.0.2.7",), 6379, Tls())
SIX = [
    "flags",
    ["on", "allchannels"],
    "passwords",
    ["ab"],
    "commands",
    "-@all +get",
    "keys",
    ["app:*"],
    "channels",
    ["*"],
]


def seven(name: str = "app", commands: str = "-@all +get", keys: str = "~app:*", *selectors: list[str]) -> User:
    rights = ("commands", commands, "keys", keys, "channels", "&news", "selectors", list(selectors))
    return read_user(name, ["flags", ["on"], "passwords", ["ab"], *rights])


MARKED = ["commands", "-@all", "keys", "~rotated-secrets:clone-of:app", "channels", ""]


def test_a_user_of_redis_6_is_known_by_its_passwords_and_has_no_selectors() -> None:
    user = read_user("app", SIX)
    assert set(user.passwords) == {"ab"}
    assert not user.needs_no_password
    assert not user.has_selectors


def test_redis_6_alternates_no_users() -> None:
    class Six:
        server = SERVER

        def user(self, name: str) -> User:
            return read_user(name, SIX)

    node: object = Six()
    assert _examined(node, Users("app")) == (read_user("app", SIX), None)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="Redis 7"):
        _examined(node, Users("app", "app_clone"))  # type: ignore[arg-type]


def test_a_clone_is_made_of_its_base_users_rules_and_a_mark_that_allows_nothing() -> None:
    base = seven("app", "-@all +get -set", "~a ~b", ["commands", "+@all", "keys", "~s", "channels", ""])
    assert rules_of_clone(base) == [
        *("reset", "~a", "~b", "resetchannels", "&news", "-@all", "+get", "-set"),
        "(~rotated-secrets:clone-of:app resetchannels -@all)",
        "(~s resetchannels +@all)",
    ]


@pytest.mark.parametrize("name", ["two words", "a)b", "(", "ü", "per%cent"])
def test_the_mark_is_one_word_whatever_the_name(name: str) -> None:
    [key] = mark(name).keys
    assert not set(key) & set(" ()")
    assert mark(name) != mark(name + "2")


def test_the_order_of_keys_is_no_difference_and_that_of_commands_is_one() -> None:
    base = seven("app", "-@all +@read -get", "~a ~b")
    assert list(differences(base, seven("app_clone", "-@all +@read -get", "~b ~a", MARKED))) == []
    [told] = differences(base, seven("app_clone", "-@all -get +@read", "~a ~b", MARKED))
    assert told == "commands of app_clone: the same rules in another order"


def test_a_marked_user_is_the_clone_whatever_it_may_and_an_unmarked_one_only_as_its_equal() -> None:
    assert not_the_clone(seven(), seven("app_clone", "+@all", "~*", MARKED)) is None
    assert not_the_clone(seven(), seven("app_clone")) is None
    assert not_the_clone(seven(), seven("app_clone", "+@all")) is not None


def test_what_a_reply_says_is_never_told() -> None:
    quoted = ErrorReply("ERR Error in ACL SETUSER modifier 'Kanarienvogel': Syntax error")
    assert quoted.code == "ERR"
    assert ErrorReply("Kanarienvogel said no").code == "ERR"
    for error in (quoted, ErrorReply("LOADING Kanarienvogel"), Lost("Kanarienvogel"), TooLong()):
        assert "Kanarienvogel" not in str(failed_command(error, SERVER, "change user app"))
