"""An application that logs in at a read replica, or another end point, of the database that the admin is for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.spec import TlsSpec
from rotated_secrets.controller.look.database_access import DatabaseAccess, Trust
from rotated_secrets.databases.base import (
    AdminSession,
    AuthenticationFailed,
    PasswordLimits,
    Refused,
    Server,
    Unavailable,
    Users,
)
from rotated_secrets.databases.hosts import HostRules
from rotated_secrets.observability.metrics import Metrics
from rotated_secrets.values import Credential, SecretText
from tests.support.direct import DirectLogins

PRIMARY, COPY = "192.0.2.7", "192.0.2.8"
ADMIN = Credential("postgres", PRIMARY, "admin", SecretText("b"))
APPLICATION = Credential("postgres", COPY, "app", SecretText("a"), dbname="shop")
PENDING = replace(APPLICATION, password=SecretText("new"))
USERS = Users("app")


@dataclass
class ReplicatedEngine:
    """A primary and its copy, which know passwords of their own: replication takes its time."""

    default_port = 5432
    strategies = frozenset(Strategy)
    passwords = PasswordLimits()
    known: dict[str, set[str]] = field(default_factory=lambda: {PRIMARY: {"a"}, COPY: {"a"}})
    failing: dict[str, list[str]] = field(default_factory=dict)
    tried: list[tuple[str, str]] = field(default_factory=list)

    def check_username(self, username: str) -> None:
        return

    def verify(self, server: Server, credential: Credential, users: Users, queries: Sequence[str] = ()) -> list[str]:
        self.tried.append((credential.username, server.host))
        if credential.password.reveal() not in self.known[server.host]:
            raise AuthenticationFailed(f"user {credential.username} was refused by {server.host}")
        return self.failing.get(server.host, [])

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        self.tried.append((credential.username, server.host))
        return cast(AdminSession, None)


def copies_of(engine: ReplicatedEngine, is_copy: Callable[[Credential, Credential], bool]) -> DatabaseAccess:
    return DatabaseAccess(
        engine,
        application=APPLICATION,
        trust=Trust(TlsSpec(), None, None),
        rules=HostRules(),
        read_admin=lambda: ADMIN,
        logins=DirectLogins(engine),
        metrics=Metrics(),
        is_copy=is_copy,
    )


@pytest.fixture
def engine() -> ReplicatedEngine:
    return ReplicatedEngine()


@pytest.fixture
def connections(engine: ReplicatedEngine) -> DatabaseAccess:
    return copies_of(engine, lambda application, admin: True)


def test_admin_goes_to_the_primary_once_the_application_has_logged_in_there_too(
    engine: ReplicatedEngine, connections: DatabaseAccess
) -> None:
    connections.verify(APPLICATION, USERS, ())
    connections.open_admin(APPLICATION)
    assert engine.tried == [("app", COPY), ("app", PRIMARY), ("admin", PRIMARY)]


def test_what_an_old_copy_takes_proves_nothing(engine: ReplicatedEngine, connections: DatabaseAccess) -> None:
    """Somebody who knows a password that was changed because it had leaked finds a replica that has stopped."""
    engine.known[PRIMARY] = {"changed"}
    connections.verify(APPLICATION, USERS, ())
    with pytest.raises(AuthenticationFailed, match=r"its copy 192\.0\.2\.8 takes that password"):
        connections.open_admin(APPLICATION)
    assert ("admin", PRIMARY) not in engine.tried


def test_pending_is_tested_at_the_primary_and_then_at_the_copy(
    engine: ReplicatedEngine, connections: DatabaseAccess
) -> None:
    connections.open_admin(APPLICATION)
    engine.known = {PRIMARY: {"new"}, COPY: {"new"}}
    engine.tried.clear()
    assert connections.verify(PENDING, USERS, ()) == []
    assert engine.tried == [("app", PRIMARY), ("app", COPY)]


def test_copy_that_lags_is_waited_for(engine: ReplicatedEngine, connections: DatabaseAccess) -> None:
    connections.open_admin(APPLICATION)
    engine.known[PRIMARY] = {"new"}
    with pytest.raises(Unavailable, match=r"192\.0\.2\.8 does not have yet what works at 192\.0\.2\.7"):
        connections.verify(PENDING, USERS, ())
    engine.known[COPY] = {"new"}
    engine.failing[COPY] = ["it is not a member of app"]
    with pytest.raises(Unavailable, match="not a member of app"):
        connections.verify(PENDING, USERS, ())


def test_what_the_primary_refuses_is_refused(engine: ReplicatedEngine, connections: DatabaseAccess) -> None:
    connections.open_admin(APPLICATION)
    with pytest.raises(AuthenticationFailed):
        connections.verify(PENDING, USERS, ())
    engine.known[PRIMARY] = {"new"}
    engine.failing[PRIMARY] = ["query 1 failed"]
    engine.tried.clear()
    assert connections.verify(PENDING, USERS, ("SELECT 1",)) == ["query 1 failed"]
    assert engine.tried == [("app", PRIMARY)]


def test_nobody_is_asked_where_the_hosts_are_the_same(engine: ReplicatedEngine) -> None:
    asked: list[str] = []

    def is_copy(application: Credential, admin: Credential) -> bool:
        asked.append(application.host)
        return True

    at_primary = replace(APPLICATION, host=f"{PRIMARY}")
    connections = DatabaseAccess(
        engine,
        application=at_primary,
        trust=Trust(TlsSpec(), None, None),
        rules=HostRules(),
        read_admin=lambda: ADMIN,
        logins=DirectLogins(engine),
        metrics=Metrics(),
        is_copy=is_copy,
    )
    connections.open_admin(at_primary)
    assert asked == []
    assert engine.tried == [("admin", PRIMARY)]


def test_ports_are_said_to_who_tells_copies_even_where_values_leave_them_out(engine: ReplicatedEngine) -> None:
    asked: list[tuple[int | None, int | None]] = []

    def is_copy(application: Credential, admin: Credential) -> bool:
        asked.append((application.port, admin.port))
        return False

    with pytest.raises(Refused, match="by RDS's word"):
        copies_of(engine, is_copy).open_admin(APPLICATION)
    assert asked == [(5432, 5432)]
    assert engine.tried == []


def test_another_engines_admin_is_never_asked_about(engine: ReplicatedEngine) -> None:
    connections = DatabaseAccess(
        engine,
        application=replace(APPLICATION, engine="mysql"),
        trust=Trust(TlsSpec(), None, None),
        rules=HostRules(),
        read_admin=lambda: ADMIN,
        logins=DirectLogins(engine),
        metrics=Metrics(),
        is_copy=lambda application, admin: True,
    )
    with pytest.raises(Refused, match="engine, host and port"):
        connections.open_admin(APPLICATION)
    assert engine.tried == []
