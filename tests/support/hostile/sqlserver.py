"""SQL Server's TDS 7.4: prelogin with TLS inside it, login, tokens, rows. Source: MS-TDS."""

from __future__ import annotations

import ssl
import struct
from collections.abc import Callable, Iterator
from functools import cache

from tests.support.hostile.evil import Words
from tests.support.hostile.stages import DATABASE, Protocol, Stage
from tests.support.hostile.tls import HANDSHAKE
from tests.support.hostile.wire import Wire

_REPLY, _PRELOGIN = 4, 18
_ON, _NOT_SUPPORTED = 1, 2
_PACKET = 4096 - 8
_COLLATION = bytes([9, 4, 0xD0, 0, 0x34])
_WITHOUT_LENGTH = 0xFFFFFFFFFFFFFFFE


def packet(body: bytes, kind: int = _REPLY, *, last: bool = False) -> bytes:
    return struct.pack(">BBHHBB", kind, last, len(body) + 8, 0, 1, 0) + body


def token(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + struct.pack("<H", len(body)) + body


def short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode("utf-16-le")


def done(*, error: bool = False) -> bytes:
    return b"\xfd" + struct.pack("<HHQ", 2 if error else 0, 0, 0)


def said(text: str, kind: int = 0xAA) -> bytes:
    """An error, or with 0xAB something for people to know."""
    body = struct.pack("<IBBH", 50000, 1, 14 if kind == 0xAA else 0, len(text)) + text.encode("utf-16-le")
    return token(kind, body + short("hostile") + short("") + struct.pack("<I", 1))


def changed(number: int) -> bytes:
    return token(0xE3, b"\x01" + short(f"base{number}") + short("master"))


def columns(count: int) -> bytes:
    """Texts without a limit."""
    one = struct.pack("<IH", 0, 9) + b"\xe7" + struct.pack("<H", 0xFFFF) + _COLLATION + short("c")
    return b"\x81" + struct.pack("<H", count) + one * count


def row(_: int) -> bytes:
    return b"\xd1" + struct.pack("<QI", 2, 2) + b"a\0" + struct.pack("<I", 0)


def _packets(block: bytes) -> Callable[[], Iterator[bytes]]:
    def body() -> Iterator[bytes]:
        many = packet(block) * 64
        while True:
            yield many

    return body


_LETTERS = b"a" * _PACKET


def _tokens(small: Callable[[int], bytes] = changed, begins: bytes = b"\xaa\xff\xff", body: bytes = _LETTERS) -> Words:
    return Words(
        small=lambda number: packet(small(number)),
        repeats=256,
        announced=lambda _: packet(begins),
        body=_packets(body),
        told=lambda text: packet(said(text) + done(error=True), last=True),
    )


def _chunk(size: int) -> bytes:
    return b"\xd1" + struct.pack("<QI", _WITHOUT_LENGTH, size) + b"a" * 64


@cache
def _wide() -> bytes:
    return b"".join(packet(columns(65534)[at : at + _PACKET]) for at in range(0, 65534 * 17, _PACKET))


class _Inside:
    """TLS whose handshake travels in PRELOGIN packets."""

    def __init__(self, wire: Wire, context: ssl.SSLContext) -> None:
        self._wire, self._in, self._out = wire, ssl.MemoryBIO(), ssl.MemoryBIO()
        self._plain = wire.plain
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)

    def shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                if self._out.pending:
                    self._wire.send(packet(self._out.read(), _PRELOGIN, last=True))
                self._in.write(_receive(self._wire))
                continue
            if self._out.pending:
                self._wire.send(packet(self._out.read(), _PRELOGIN, last=True))
            return

    def read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            try:
                found += self._tls.read(size - len(found))
            except ssl.SSLWantReadError:
                self._in.write(self._wire.some())
        return found

    def send(self, data: bytes) -> None:
        for at in range(0, len(data), 1 << 20):
            self._tls.write(data[at : at + (1 << 20)])
            self._plain(self._out.read())


def _receive(wire: Wire | _Inside) -> bytes:
    """One message, whatever its kind."""
    body = b""
    while True:
        _, last, size = struct.unpack(">BBH", wire.read(8)[:4])
        body += wire.read(size - 8)
        if last & 1:
            return body


def _prelogin(encryption: int) -> bytes:
    options = struct.pack(">BHHBHHB", 0, 11, 6, 1, 17, 1, 0xFF)
    return packet(options + bytes([16, 0, 0, 0, 0, 0, encryption]), last=True)


def _connected(wire: Wire, _: ssl.SSLContext) -> None:
    pass


def _greets(wire: Wire, _: ssl.SSLContext) -> None:
    _receive(wire)


def _handshake(wire: Wire, _: ssl.SSLContext) -> None:
    _receive(wire)
    wire.send(_prelogin(_ON))
    _receive(wire)


def _logs_in_in_tls(wire: Wire, tls: ssl.SSLContext) -> None:
    _receive(wire)
    wire.send(_prelogin(_ON))
    inside = _Inside(wire, tls)
    inside.shake_hands()
    _receive(inside)
    wire.wrap(inside.send)


def _logs_in(wire: Wire, _: ssl.SSLContext) -> None:
    _receive(wire)
    wire.send(_prelogin(_NOT_SUPPORTED))
    _receive(wire)


def _session(wire: Wire, tls: ssl.SSLContext) -> None:
    _logs_in(wire, tls)
    accepted = token(0xAD, b"\x01" + struct.pack(">I", 0x74000004) + short("hostile") + bytes([16, 0, 0, 0]))
    database = token(0xE3, b"\x01" + short(DATABASE) + short("master"))
    collation = token(0xE3, b"\x07\x05" + _COLLATION + b"\x00")
    wire.send(packet(database + collation + accepted + done(), last=True))
    _receive(wire)


def _rows_begun(wire: Wire, tls: ssl.SSLContext) -> None:
    _session(wire, tls)
    wire.send(packet(columns(1)))


def _wrapped(words: Words) -> Words:
    """The same in packets, where a handshake's bytes travel in them."""
    record = words.small(0)
    assert words.told is not None
    told = words.told

    def in_packets(handshake: Callable[[], bytes] | None) -> bytes:
        assert handshake is not None
        said = handshake()
        parts = [said[at : at + _PACKET] for at in range(0, len(said), _PACKET)]
        return b"".join(packet(part, _PRELOGIN, last=part is parts[-1]) for part in parts)

    return Words(
        small=lambda _: packet(record, _PRELOGIN, last=True),
        announced=lambda size: packet(words.announced(size), _PRELOGIN, last=True),
        body=words.body,
        told=lambda text: packet(told(text), _PRELOGIN, last=True),
        deep=lambda: in_packets(words.deep),
        wide=lambda: in_packets(words.wide),
    )


_GREETING = Words(
    small=lambda _: packet(b"", _PRELOGIN),
    announced=lambda _: struct.pack(">BBHHBB", _PRELOGIN, 0, 0xFFFF, 0, 1, 0),
    body=_packets(_LETTERS),
    told=lambda text: packet(said(text) + done(error=True), last=True),
)
_NOTICES = _tokens(lambda number: said(f"number {number}", 0xAB), b"\xab\xff\xff")
SQLSERVER = Protocol(
    "sqlserver",
    (
        Stage("connection", _connected, _GREETING),
        Stage("prelogin", _greets, _GREETING),
        Stage("tls handshake", _handshake, _wrapped(HANDSHAKE), tls=True),
        Stage("login in tls", _logs_in_in_tls, _tokens(), tls=True),
        Stage("login", _logs_in, _tokens()),
        Stage("notices", _logs_in, _NOTICES),
        Stage("result", _session, Words(**{**vars(_tokens()), "wide": _wide})),
        Stage("rows", _rows_begun, _tokens(row, _chunk(0x70000000))),
        Stage("notices in rows", _rows_begun, _NOTICES),
    ),
)
