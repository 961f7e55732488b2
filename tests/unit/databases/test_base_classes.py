"""What the engines inherit: one verify, and sessions that close everything they opened."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rotated_secrets.databases.base import AuthenticationFailed, Refused, Server, Tls, Unavailable, Users
from rotated_secrets.databases.base_classes import (
    DatabaseClosed,
    IdleAdminSession,
    LoggedIn,
    LoginEngine,
    database_shown,
)
from rotated_secrets.databases.idle import IdleLimit
from rotated_secrets.databases.verify_queries import Query
from rotated_secrets.values import Credential, Endpoint, SecretValue

SERVER = Server("db.example.com", ("192.0.2.1",), 5432, Tls())
USERS = Users("app", "app_clone")
APP = Credential.of(SecretValue.parse('{"username": "app", "password": "p"}'), Endpoint("redis", "h"))


class Opened:
    """A connection that knows whether it is open."""

    def __init__(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False


class Engine(LoginEngine[Opened]):
    """Lets in unless it is given a reason not to, and takes the query "good"."""

    def __init__(self, refusal: Exception | None = None, wrong: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.opened = Opened()
        self._refusal, self._wrong = refusal, wrong

    def _unusable_name(self, username: str) -> str | None:
        return f"user {username} is too long" if len(username) > 10 else None

    def _log_in(self, server: Server, credential: Credential) -> Opened:
        if self._refusal:
            raise self._refusal
        return self.opened

    def _wrong_rights(self, login: LoggedIn[Opened]) -> tuple[str, ...]:
        assert login.connection.is_open
        return self._wrong

    def _run(self, login: LoggedIn[Opened], query: Query) -> str | None:
        assert login.connection.is_open
        return None if query.text == "good" else "failed"


def test_verify_reports_rights_and_queries_and_closes_the_connection() -> None:
    engine = Engine(wrong=("app_clone lacks a role",))
    failed = engine.verify(SERVER, APP, USERS, ["good", "bad"])
    assert failed == ["app_clone lacks a role", "verify query 2 failed"]
    assert not engine.opened.is_open


def test_a_database_that_is_closed_to_the_user_is_a_failed_check_for_the_password_was_accepted() -> None:
    assert Engine(DatabaseClosed("no CONNECT")).verify(SERVER, APP, USERS, ["good"]) == ["no CONNECT"]


def test_name_of_a_database_in_the_secret_value_is_not_shown_for_it_may_be_a_password() -> None:
    assert database_shown("hunter2", replace(APP, dbname="hunter2")) == "the database that dbname names"
    assert database_shown("postgres", replace(APP, dbname="hunter2")) == "database postgres"


@pytest.mark.parametrize("error", [AuthenticationFailed("wrong"), Unavailable("away"), Refused("no")])
def test_every_other_error_of_a_login_is_raised(error: Exception) -> None:
    with pytest.raises(type(error)):
        Engine(error).verify(SERVER, APP, USERS)


def test_a_name_that_the_server_does_not_take_is_refused() -> None:
    Engine().check_username("app")
    with pytest.raises(Refused, match="too long"):
        Engine().check_username("a" * 11)


class AdminSession(IdleAdminSession[Opened]):
    """Keeps what it opened; fails to begin where it is told so."""

    def __init__(self, opened: Opened, idle: IdleLimit, failure: Exception | None = None) -> None:
        self._failure = failure
        super().__init__(SERVER, APP, idle, opened)

    def _begin(self) -> None:
        if self._failure:
            raise self._failure

    def _open_in(self, database: str) -> Opened:
        return Opened()

    def opened_in(self, database: str | None = None) -> Opened:
        return self._main if database is None else self._in(database)


def test_leaving_a_session_closes_the_connection_of_each_database() -> None:
    with AdminSession(Opened(), IdleLimit(SERVER)) as session:
        connections = [session.opened_in(), session.opened_in("shop"), session.opened_in("stock")]
        assert session.opened_in("shop") is connections[1]
        assert [each.is_open for each in connections] == [True, True, True]
    assert [each.is_open for each in connections] == [False, False, False]


def test_a_session_that_cannot_begin_leaves_no_connection_open() -> None:
    opened = Opened()
    with pytest.raises(Refused):
        AdminSession(opened, IdleLimit(SERVER), Refused("another user"))
    assert not opened.is_open


@pytest.mark.parametrize("database", [None, "shop", "stock"])
def test_a_session_that_was_silent_for_too_long_gives_out_no_connection(database: str | None) -> None:
    now = [0.0]
    with AdminSession(Opened(), IdleLimit(SERVER, 30, lambda: now[0])) as session:
        session.opened_in("shop")
        now[0] = 31
        with pytest.raises(Unavailable, match="silent"):
            session.opened_in(database)
