"""A server that speaks TDS, with TLS inside it, and takes exactly the conversations written down for it.

The real driver talks to it, so a certificate is looked at as it would be, parameters arrive as it sends them, and
errors come in the shape that it gives them. A login or statement that was not expected, or not yet, fails the test.
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import Server, Tls

# "GRANT Server Permissions" and "GRANT Server Principal Permissions", SQL Server documentation.
_OF_THE_SERVER = re.compile(
    r"(GRANT|DENY|REVOKE) .*(ON (LOGIN|SERVER ROLE|ENDPOINT)::|\b(ANY LOGIN|ANY DATABASE|CONNECT SQL|SERVER STATE)\b)"
)
_ONLY_IN_MASTER = 4621
_USE = re.compile(r"USE \[(.*)\]\Z")

Value = str | int | bool | bytes | None
Row = tuple[Value, ...]

ENCRYPT_OFF, ENCRYPT_ON, ENCRYPT_NOT_SUPPORTED, ENCRYPT_REQUIRED = 0, 1, 2, 3
_QUERY, _RPC, _REPLY, _LOGIN, _PRELOGIN, _TRANSACTION = 1, 3, 4, 16, 18, 14
_COLLATION = bytes([9, 4, 0xD0, 0, 0x34])


@dataclass(frozen=True)
class Error:
    """An answer by number; its text repeats the statement, as servers do."""

    number: int
    text: str = "It went wrong"


@dataclass(frozen=True)
class Step:
    """One statement with its parameters, white space aside, and what it is answered."""

    statement: str
    parameters: tuple[Value, ...] = ()
    answer: tuple[Row, ...] | Error = ()


def asked(statement: str, *parameters: Value, rows: Sequence[Row] = ()) -> Step:
    """A statement with parameters, answered by rows."""
    return Step(_plain(statement), parameters, tuple(rows))


def done(statement: str) -> Step:
    return Step(_plain(statement))


def failing(statement: str, number: int) -> Step:
    return Step(_plain(statement), answer=Error(number))


@dataclass
class Conversation:
    """One connection: who logs in, with which password, to which database, and what is said then."""

    user: str
    password: str
    database: str
    steps: Sequence[Step] = field(default_factory=list)
    refusals: tuple[Error, ...] = ()
    """Sent instead of letting the user in."""
    route: tuple[str, int] | None = None
    """Where the user is sent on to."""


class SqlServerDouble:
    """Listens on a free port of 127.0.0.1 as long as its ``with`` lasts, which ends by telling what was not said."""

    def __init__(
        self,
        *conversations: Conversation,
        certificate: tuple[Path, Path] | None = None,
        encryption: int | None = None,
        silent: bool = False,
    ) -> None:
        """``certificate``: its file and its key's; ``encryption``: what is answered to the client's wish for it;
        ``silent``: never answer anything."""
        self._expected = list(conversations)
        self._context = None
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        self._encryption = (
            encryption if encryption is not None else ENCRYPT_ON if certificate else ENCRYPT_NOT_SUPPORTED
        )
        self._silent = silent
        self.failures: list[str] = []
        self.passwords_seen: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.port: int = self._listener.getsockname()[1]

    def server(self, host: str = "127.0.0.1", mode: TlsMode = TlsMode.DISABLE, ca: str | None = None) -> Server:
        return Server(host, ("127.0.0.1",), self.port, Tls(mode, ca))

    def __enter__(self) -> SqlServerDouble:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        if self.failures:
            raise AssertionError("\n".join(self.failures)) from error
        if error is None and self._expected:
            raise AssertionError(f"nobody logged in as {[each.user for each in self._expected]}")

    def _serve(self) -> None:
        talks: list[threading.Thread] = []
        while True:
            try:
                wire, _ = self._listener.accept()
            except OSError:
                break
            talks.append(threading.Thread(target=self._talk, args=(wire,), daemon=True))
            talks[-1].start()
        for talk in talks:
            talk.join(5)

    def _talk(self, wire: socket.socket) -> None:
        with wire:
            try:
                if self._silent:
                    while wire.recv(4096):
                        pass
                    return
                self._converse(_Wire(wire))
            except (ConnectionError, OSError, ssl.SSLError):
                return

    def _converse(self, wire: _Wire) -> None:
        wire.receive()
        options = struct.pack(">BHHBHHB", 0, 11, 6, 1, 17, 1, 0xFF)
        wire.send(options + bytes([16, 0, 0, 0, 0, 0]) + bytes([self._encryption]))
        if self._context and self._encryption in (ENCRYPT_ON, ENCRYPT_REQUIRED):
            wire.start_tls(self._context)
        _, login = wire.receive()
        user, password, database = _credentials(login)
        self.passwords_seen.append(password)
        if not self._expected:
            self.failures.append(f"a login of {user} that was not expected")
            return
        expected = self._expected.pop(0)
        if (user, database) != (expected.user, expected.database):
            self.failures.append(f"{(user, database)} logged in instead of {(expected.user, expected.database)}")
        refusals = expected.refusals
        if not refusals and password != expected.password:
            refusals = (Error(18456),)
        if refusals:
            wire.send(b"".join(_error(each, f"login with {password}") for each in refusals) + _done(error=True))
            return
        wire.send(_let_in(database, expected.route))
        self._answer_statements(wire, list(expected.steps), expected.user, expected.database)

    def _answer_statements(self, wire: _Wire, steps: list[Step], user: str, database: str) -> None:
        while True:
            try:
                kind, body = wire.receive()
            except ConnectionError:
                break
            statement, parameters = _statement(kind, body)
            said = Step(_plain(statement), parameters)
            step = steps[0] if steps else None
            if step is None or (step.statement, step.parameters) != (said.statement, said.parameters):
                wanted = f"{step.statement} {step.parameters}" if step else "nothing more"
                self.failures.append(f"{user} said: {said.statement} {said.parameters}\nexpected: {wanted}")
                wire.send(_error(Error(50000), "") + _done(error=True))
                return
            steps.pop(0)
            if used := _USE.match(step.statement):
                database = used[1]
            if _OF_THE_SERVER.match(step.statement) and database != "master":
                self.failures.append(f"{user} said in database {database}: {step.statement}")
                wire.send(_error(Error(_ONLY_IN_MASTER), statement) + _done(error=True))
            elif isinstance(step.answer, Error):
                wire.send(_error(step.answer, statement) + _done(error=True))
            else:
                wire.send(_rows(step.answer) + _done())
        if steps and not self.failures:
            self.failures.append(f"{user} never said: {[step.statement for step in steps]}")


class _Wire:
    """Packets of TDS on a socket, and inside TLS once that was started."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()

    def receive(self) -> tuple[int, bytes]:
        body = b""
        while True:
            kind, status, size = struct.unpack(">BBH", self._read(8)[:4])
            body += self._read(size - 8)
            if status & 1:
                return kind, body

    def send(self, body: bytes, kind: int = _REPLY) -> None:
        chunks = [body[at : at + 4000] for at in range(0, len(body), 4000)] or [b""]
        for number, chunk in enumerate(chunks):
            last = 1 if number == len(chunks) - 1 else 0
            self._write(struct.pack(">BBHHBB", kind, last, len(chunk) + 8, 0, (number + 1) % 256, 0) + chunk)

    def start_tls(self, context: ssl.SSLContext) -> None:
        """A handshake whose messages travel in PRELOGIN packets."""
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                if self._outgoing.pending:
                    self.send(self._outgoing.read(), _PRELOGIN)
                self._incoming.write(self.receive()[1])
                continue
            if self._outgoing.pending:
                self.send(self._outgoing.read(), _PRELOGIN)
            self._tls = tls
            return

    def _read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            part = self._some(size - len(found))
            if not part:
                raise ConnectionError("closed")
            found += part
        return found

    def _some(self, size: int) -> bytes:
        if self._tls is None:
            return self._wire.recv(size)
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                part = self._wire.recv(65536)
                if not part:
                    return b""
                self._incoming.write(part)

    def _write(self, data: bytes) -> None:
        if self._tls is None:
            self._wire.sendall(data)
            return
        self._tls.write(data)
        self._wire.sendall(self._outgoing.read())


def _credentials(login: bytes) -> tuple[str, str, str]:
    """User, password and database of a LOGIN7 message; the password is no more than shuffled in it."""

    def text(at: int, shuffled: bool = False) -> str:
        offset, size = struct.unpack_from("<HH", login, at)
        raw = login[offset : offset + size * 2]
        if shuffled:
            raw = bytes((((each ^ 0xA5) << 4) & 0xF0) | ((each ^ 0xA5) >> 4) for each in raw)
        return raw.decode("utf-16-le")

    return text(40), text(44, shuffled=True), text(68)


def _statement(kind: int, body: bytes) -> tuple[str, tuple[Value, ...]]:
    headers = struct.unpack_from("<I", body)[0]
    if kind == _QUERY:
        return body[headers:].decode("utf-16-le"), ()
    if kind != _RPC:
        return f"message of type {kind}", ()
    return _executed(_Reader(body, headers))


def _executed(reader: _Reader) -> tuple[str, tuple[Value, ...]]:
    """The statement and parameters of a call of sp_executesql."""
    size = reader.number("<H")
    name = str(reader.number("<H")) if size == 0xFFFF else reader.text(size)
    reader.number("<H")
    values = []
    while not reader.at_end:
        reader.text(reader.number("B"))
        reader.number("B")
        values.append(reader.value())
    statement = str(values[0])
    for number in range(len(values) - 2, 0, -1):
        statement = statement.replace(f"@P{number}", "%s")
    return (statement if name in ("10", "sp_executesql") else f"call of {name}"), tuple(values[2:])


class _Reader:
    def __init__(self, body: bytes, at: int) -> None:
        self._body, self._at = body, at

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._body)

    def number(self, form: str) -> int:
        found = struct.unpack_from(form, self._body, self._at)
        self._at += struct.calcsize(form)
        return int(found[0])

    def raw(self, size: int) -> bytes:
        self._at += size
        return self._body[self._at - size : self._at]

    def text(self, characters: int) -> str:
        return self.raw(characters * 2).decode("utf-16-le")

    def value(self) -> Value:
        kind = self.number("B")
        if kind == 0x26:
            self.number("B")
            return int.from_bytes(self.raw(self.number("B")), "little", signed=True)
        assert kind == 0xE7, f"a parameter of type {kind:#x}"
        size = self.number("<H")
        self.raw(5)
        if size != 0xFFFF:
            return self.raw(self.number("<H")).decode("utf-16-le")
        self.number("<Q")
        parts = b""
        while chunk := self.number("<I"):
            parts += self.raw(chunk)
        return parts.decode("utf-16-le")


def _let_in(database: str, route: tuple[str, int] | None) -> bytes:
    changed = _token(0xE3, b"\x01" + _short(database) + _short("master"))
    collation = _token(0xE3, b"\x07\x05" + _COLLATION + b"\x00")
    accepted = _token(0xAD, b"\x01" + struct.pack(">I", 0x74000004) + _short("Double") + bytes([16, 0, 0, 0]))
    routed = b""
    if route:
        where = struct.pack("<BHH", 0, route[1], len(route[0])) + route[0].encode("utf-16-le")
        routed = _token(0xE3, b"\x14" + struct.pack("<H", len(where)) + where + b"\x00\x00")
    return changed + collation + accepted + routed + _done()


def _rows(rows: tuple[Row, ...]) -> bytes:
    if not rows:
        return b""
    columns = [next((row[n] for row in rows if row[n] is not None), None) for n in range(len(rows[0]))]
    head = b"\x81" + struct.pack("<H", len(columns))
    for sample in columns:
        head += struct.pack("<IH", 0, 9) + _type(sample) + _short("c")
    return head + b"".join(
        b"\xd1" + b"".join(_cell(value, sample) for value, sample in zip(row, columns, strict=True)) for row in rows
    )


def _type(sample: Value) -> bytes:
    if isinstance(sample, bool):
        return b"\x68\x01"
    if isinstance(sample, int):
        return b"\x26\x04"
    if isinstance(sample, bytes):
        return b"\xa5" + struct.pack("<H", 85)
    return b"\xe7" + struct.pack("<H", 8000) + _COLLATION


def _cell(value: Value, sample: Value) -> bytes:
    if isinstance(sample, int):
        size = 1 if isinstance(sample, bool) else 4
        return b"\x00" if value is None else bytes([size]) + int(value).to_bytes(size, "little", signed=size > 1)
    if value is None:
        return b"\xff\xff"
    raw = value if isinstance(value, bytes) else str(value).encode("utf-16-le")
    return struct.pack("<H", len(raw)) + raw


def _error(error: Error, statement: str) -> bytes:
    text = f"{error.text}: {statement}"[:2000]
    body = struct.pack("<IBBH", error.number, 1, 14, len(text)) + text.encode("utf-16-le")
    return _token(0xAA, body + _short("double") + _short("") + struct.pack("<I", 1))


def _done(*, error: bool = False) -> bytes:
    return b"\xfd" + struct.pack("<HHQ", 2 if error else 0, 0, 0)


def _token(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + struct.pack("<H", len(body)) + body


def _short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode("utf-16-le")


def _plain(statement: str) -> str:
    return " ".join(statement.split())
