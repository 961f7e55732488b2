"""A server that speaks PostgreSQL's wire as Redshift does, and takes exactly the conversations written down for it.

The real driver talks to it, so passwords are proven by MD5, and errors come in the shape that the driver gives them. A
login or statement that was not expected, or not yet, is answered by an error and fails the test.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import Server, Tls

Value = str | int | bool | None | tuple[str, ...]

# "Monitoring queries and workloads with Amazon Redshift Serverless": these views are those of provisioned clusters.
_OF_CLUSTERS = re.compile(r"\b(stl|stv|svl|svcs)_", re.IGNORECASE)

_PARAMETERS = {
    "server_version": "8.0.2",
    "client_encoding": "UTF8",
    "server_encoding": "UNICODE",
    "DateStyle": "ISO, MDY",
    "integer_datetimes": "on",
    "padb_version": "1.0.99999",
}


@dataclass(frozen=True)
class Error:
    """An answer as Redshift words it; ``quotes`` makes it repeat the statement, as servers do."""

    sqlstate: str
    message: str
    quotes: bool = False


@dataclass(frozen=True)
class Step:
    """One statement, its white space aside, and what it is answered."""

    statement: str
    answer: tuple[tuple[Value, ...], ...] | Error = ()
    rows: bool = False


def asked(statement: str, *rows: tuple[Value, ...]) -> Step:
    """A statement that is answered by rows, of which there may be none."""
    return Step(_plain(statement), rows, rows=True)


def done(statement: str) -> Step:
    """A statement without rows."""
    return Step(_plain(statement))


def failing(statement: str, sqlstate: str, message: str, *, quotes: bool = False) -> Step:
    return Step(_plain(statement), Error(sqlstate, message, quotes))


def transaction(*steps: Step) -> list[Step]:
    """Steps that the driver puts between BEGIN and COMMIT, or ROLLBACK where the last of them fails."""
    failed = bool(steps) and isinstance(steps[-1].answer, Error)
    return [done("BEGIN"), *steps, done("ROLLBACK" if failed else "COMMIT")]


@dataclass
class Conversation:
    """One connection: who logs in, with which password, to which database, and what is said then."""

    user: str
    password: str
    database: str
    steps: Sequence[Step] = field(default_factory=list)
    refusal: Error | None = None
    """Sent instead of letting the user in, once the password was right."""
    serverless: bool = False


class RedshiftDouble:
    """Listens on a free port of 127.0.0.1 as long as its ``with`` lasts, which ends by telling what was not said."""

    def __init__(self, *conversations: Conversation) -> None:
        self._expected = list(conversations)
        self._failures: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.server = Server("127.0.0.1", ("127.0.0.1",), self._listener.getsockname()[1], Tls(TlsMode.DISABLE))

    def __enter__(self) -> RedshiftDouble:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        if self._failures:
            raise AssertionError("\n".join(self._failures)) from error
        if error is None and self._expected:
            raise AssertionError(f"nobody logged in as {[each.user for each in self._expected]}")

    def _serve(self) -> None:
        talks: list[threading.Thread] = []
        while True:
            try:
                wire, _ = self._listener.accept()
            except OSError:
                break
            if not self._expected:
                self._failures.append("a login that was not expected")
                wire.close()
                continue
            talks.append(threading.Thread(target=self._talk, args=(wire, self._expected.pop(0)), daemon=True))
            talks[-1].start()
        for talk in talks:
            talk.join(5)

    def _talk(self, wire: socket.socket, expected: Conversation) -> None:
        with wire:
            try:
                if self._let_in(wire, expected):
                    self._converse(wire, list(expected.steps), serverless=expected.serverless)
            except (ConnectionError, OSError) as error:
                self._failures.append(f"the conversation of {expected.user} broke: {error!r}")

    def _let_in(self, wire: socket.socket, expected: Conversation) -> bool:
        (size,) = struct.unpack(">I", _read(wire, 4))
        words = _read(wire, size - 4)[4:].split(b"\0")
        said = dict(zip(words[::2], words[1::2], strict=False))
        who = (said[b"user"].decode(), said[b"database"].decode())
        if who != (expected.user, expected.database):
            self._failures.append(f"{who} logged in instead of {(expected.user, expected.database)}")
        salt = os.urandom(4)
        wire.sendall(_message(b"R", struct.pack(">I", 5) + salt))
        _, answer = _receive(wire)
        stored = hashlib.md5((expected.password + expected.user).encode()).hexdigest()
        if answer.rstrip(b"\0").decode() != "md5" + hashlib.md5(stored.encode() + salt).hexdigest():
            wire.sendall(
                _error(Error("28000", f'password authentication failed for user "{who[0]}"'), severity="FATAL")
            )
            return False
        if expected.refusal:
            wire.sendall(_error(expected.refusal, severity="FATAL"))
            return False
        wire.sendall(_message(b"R", struct.pack(">I", 0)))
        for name, value in _PARAMETERS.items():
            wire.sendall(_message(b"S", f"{name}\0{value}\0".encode()))
        wire.sendall(_message(b"K", struct.pack(">II", 1, 2)) + _message(b"Z", b"I"))
        return True

    def _converse(self, wire: socket.socket, steps: list[Step], *, serverless: bool) -> None:
        state = b"I"
        while True:
            kind, body = _receive(wire)
            if kind == b"X":
                break
            statement = _plain(body.rstrip(b"\0").decode())
            step = steps.pop(0) if steps and steps[0].statement == statement else None
            if step is None:
                wanted = steps[0].statement if steps else "nothing more"
                self._failures.append(f"said:     {statement}\nexpected: {wanted}")
                step = Step(statement, Error("XX000", "not expected"))
            if serverless and _OF_CLUSTERS.search(statement):
                step = Step(statement, Error("42501", "permission denied for relation"))
            if statement == "BEGIN":
                state = b"T"
            elif statement in ("COMMIT", "ROLLBACK"):
                state = b"I"
            elif isinstance(step.answer, Error) and state == b"T":
                state = b"E"
            wire.sendall(_answer(step) + _message(b"Z", state))
        if steps and not self._failures:
            self._failures.append(f"never said: {[step.statement for step in steps]}")


def _answer(step: Step) -> bytes:
    if isinstance(step.answer, Error):
        text = f"{step.answer.message} in: {step.statement}" if step.answer.quotes else step.answer.message
        return _error(Error(step.answer.sqlstate, text), severity="ERROR")
    tag = _message(b"C", step.statement.split(" ")[0].encode() + b"\0")
    if not step.rows:
        return tag
    columns = len(step.answer[0]) if step.answer else 1
    first = step.answer[0] if step.answer else ("",)
    head = b"".join(
        b"c\0" + struct.pack(">IhIhih", 0, 0, _type([row[n] for row in step.answer] or [first[n]]), -1, -1, 0)
        for n in range(columns)
    )
    rows = b"".join(
        _message(b"D", struct.pack(">h", len(row)) + b"".join(_cell(value) for value in row)) for row in step.answer
    )
    return _message(b"T", struct.pack(">h", columns) + head) + rows + tag


def _type(values: Sequence[Value]) -> int:
    value = next((each for each in values if each is not None), "")
    if isinstance(value, bool):
        return 16
    return 23 if isinstance(value, int) else 1009 if isinstance(value, tuple) else 25


def _cell(value: Value) -> bytes:
    if value is None:
        return struct.pack(">i", -1)
    if isinstance(value, bool):
        text = "t" if value else "f"
    elif isinstance(value, tuple):
        text = "{" + ",".join('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in value) + "}"
    else:
        text = str(value)
    return struct.pack(">i", len(text.encode())) + text.encode()


def _error(error: Error, *, severity: str) -> bytes:
    fields = {"S": severity, "C": error.sqlstate, "M": error.message}
    return _message(b"E", b"".join(f"{key}{value}\0".encode() for key, value in fields.items()) + b"\0")


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">I", len(body) + 4) + body


def _receive(wire: socket.socket) -> tuple[bytes, bytes]:
    kind = wire.recv(1)
    if not kind:
        return b"X", b""
    (size,) = struct.unpack(">I", _read(wire, 4))
    return kind, _read(wire, size - 4)


def _read(wire: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = wire.recv(size - len(found))
        if not part:
            raise ConnectionError("closed")
        found += part
    return found


def _plain(statement: str) -> str:
    return " ".join(statement.split())
