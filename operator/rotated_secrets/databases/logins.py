"""Logins of one run, each in a cell: a server that a tenant chose is spoken to in no other process.

The engine of the operator answers what needs no server; a copy of it in the cell speaks to the server.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

from rotated_secrets.api.rotation import Rights
from rotated_secrets.cells import Cell, CellFailed, Cells
from rotated_secrets.cells.wire import pickled, unpickled
from rotated_secrets.databases.base import (
    AdminSession,
    AsksCloud,
    AuthenticationFailed,
    ChecksRights,
    DatabaseError,
    Engine,
    NotAdmitted,
    Refused,
    RemembersWrites,
    RightsReport,
    Server,
    SessionCount,
    Unavailable,
    Users,
)
from rotated_secrets.databases.failures import with_white_space_told
from rotated_secrets.databases.registry import engine_named
from rotated_secrets.values import Credential

T = TypeVar("T")

LOGIN_SECONDS: Final = 20.0
"""Longest that a login with its checks takes; the engines' own limits end an honest one before."""
STATEMENTS_SECONDS: Final = 90.0
"""Longest that the statements of one method take; each has a limit of its own."""

_DECLARED = (AuthenticationFailed, NotAdmitted, Unavailable, Refused)


class Logins(Protocol):
    """What a run needs of an engine that speaks to a server. Close it when the run ends."""

    def verify(self, server: Server, credential: Credential, users: Users, queries: Sequence[str] = ()) -> list[str]:
        """See :meth:`Engine.verify`."""

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        """See :meth:`Engine.open_admin`."""

    def open_admin_for(
        self, server: Server, credential: Credential, proven_at: Server, proof: Credential
    ) -> AdminSession:
        """See :meth:`ProvesUsers.open_admin_for`."""

    def close(self) -> None:
        """End what is still open."""


class CellLogins:
    """Logins in cells: one cell for a run, opened by its first login, and another where that one has ended."""

    def __init__(self, cells: Cells, engine: Engine, name: str, tenant: str) -> None:
        """``name``: the engine's in secret values; ``tenant``: for whom the run is."""
        self._cells = cells
        self._engine = engine
        self._name = name
        self._tenant = tenant
        self._open: dict[tuple[int, ...], Cell] = {}

    def verify(self, server: Server, credential: Credential, users: Users, queries: Sequence[str] = ()) -> list[str]:
        if not server.addresses:  # no login tells anything, so AWS is asked
            return self._engine.verify(server, credential, users, queries)
        arguments = server, credential, users, tuple(queries)
        try:
            return self._at(server).call("verify", *arguments, returns=list[str], within=LOGIN_SECONDS)
        except AuthenticationFailed as error:
            raise with_white_space_told(error, credential) from None

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        if isinstance(self._engine, AsksCloud):
            return self._engine.open_admin(server, credential)
        try:
            return self._session("open_admin", server, credential)
        except AuthenticationFailed as error:
            raise with_white_space_told(error, credential) from None

    def open_admin_for(
        self, server: Server, credential: Credential, proven_at: Server, proof: Credential
    ) -> AdminSession:
        return self._session("open_admin_for", server, credential, proven_at, proof)

    def close(self) -> None:
        for cell in self._open.values():
            cell.close()
        self._open.clear()

    def _session(self, method: str, server: Server, *arguments: object) -> AdminSession:
        client = self._at(server)
        client.call(method, server, *arguments, returns=type(None), within=LOGIN_SECONDS)
        return _CellSession(client, self._engine)

    def _at(self, server: Server) -> _Client:
        """The client in the cell that may connect to this server's ports. Raises: Unavailable."""
        ports = tuple(sorted({each.port for each in (server, *server.others)}))
        found = self._open.get(ports)
        if found is None or not found.is_open:
            limits = replace(self._cells.limits, ports=ports)
            work = _EngineInCell(_source(self._engine, self._name))
            try:
                found = self._cells.open(work, tenant=self._tenant, limits=limits, declared=_DECLARED)
            except CellFailed as failed:
                raise _unavailable(self._name, server, failed) from None
            self._open[ports] = found
        return _Client(found, self._name, server)


@dataclass(frozen=True)
class _Client:
    """The engine in a cell, for one server."""

    cell: Cell
    name: str
    server: Server

    def call(self, method: str, *arguments: object, returns: type[T], within: float = STATEMENTS_SECONDS) -> T:
        """Call a method of the engine or of its session. Raises: AuthenticationFailed, Unavailable, Refused."""
        try:
            return self.cell.call(method, *arguments, returns=returns, within=within)
        except CellFailed as failed:
            raise _unavailable(self.name, self.server, failed) from None


class _CellSession:
    """An admin's session that is open in a cell, and ends with it."""

    def __init__(self, client: _Client, engine: Engine) -> None:
        self._client = client
        self._engine = engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(DatabaseError):
            self._client.call("end_session", returns=type(None))

    def try_lock(self, base_user: str) -> bool:
        return self._client.call("try_lock", base_user, returns=bool)

    def check_users(self, users: Users) -> None:
        self._client.call("check_users", users, returns=type(None))

    def check_rights(self, users: Users) -> None:
        self._client.call("check_rights", users, returns=type(None))

    def set_password(
        self, users: Users, credential: Credential, rights: Rights, keep: Credential | None = None
    ) -> RightsReport:
        try:
            return self._client.call("set_password", users, credential, rights, keep, returns=RightsReport)
        finally:
            # Also where it failed: it is not known then what was done.
            if isinstance(self._engine, RemembersWrites):
                self._engine.wrote(self._client.server, credential.username)

    def disable_login(self, user: str) -> None:
        self._client.call("disable_login", user, returns=type(None))

    def sessions_of(self, user: str) -> tuple[SessionCount, ...] | None:
        return self._client.call("sessions_of", user, returns=_Sessions).found


@dataclass(frozen=True)
class _Sessions:
    found: tuple[SessionCount, ...] | None


class _EngineInCell:
    """An engine and the session that it opened. Runs in the cell; the cell's methods are these."""

    def __init__(self, source: Callable[[], Engine]) -> None:
        self._source = source
        self._session: AdminSession | None = None

    @cached_property
    def _engine(self) -> Engine:
        return self._source()

    def verify(self, server: Server, credential: Credential, users: Users, queries: Sequence[str]) -> list[str]:
        return self._engine.verify(server, credential, users, queries)

    def open_admin(self, server: Server, credential: Credential) -> None:
        self._session = self._engine.open_admin(server, credential).__enter__()

    def open_admin_for(self, server: Server, credential: Credential, proven_at: Server, proof: Credential) -> None:
        engine: Any = self._engine
        self._session = engine.open_admin_for(server, credential, proven_at, proof).__enter__()

    def try_lock(self, base_user: str) -> bool:
        return self._opened.try_lock(base_user)

    def check_users(self, users: Users) -> None:
        self._opened.check_users(users)

    def check_rights(self, users: Users) -> None:
        if isinstance(self._opened, ChecksRights):
            self._opened.check_rights(users)
        else:
            self._opened.check_users(users)

    def set_password(
        self, users: Users, credential: Credential, rights: Rights, keep: Credential | None
    ) -> RightsReport:
        return self._opened.set_password(users, credential, rights, keep)

    def disable_login(self, user: str) -> None:
        self._opened.disable_login(user)

    def sessions_of(self, user: str) -> _Sessions:
        return _Sessions(self._opened.sessions_of(user))

    def end_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.__exit__(None, None, None)

    close = end_session

    @property
    def _opened(self) -> AdminSession:
        if self._session is None:
            raise Unavailable("the session has ended")
        return self._session


def _source(engine: Engine, name: str) -> Callable[[], Engine]:
    """How a cell gets its own copy of an engine: a webhook's knows its receiver, a plug-in may be no thing to copy."""
    try:
        copy = pickled(engine)
    except Exception:  # noqa: BLE001 - objects refuse in many ways
        return partial(engine_named, name)
    return partial(unpickled, copy)


def _unavailable(name: str, server: Server, failed: CellFailed) -> Unavailable:
    return Unavailable(f"the client of {name} for {server} {failed}; check what answers there; it is tried again")
