"""Engines of other packages: what they must have, and how their faults are kept from everything else.

Knows no engine. A fault of a plug-in is reported with the name of its package, and never with the error's message: an
error of another package's code may quote a password.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint
from types import TracebackType
from typing import Any, Self, TypeVar

from rotated_secrets.api.rotation import Rights, Strategy
from rotated_secrets.databases.base import (
    AdminSession,
    DatabaseError,
    Engine,
    NamesHosts,
    PasswordLimits,
    Refused,
    RightsReport,
    Server,
    SessionCount,
    Unavailable,
    Users,
)
from rotated_secrets.values import Credential

log = logging.getLogger(__name__)

T = TypeVar("T")

_METHODS = ("check_username", "verify", "open_admin")
_LONGEST = 200
# A plug-in must not end the process (SystemExit) either.
_FAULTS = (Exception, SystemExit)


def package_of(entry: EntryPoint) -> str:
    """The package that brings an engine, with its version."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "rotated-secrets itself"


def load(entry: EntryPoint) -> Engine:
    """Load the engine behind an entry point, wrapped so that it can raise only what an engine may.

    Raises:
        Refused: it cannot be loaded, or is not an engine.
    """
    who = f"engine {entry.name} of package {package_of(entry)}"
    try:
        engine = entry.load()()
        lacks = tuple(_lacking(engine))
    except _FAULTS as error:
        # No secret is involved yet, and the name of a missing module helps to fix it.
        words = " ".join(str(error).split())[:_LONGEST]
        raise Refused(
            f"{who} cannot be loaded: {type(error).__name__}: {words}; fix the package or remove it"
        ) from None
    if lacks:
        raise Refused(f"{who} is not an engine: it lacks {', '.join(lacks)}; see docs/plugins.md")
    names = engine if isinstance(engine, NamesHosts) else None
    return _Guarded(who, engine) if names is None else _GuardedWithHosts(who, engine, names)


def _lacking(engine: Any) -> Sequence[str]:
    """Return what this object lacks to be an engine, or has of the wrong type."""
    strategies = getattr(engine, "strategies", None)
    kinds = {
        "default_port (a number)": isinstance(getattr(engine, "default_port", None), int),
        "strategies (a frozenset of Strategy)": isinstance(strategies, frozenset)
        and all(isinstance(each, Strategy) for each in strategies),
        "passwords (PasswordLimits)": isinstance(getattr(engine, "passwords", None), PasswordLimits),
        **{f"the method {name}": callable(getattr(engine, name, None)) for name in _METHODS},
    }
    return [what for what, is_there in kinds.items() if not is_there]


def _kept(who: str, doing: str, call: Callable[[], T]) -> T:
    """Return what the plug-in answers. Any error that an engine may not raise becomes Unavailable."""
    try:
        return call()
    except DatabaseError:
        raise
    except _FAULTS as error:
        raise Unavailable(
            f"{who} failed to {doing}: {type(error).__name__} is not an error that an engine may raise; fix the package"
        ) from None


class _Guarded:
    """An engine that keeps its faults to itself."""

    def __init__(self, who: str, engine: Engine) -> None:
        self._who = who
        self._engine = engine
        self.default_port = engine.default_port
        self.strategies = engine.strategies
        self.passwords = engine.passwords

    def check_username(self, username: str) -> None:
        _kept(self._who, "look at a user's name", lambda: self._engine.check_username(username))

    def verify(self, server: Server, credential: Credential, users: Users, queries: Sequence[str] = ()) -> list[str]:
        return _kept(self._who, "verify", lambda: list(self._engine.verify(server, credential, users, queries)))

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        session = _kept(self._who, "open a session", lambda: self._engine.open_admin(server, credential).__enter__())
        return _GuardedSession(self._who, session)


class _GuardedWithHosts(_Guarded):
    """One that names its hosts itself."""

    def __init__(self, who: str, engine: Engine, names: NamesHosts) -> None:
        super().__init__(who, engine)
        self._names = names

    def hosts(self, credential: Credential) -> tuple[tuple[str, int], ...]:
        return _kept(self._who, "name its hosts", lambda: self._names.hosts(credential))


class _GuardedSession:
    """A session of such an engine."""

    def __init__(self, who: str, session: AdminSession) -> None:
        self._who = who
        self._session = session

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._session.__exit__(kind, error, trace)
        except _FAULTS as fault:
            # Only a connection is lost; what the session did before still counts.
            log.warning("%s failed to close its session: %s", self._who, type(fault).__name__)

    def try_lock(self, base_user: str) -> bool:
        return _kept(self._who, "take its lock", lambda: self._session.try_lock(base_user))

    def check_users(self, users: Users) -> None:
        _kept(self._who, "look at its users", lambda: self._session.check_users(users))

    def set_password(
        self, users: Users, credential: Credential, rights: Rights, keep: Credential | None = None
    ) -> RightsReport:
        return _kept(self._who, "set a password", lambda: self._session.set_password(users, credential, rights, keep))

    def disable_login(self, user: str) -> None:
        _kept(self._who, "lock a user out", lambda: self._session.disable_login(user))

    def sessions_of(self, user: str) -> tuple[SessionCount, ...] | None:
        return _kept(self._who, "look for sessions", lambda: self._session.sessions_of(user))
