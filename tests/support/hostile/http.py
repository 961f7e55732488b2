"""HTTP/1.1 as a hostile server speaks it, over TLS to a webhook's client and in plain to AWS's. Source: RFC 9112."""

from __future__ import annotations

import json
import ssl
import zlib
from collections.abc import Callable
from functools import cache

from tests.support.hostile.evil import Kind, Words
from tests.support.hostile.stages import Protocol, Reach, Stage
from tests.support.hostile.tls import HANDSHAKE
from tests.support.hostile.wire import Wire

_DEPTH = 32_000
_STATUS = b"HTTP/1.1 200 OK\r\n"
_MEBIBYTES = 16 << 20
Body = Callable[[str], bytes]


def request(wire: Wire) -> tuple[bytes, bytes]:
    """Head and body of the next request."""
    head = wire.read_until(b"\r\n\r\n")
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length:")
    size = int(lower[at + 17 :].partition(b"\r\n")[0]) if at >= 0 else 0
    return head, wire.read(size)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def whole(body: bytes) -> bytes:
    return chunk(body) + chunk(b"")


def _zeros() -> Callable[[int], bytes]:
    """Chunks of one gzip stream, each of a few kilobytes that become many mebibytes."""
    made: list[bytes] = []

    def nth(number: int) -> bytes:
        if not made:
            packer = zlib.compressobj(9, zlib.DEFLATED, 31)
            zeros = bytes(_MEBIBYTES)
            made.extend(chunk(packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)) for _ in range(2))
        return made[min(number, 1)]

    return nth


_PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><p>Sign in first.<p></body></html>"


def _foreign(status: str, content_type: str, body: bytes, *headers: str) -> bytes:
    lines = (f"Content-Type: {content_type}", f"Content-Length: {len(body)}", "Connection: close", *headers)
    return "\r\n".join((f"HTTP/1.1 {status}", *lines, "", "")).encode() + body


@cache
def _wide_headers() -> bytes:
    return b"".join(b"X-%d:\r\n" % number for number in range(1 << 20)) + b"\r\n"


BEFORE_STATUS = Words(
    small=lambda _: b"HTTP/1.1 100 Continue\r\n\r\n",
    announced=lambda _: b"HTTP/1.1 200 ",
    told=lambda text: b"HTTP/1.1 500 " + text.encode() + b"\r\n\r\n",
    foreign={
        Kind.PAGE: _foreign("200 OK", "text/html", _PAGE),
        Kind.REFUSES: _foreign("403 Forbidden", "text/html", _PAGE),
        Kind.REDIRECTS: _foreign("302 Found", "text/html", _PAGE, "Location: https://login.example/"),
        Kind.SHAPE: _foreign("200 OK", "application/json", b'{"ok": "of course", "results": [1, {"two": null}]}'),
    },
)
BEFORE_HEADERS = Words(
    small=lambda number: b"X-Header-%d: value\r\n" % number,
    announced=lambda _: b"X-Header: ",
    told=lambda text: b"Retry-After: " + text.encode() + b"\r\n\r\n",
    wide=_wide_headers,
)
BEFORE_LENGTH = Words(
    small=lambda number: b"\r\n" if number == 0 else b"a" * 100,
    announced=lambda size: b"Content-Length: %d\r\n\r\n" % size,
)
IN_GZIP = Words(small=_zeros(), announced=lambda size: b"%x\r\n\x1f\x8b\x08" % size)


def in_body(told: Body, deep: Callable[[int], bytes], wide: Callable[[int], bytes]) -> Words:
    return Words(
        small=lambda _: chunk(b" " * 64),
        announced=lambda size: b"%x\r\n" % size,
        told=lambda text: whole(told(text)),
        deep=lambda: whole(deep(_DEPTH)),
        wide=lambda: whole(wide(8 << 20)),
    )


def _deep_json(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def _wide_json(count: int) -> bytes:
    return b"[" + b"{}," * count + b"{}]"


JSON_BODY = in_body(
    lambda text: json.dumps({"ok": False, "failure": "check", "message": text}).encode(), _deep_json, _wide_json
)

ANSWERS: tuple[tuple[str, bytes, Words], ...] = (
    ("status", b"", BEFORE_STATUS),
    ("headers", _STATUS, BEFORE_HEADERS),
    ("length", _STATUS, BEFORE_LENGTH),
    ("body", _STATUS + b"Transfer-Encoding: chunked\r\n\r\n", JSON_BODY),
    ("gzip", _STATUS + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", IN_GZIP),
    ("redirect", b"HTTP/1.1 302 Found\r\nLocation: /\r\n", BEFORE_HEADERS),
)
"""Stages of an answer: a name, what was said before, what can be said."""


def _answering(before: bytes) -> Reach:
    def reach(wire: Wire, tls: ssl.SSLContext) -> None:
        wire.start_tls(tls)
        request(wire)
        if before:
            wire.send(before)

    return reach


def _connected(wire: Wire, _: ssl.SSLContext) -> None:
    pass


WEBHOOK = Protocol(
    "webhook",
    (
        Stage("tls handshake", _connected, HANDSHAKE),
        *(Stage(name, _answering(before), words) for name, before, words in ANSWERS),
    ),
)
