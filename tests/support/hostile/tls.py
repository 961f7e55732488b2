"""What a server can say instead of a TLS handshake. Source: RFC 5246 and RFC 8446."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.support.hostile.evil import Words

_ALERT, _HANDSHAKE = 21, 22
_SERVER_HELLO = 2
_LARGEST_RECORD = 1 << 14
_LARGEST_MESSAGE = (1 << 24) - 1


def record(kind: int, body: bytes) -> bytes:
    return struct.pack(">BHH", kind, 0x0303, len(body)) + body


def _body() -> Iterator[bytes]:
    block = record(_HANDSHAKE, b"a" * _LARGEST_RECORD) * 16
    while True:
        yield block


HANDSHAKE = Words(
    # A request to begin again, which a client that has begun is to ignore.
    small=lambda _: record(_HANDSHAKE, bytes(4)),
    announced=lambda _: record(_HANDSHAKE, struct.pack(">I", _SERVER_HELLO << 24 | _LARGEST_MESSAGE) + b"a" * 99),
    body=_body,
    # A fatal alert, and text where the next record should be.
    told=lambda text: record(_ALERT, bytes([2, 40])) + text.encode(),
)
