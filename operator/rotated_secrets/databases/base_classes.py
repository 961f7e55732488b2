"""Base classes of the engines here: what an engine and an admin's session are made of, whatever the database.

An engine need not use them: the protocols in ``base`` are all that is asked of it.
"""

from __future__ import annotations

import contextlib
import string
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.databases.base import PasswordLimits, Refused, Server, Unavailable, Users
from rotated_secrets.databases.deadline import judged_in_time
from rotated_secrets.databases.idle import IDLE_SECONDS, IdleLimit
from rotated_secrets.databases.verify_queries import Query, VerifyQueries
from rotated_secrets.values import Credential

VERIFY_SECONDS = 5.0
"""How long the queries of one verify may take together. Less than any idle limit: the lock is held meanwhile."""

LETTERS_AND_DIGITS = (
    ("an upper case letter", string.ascii_uppercase),
    ("a lower case letter", string.ascii_lowercase),
    ("a digit", string.digits),
)
"""Kinds of characters that several servers demand of a password."""


class Closable(Protocol):
    """A connection, or what an engine wraps one in."""

    def close(self) -> None: ...


ConnectionT = TypeVar("ConnectionT", bound=Closable)


def database_shown(database: str, credential: Credential) -> str:
    """Return a database as messages of its login may show it: a name in the secret value may be a password there."""
    return "the database that dbname names" if database == credential.dbname else f"database {database}"


class DatabaseClosed(Unavailable):
    """The server accepted the password, but does not let the user in to this database. It may to another."""


@dataclass(frozen=True)
class LoggedIn(Generic[ConnectionT]):
    """A login that ``verify`` looks at."""

    connection: ConnectionT
    server: Server
    credential: Credential
    users: Users


class BaseEngine(ABC):
    """The names and time limits of an engine."""

    strategies = frozenset({Strategy.SINGLE_USER, Strategy.ALTERNATING_USERS})
    passwords = PasswordLimits()
    idle_seconds: float = IDLE_SECONDS

    def __init__(self, idle_seconds: float | None = None, verify_seconds: float = VERIFY_SECONDS) -> None:
        """Set the time limits.

        Args:
            idle_seconds: after this time an admin's session that sent nothing has lost its lock, or is not used again.
            verify_seconds: how long the queries of one ``verify`` may take together.
        """
        if idle_seconds is not None:
            self.idle_seconds = idle_seconds
        self.verify_seconds = verify_seconds

    def check_username(self, username: str) -> None:
        """See :meth:`rotated_secrets.databases.base.Engine.check_username`."""
        why = self._unusable_name(username)
        if why:
            raise Refused(why)

    @abstractmethod
    def _unusable_name(self, username: str) -> str | None:
        """Return why the server would refuse or shorten this name; None if it is good."""


class LoginEngine(BaseEngine, Generic[ConnectionT]):
    """An engine whose ``verify`` is one login to one server."""

    def verify(self, server: Server, credential: Credential, users: Users, queries: Sequence[str] = ()) -> list[str]:
        """See :meth:`rotated_secrets.databases.base.Engine.verify`."""
        try:
            connection = self._log_in(server, credential)
        except DatabaseClosed as error:
            return [str(error)]
        with contextlib.closing(connection), judged_in_time():
            login = LoggedIn(connection, server, credential, users)
            verified = VerifyQueries(queries, self.verify_seconds)
            return [*self._wrong_rights(login), *verified.failures(lambda query: self._run(login, query))]

    @abstractmethod
    def _log_in(self, server: Server, credential: Credential) -> ConnectionT:
        """Log in as an application does. Raises: as ``verify``, and DatabaseClosed."""

    def _wrong_rights(self, login: LoggedIn[ConnectionT]) -> Iterable[str]:  # noqa: ARG002 - not every engine can tell
        """Return a sentence for each right of the base user that the session lacks. Raises: as ``verify``."""
        return ()

    @abstractmethod
    def _run(self, login: LoggedIn[ConnectionT], query: Query) -> str | None:
        """Run one verify query as far as its first row. See :meth:`VerifyQueries.failures`."""


class BaseAdminSession(ABC):
    """A context manager that closes the session when it is left."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close every connection of the session."""


class IdleAdminSession(BaseAdminSession, Generic[ConnectionT]):
    """A session at a server that does not limit how long it may be silent, with a connection for each database.

    The limit is kept here: a connection is given out only while the session is not over.
    """

    def __init__(self, server: Server, credential: Credential, idle: IdleLimit, opened: ConnectionT) -> None:
        """Take over ``opened``, a connection as the user of ``credential``, and check it by :meth:`_begin`."""
        self._server = server
        self._credential = credential
        self._idle = idle
        self._opened = opened
        self._others: dict[str, ConnectionT] = {}
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for connection in (self._opened, *self._others.values()):
            connection.close()

    def _begin(self) -> None:
        """Check who has logged in."""

    @property
    def _main(self) -> ConnectionT:
        """The connection that the session was opened with. Raises: Unavailable, if it was silent for too long."""
        self._idle.check()
        return self._opened

    def _in(self, database: str) -> ConnectionT:
        """The connection to one more database, opened when it is first needed. Raises: as ``_main``."""
        self._idle.check()
        if database not in self._others:
            self._others[database] = self._open_in(database)
        return self._others[database]

    def _open_in(self, database: str) -> ConnectionT:
        raise NotImplementedError(f"no connection to another database than the one logged in to: {database}")
