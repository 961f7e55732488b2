"""The driver's part of an Oracle connection, which takes exactly the conversations written down for it.

Oracle's wire is no public protocol, so this stands in for the driver's connections and cursors. Its errors are the
driver's own, made as the driver makes them. What was not expected, or not yet, fails the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import oracledb
import pytest
from oracledb import errors

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import Server, Tls
from rotated_secrets.databases.oracle.session import OneAddressLoop

Row = tuple[Any, ...]

SERVER = Server("db.example", ("10.0.0.1",), 1521, Tls(TlsMode.DISABLE))


def driver_error(code: int, said: str) -> oracledb.Error:
    """An error of the server, with its text."""
    detail = errors._Error(message=f"ORA-{code:05}: {said}", code=code)
    raised: oracledb.Error = detail.exc_type(detail)
    return raised


@dataclass(frozen=True)
class Step:
    """One statement with its bind variables, white space aside, and what it is answered."""

    statement: str
    binds: tuple[tuple[str, object], ...] = ()
    answer: tuple[Row, ...] | int | oracledb.Error = ()
    first: bool = False
    """No row after the first may be asked for."""


def asked(statement: str, *rows: Row, **binds: object) -> Step:
    return Step(_plain(statement), tuple(sorted(binds.items())), rows)


def asked_first(statement: str, *rows: Row) -> Step:
    """A query of which only the first row is wanted."""
    return Step(_plain(statement), (), rows, first=True)


def done(statement: str) -> Step:
    return Step(_plain(statement))


def failing(statement: str, code: int, **binds: object) -> Step:
    """The server's answer repeats the statement, as servers do."""
    return Step(_plain(statement), tuple(sorted(binds.items())), driver_error(code, f"went wrong: {statement}"))


def called(function: str, answer: int | oracledb.Error, **arguments: object) -> Step:
    return Step(f"call of {function}", tuple(sorted(arguments.items())), answer)


def changed(old: str, new: str) -> Step:
    return Step("change of own password", (("new", new), ("old", old)))


@dataclass
class Conversation:
    """One connection: who logs in, with which password, to which service, and what is said then."""

    user: str
    password: str
    service: str = "ORCL"
    steps: Sequence[Step] = field(default_factory=list)
    refusal: Exception | None = None


class OracleDouble:
    """In the driver's place as long as its ``with`` lasts, which ends by telling what was not said."""

    def __init__(self, *conversations: Conversation) -> None:
        self._expected = list(conversations)
        self._open: list[_Connection] = []
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> OracleDouble:
        self._patch.setattr(oracledb, "connect_async", self._connect)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patch.undo()
        failures = [failure for connection in self._open for failure in connection.failures]
        assert not failures, "\n".join(failures)
        if error is None:
            assert not self._expected, f"nobody logged in as {[each.user for each in self._expected]}"
            unsaid = [step.statement for connection in self._open for step in connection.steps]
            assert not unsaid, f"never said: {unsaid}"
            assert all(connection.closed for connection in self._open), "a connection was left open"

    async def _connect(self, **arguments: Any) -> _Connection:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, OneAddressLoop)
        loop.connected = True
        expected = self._expected.pop(0)
        assert isinstance(arguments.pop("ssl_context"), object)
        assert arguments == {
            "user": expected.user,
            "password": expected.password,
            "host": "10.0.0.1",
            "port": 1521,
            "protocol": "tcp",
            "service_name": expected.service,
            "ssl_server_dn_match": False,
            "tcp_connect_timeout": 5.0,
            "retry_count": 0,
            "expire_time": 1,
            "stmtcachesize": 0,
            "disable_oob": True,
            **dict.fromkeys(("program", "machine", "terminal", "osuser"), "rotated-secrets"),
        }
        if expected.refusal:
            raise expected.refusal
        self._open.append(_Connection(list(expected.steps)))
        return self._open[-1]


class _Connection:
    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps
        self.failures: list[str] = []
        self.closed = False

    def cursor(self) -> _Cursor:
        return _Cursor(self)

    async def changepassword(self, old: str, new: str) -> None:
        self.take("change of own password", {"old": old, "new": new})

    async def close(self) -> None:
        self.closed = True

    def take(self, statement: str, binds: dict[str, object]) -> Step:
        said = (_plain(statement), tuple(sorted(binds.items())))
        step = self.steps[0] if self.steps else None
        if step is None or (step.statement, step.binds) != said:
            self.failures.append(
                f"said:     {said}\nexpected: {(step.statement, step.binds) if step else 'nothing more'}"
            )
            raise driver_error(3113, "end-of-file on communication channel")
        self.steps.pop(0)
        if isinstance(step.answer, oracledb.Error):
            raise step.answer
        return step


class _Cursor:
    arraysize = 100
    prefetchrows = 2
    description: list[str] | None = None

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._rows: list[Row] = []

    def __enter__(self) -> _Cursor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    async def execute(self, statement: str, binds: dict[str, object] | None) -> None:
        step = self._connection.take(statement, binds or {})
        assert isinstance(step.answer, tuple)
        if step.first and (self.arraysize, self.prefetchrows) != (1, 1):
            self._connection.failures.append(f"more than the first row is fetched of: {step.statement}")
        self._rows = list(step.answer)
        self.description = ["column"] if _plain(statement).upper().startswith(("SELECT", "WITH")) else None

    async def callfunc(self, function: str, kind: type, keyword_parameters: dict[str, object]) -> object:
        assert kind is int
        return self._connection.take(f"call of {function}", keyword_parameters).answer

    async def fetchone(self) -> Row | None:
        return self._rows.pop(0) if self._rows else None

    async def fetchall(self) -> list[Row]:
        return self._rows


def _plain(statement: str) -> str:
    return " ".join(statement.split())
