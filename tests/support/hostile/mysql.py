"""MySQL's protocol from the handshake (version 10) to the rows of a result; MariaDB's is the same.

Source: "Connection Phase" and "Text Resultset", MySQL Internals / Source Code Documentation.
"""

from __future__ import annotations

import ssl
import struct
from collections.abc import Iterator
from functools import cache

from tests.support.hostile.evil import Words
from tests.support.hostile.stages import Protocol, Stage
from tests.support.hostile.tls import HANDSHAKE
from tests.support.hostile.wire import Wire

_LARGEST = (1 << 24) - 1
_CAPABILITIES = 0x1 | 0x2 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x80000 | 0x100000 | 0x200000
_SSL = 0x800
_PLUGIN = b"mysql_native_password\0"


def packet(number: int, body: bytes) -> bytes:
    return struct.pack("<I", len(body))[:3] + bytes([number % 256]) + body


def greeting(version: bytes, *, number: int = 0, tls: bool = True) -> bytes:
    flags = _CAPABILITIES | (_SSL if tls else 0)
    body = b"\x0a" + version + b"\0" + struct.pack("<I", 1) + b"saltsalt\0"
    body += struct.pack("<HBHH", flags & 0xFFFF, 45, 2, flags >> 16) + bytes([21]) + bytes(10)
    return packet(number, body + b"saltsaltsalt\0" + _PLUGIN)


def error(number: int, text: str, code: int = 1105) -> bytes:
    return packet(number, b"\xff" + struct.pack("<H", code) + b"#HY000" + text.encode())


def ok(number: int) -> bytes:
    return packet(number, b"\0\0\0\x02\0\0\0")


def column(number: int) -> bytes:
    texts = b"".join(bytes([len(text)]) + text for text in (b"def", b"", b"", b"", b"c", b""))
    return packet(number, texts + b"\x0c" + struct.pack("<HIBHB", 45, 255, 0xFD, 0, 0) + bytes(2))


def eof(number: int) -> bytes:
    return packet(number, b"\xfe\0\0\x02\0")


def switch(number: int) -> bytes:
    """Ask for the proof of the password once more, by a plug-in."""
    return packet(number, b"\xfe" + _PLUGIN + b"saltsaltsaltsaltsalt\0")


def _large(first: int) -> Iterator[bytes]:
    """The rest of a packet of the largest size, and more such packets, which are one message."""
    body = b"a" * (1 << 20)
    whole, rest = divmod(_LARGEST, len(body))
    number = first
    while True:
        yield from (body for _ in range(whole))
        number += 1
        yield body[:rest] + struct.pack("<I", _LARGEST)[:3] + bytes([number % 256])


def _words(first: int, small: bytes | None = None, *, step: int = 1) -> Words:

    def nth(number: int) -> bytes:
        at = first + step * number
        return packet(at, small) if small is not None else switch(at)

    return Words(
        small=nth,
        repeats=256,
        announced=lambda _: struct.pack("<I", _LARGEST)[:3] + bytes([first]),
        body=lambda: _large(first),
        told=lambda text: error(first, text),
        wide=(lambda: _wide(first)) if first == 1 else None,
    )


@cache
def _wide(first: int) -> bytes:
    """As many columns as there can be, without a row."""
    head = packet(first, b"\xfd" + struct.pack("<I", _LARGEST)[:3])
    return head + b"".join(column(first + 1 + n) for n in range(1 << 18))


def _receive(wire: Wire) -> tuple[int, bytes]:
    head = wire.read(4)
    return head[3], wire.read(int.from_bytes(head[:3], "little"))


def _stages(version: bytes) -> tuple[Stage, ...]:
    def connected(wire: Wire, _: ssl.SSLContext) -> None:
        pass

    def handshake(wire: Wire, _: ssl.SSLContext) -> None:
        wire.send(greeting(version))
        _receive(wire)

    def logs_in_in_tls(wire: Wire, tls: ssl.SSLContext) -> None:
        handshake(wire, tls)
        wire.start_tls(tls)
        _receive(wire)

    def logs_in(wire: Wire, _: ssl.SSLContext) -> None:
        wire.send(greeting(version))
        _receive(wire)

    def switched(wire: Wire, tls: ssl.SSLContext) -> None:
        logs_in(wire, tls)
        wire.send(switch(2))
        _receive(wire)

    def session(wire: Wire, tls: ssl.SSLContext) -> None:
        logs_in(wire, tls)
        wire.send(ok(2))
        _receive(wire)

    def asked(wire: Wire, tls: ssl.SSLContext) -> None:
        session(wire, tls)
        wire.send(ok(1))
        while not _receive(wire)[1].upper().startswith(b"\x03SELECT"):
            wire.send(ok(1))

    def rows_begun(wire: Wire, tls: ssl.SSLContext) -> None:
        asked(wire, tls)
        wire.send(packet(1, b"\x01") + column(2) + eof(3))

    definition = column(0)[4:]
    return (
        Stage("connection", connected, Words(**{**vars(_words(0)), "small": lambda n: greeting(version, number=n)})),
        Stage("tls handshake", handshake, HANDSHAKE, tls=True),
        Stage("login in tls", logs_in_in_tls, _words(3, step=2), tls=True),
        Stage("login", logs_in, _words(2, step=2)),
        Stage("login, other plug-in", switched, _words(4, step=2)),
        Stage("session", session, _words(1, b"\x01")),
        Stage("result", asked, _words(1, definition)),
        Stage("rows", rows_begun, _words(4, b"\x01a")),
    )


MYSQL = Protocol("mysql", _stages(b"8.0.36"))
MARIADB = Protocol("mariadb", _stages(b"5.5.5-10.11.6-MariaDB"))
