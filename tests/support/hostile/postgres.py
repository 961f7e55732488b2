"""PostgreSQL's frontend/backend protocol 3.0, as a server that proves passwords by MD5; Redshift's is the same.

Source: "Message Formats", PostgreSQL documentation.
"""

from __future__ import annotations

import ssl
import struct
from dataclasses import replace
from functools import cache

from tests.support.hostile.evil import Words
from tests.support.hostile.stages import Protocol, Stage
from tests.support.hostile.tls import HANDSHAKE
from tests.support.hostile.wire import Wire

ITERATIONS = 2**31 - 1
_READY = b"I"
_TYPE_TEXT = 25


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">I", len(body) + 4) + body


def announced(kind: bytes, size: int) -> bytes:
    return kind + struct.pack(">I", size + 4)


def parameter(number: int) -> bytes:
    """A setting of the session: 20,000 names in turn, so that a client that keeps them has much to search."""
    return message(b"S", b"p%05d\0%d\0" % (number % 20_000, number))


def notice(text: str, kind: bytes = b"N", severity: bytes = b"NOTICE") -> bytes:
    fields = (b"S" + severity, b"V" + severity, b"C00000", b"M" + text.encode())
    return message(kind, b"".join(field + b"\0" for field in fields) + b"\0")


def fatal(text: str) -> bytes:
    return notice(text, b"E", b"FATAL")


def row(number: int) -> bytes:
    return message(b"D", struct.pack(">HI", 1, 1) + b"a")


def columns(count: int = 1) -> bytes:
    one = b"c\0" + struct.pack(">IHIhih", 0, 0, _TYPE_TEXT, -1, -1, 0)
    return message(b"T", struct.pack(">H", count) + one * count)


@cache
def _wide_row() -> bytes:
    return columns(65535) + message(b"D", struct.pack(">H", 65535) + bytes(4) * 65535) * 64


_MD5 = message(b"R", struct.pack(">I", 5) + b"salt")


def _costly(wire: Wire) -> None:
    """SCRAM with as many rounds of hashing as a number can say."""
    wire.send(message(b"R", struct.pack(">I", 10) + b"SCRAM-SHA-256\0\0"))
    _, said = _receive(wire)
    nonce = said.rpartition(b"r=")[2].decode()
    challenge = f"r={nonce}server,s=c2FsdHNhbHQ=,i={ITERATIONS}"
    wire.send(message(b"R", struct.pack(">I", 11) + challenge.encode()))


def _receive(wire: Wire) -> tuple[bytes, bytes]:
    kind, size = struct.unpack(">cI", wire.read(5))
    return kind, wire.read(size - 4)


def _connected(wire: Wire, _: ssl.SSLContext) -> None:
    pass


def _asked_for_tls(wire: Wire, _: ssl.SSLContext) -> None:
    wire.read(8)


def _handshake(wire: Wire, _: ssl.SSLContext) -> None:
    wire.read(8)
    wire.send(b"S")


def _start(wire: Wire) -> None:
    (size,) = struct.unpack(">I", wire.read(4))
    wire.read(size - 4)


def _started_in_tls(wire: Wire, tls: ssl.SSLContext) -> None:
    _handshake(wire, tls)
    wire.start_tls(tls)
    _start(wire)


def _started(wire: Wire, _: ssl.SSLContext) -> None:
    _start(wire)


def _password_sent(wire: Wire, _: ssl.SSLContext) -> None:
    _start(wire)
    wire.send(_MD5)
    _receive(wire)


def _accepted(wire: Wire, tls: ssl.SSLContext) -> None:
    _password_sent(wire, tls)
    wire.send(message(b"R", struct.pack(">I", 0)))


def _asked(wire: Wire, tls: ssl.SSLContext) -> None:
    """The first statement that wants rows."""
    _accepted(wire, tls)
    for name, value in ((b"server_version", b"16.1"), (b"client_encoding", b"UTF8"), (b"DateStyle", b"ISO, MDY")):
        wire.send(message(b"S", name + b"\0" + value + b"\0"))
    wire.send(message(b"K", struct.pack(">II", 1, 1)) + message(b"Z", _READY))
    while True:
        kind, said = _receive(wire)
        if kind == b"Q" and b"SELECT" in said.upper():
            return
        begun = said.upper().startswith((b"BEGIN", b"SET", b"RESET"))
        wire.send(message(b"C", b"SET\0") + message(b"Z", b"T" if begun else _READY))


def _rows_begun(wire: Wire, tls: ssl.SSLContext) -> None:
    _asked(wire, tls)
    wire.send(columns())


_UNASKED = Words(small=lambda _: _MD5, announced=lambda n: announced(b"R", n), told=fatal, repeats=1)
_BEFORE = replace(_UNASKED, costly=_costly)
_NOTICES = Words(lambda n: notice(f"number {n}"), lambda n: announced(b"N", n), told=notice, repeats=256)

_STAGES = (
    Stage("connection", _connected, _UNASKED, tls=True),
    Stage("tls answer", _asked_for_tls, _UNASKED, tls=True),
    Stage("tls handshake", _handshake, HANDSHAKE, tls=True),
    Stage("start in tls", _started_in_tls, _BEFORE, tls=True),
    Stage("start", _started, _BEFORE),
    Stage("password", _password_sent, _UNASKED),
    Stage("session", _accepted, Words(parameter, lambda n: announced(b"S", n), told=fatal, repeats=20_000)),
    Stage("notices", _accepted, _NOTICES),
    Stage("result", _asked, Words(lambda n: columns(), lambda n: announced(b"T", n), told=fatal, wide=_wide_row)),
    Stage("rows", _rows_begun, Words(row, lambda n: announced(b"D", n), told=fatal, repeats=1)),
    Stage("notices in rows", _rows_begun, _NOTICES),
)
POSTGRES = Protocol("postgres", _STAGES)
REDSHIFT = Protocol("redshift", _STAGES)
