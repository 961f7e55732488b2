"""Database servers in memory, and the engine ``fake`` that logs in to them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final

import pytest

from rotated_secrets.api.rotation import Rights, Strategy
from rotated_secrets.databases import registry
from rotated_secrets.databases.base import (
    AuthenticationFailed,
    PasswordLimits,
    Refused,
    RightsReport,
    Server,
    SessionCount,
    Unavailable,
    Users,
)
from rotated_secrets.values import Credential

ENGINE: Final = "fake"
HOST: Final = "192.0.2.7"
PORT: Final = 5432


@dataclass
class FakeServer:
    """One server: users and their passwords, who holds the lock, and who tried to log in."""

    passwords: dict[str, str] = field(default_factory=dict)
    down: bool = False
    failing_queries: bool = False
    refuses_admin: str = ""
    logins: list[tuple[str, Server]] = field(default_factory=list)
    holders: set[object] = field(default_factory=set)
    before_statement: Callable[[str], None] = lambda statement: None

    @property
    def users(self) -> list[str]:
        """Who tried to log in, in order."""
        return [user for user, _ in self.logins]

    def log_in(self, server: Server, credential: Credential) -> None:
        if self.down:
            raise Unavailable(f"{server} does not answer")
        self.logins.append((credential.username, server))
        if self.passwords.get(credential.username) != credential.password.reveal():
            raise AuthenticationFailed(f"user {credential.username} was refused")


class FakeEngine:
    """Has the protocol ``Engine``; the servers are those of the test that runs now."""

    default_port = PORT
    strategies = frozenset(Strategy)
    passwords = PasswordLimits()

    def __init__(self) -> None:
        self.servers: dict[str, FakeServer] = {}

    def at(self, server: Server) -> FakeServer:
        return self.servers.setdefault(f"{server.addresses[0]}:{server.port}", FakeServer())

    def check_username(self, username: str) -> None:
        if len(username) > 20:
            raise Refused(f"user name {username[:20]}… is too long")

    def verify(self, server: Server, credential: Credential, users: Users, queries: Sequence[str] = ()) -> list[str]:
        found = self.at(server)
        found.log_in(server, credential)
        return ["query 1 failed"] if queries and found.failing_queries else []

    def open_admin(self, server: Server, credential: Credential) -> FakeSession:
        found = self.at(server)
        found.log_in(server, credential)
        return FakeSession(found)


class FakeSession(AbstractContextManager["FakeSession"]):
    """An admin session."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server

    def __exit__(self, *_: object) -> None:
        self._server.holders.discard(self)

    def try_lock(self, base_user: str) -> bool:
        if self._server.holders - {self}:
            return False
        self._server.holders.add(self)
        return True

    def check_users(self, users: Users) -> None:
        if self._server.refuses_admin:
            raise Refused(self._server.refuses_admin)

    def set_password(
        self, users: Users, credential: Credential, rights: Rights, keep: Credential | None = None
    ) -> RightsReport:
        self._server.before_statement("set_password")
        self._server.passwords[credential.username] = credential.password.reveal()
        return RightsReport()

    def disable_login(self, user: str) -> None:
        self._server.passwords.pop(user, None)

    def sessions_of(self, user: str) -> tuple[SessionCount, ...] | None:
        return ()


_engine = FakeEngine()


def the_engine() -> FakeEngine:
    """What the registry loads under the name ``fake``."""
    return _engine


@contextlib.contextmanager
def fake_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    """The engine ``fake`` is known, and has no servers yet."""
    monkeypatch.setattr(registry, "BUILT_IN", {**registry.BUILT_IN, ENGINE: "tests.support.fake_databases:the_engine"})
    registry.known_engines.cache_clear()
    _engine.servers.clear()
    yield _engine
    registry.known_engines.cache_clear()
