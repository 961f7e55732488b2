"""What a server can say instead of a TLS handshake. Source: RFC 5246 and RFC 8446."""

from __future__ import annotations

import base64
import itertools
import struct
from collections.abc import Iterator, Sequence
from functools import cache

from sandbox.tls import CertificateAuthority
from tests.support.hostile.evil import Words

_ALERT, _HANDSHAKE = 21, 22
_SERVER_HELLO, _CERTIFICATE = 2, 11
_ECDHE_ECDSA_AES128_GCM_SHA256 = 0xC02B
_SAFE_RENEGOTIATION = 0xFF01
_LARGEST_RECORD = 1 << 14
_LARGEST_MESSAGE = (1 << 24) - 1


def record(kind: int, body: bytes) -> bytes:
    return struct.pack(">BHH", kind, 0x0303, len(body)) + body


def _body() -> Iterator[bytes]:
    block = record(_HANDSHAKE, b"a" * _LARGEST_RECORD) * 16
    while True:
        yield block


def _certificates(chain: Sequence[bytes]) -> bytes:
    """The beginning of a handshake of TLS 1.2, in which nothing is encrypted yet: a hello, and these certificates."""
    extension = struct.pack(">HHB", _SAFE_RENEGOTIATION, 1, 0)
    hello = b"\x03\x03" + bytes(32) + b"\0" + struct.pack(">HB", _ECDHE_ECDSA_AES128_GCM_SHA256, 0)
    hello += struct.pack(">H", len(extension)) + extension
    each = b"".join(_with_length(certificate) for certificate in chain)
    said = _message(_SERVER_HELLO, hello) + _message(_CERTIFICATE, _with_length(each))
    return b"".join(record(_HANDSHAKE, said[at : at + _LARGEST_RECORD]) for at in range(0, len(said), _LARGEST_RECORD))


def _message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + _with_length(body)


def _with_length(body: bytes) -> bytes:
    return struct.pack(">I", len(body))[1:] + body


def _der(pem: str) -> bytes:
    return base64.b64decode("".join(pem.splitlines()[1:-1]))


@cache
def _deep() -> bytes:
    """Hundreds of certificates, of authorities that have one name: any may have signed any other.

    Nearly the 100 KiB that OpenSSL takes (SSL_CTX_set_max_cert_list).
    """
    authorities = [_der(CertificateAuthority.create().certificate) for _ in range(8)] * 24
    return _certificates([_der(CertificateAuthority.create().issue().certificate), *authorities])


@cache
def _wide() -> bytes:
    """A mebibyte of certificates."""
    one = _der(CertificateAuthority.create().certificate)
    return _certificates(list(itertools.repeat(one, (1 << 20) // len(one))))


HANDSHAKE = Words(
    # A request to begin again, which a client that has begun is to ignore.
    small=lambda _: record(_HANDSHAKE, bytes(4)),
    announced=lambda _: record(_HANDSHAKE, struct.pack(">I", _SERVER_HELLO << 24 | _LARGEST_MESSAGE) + b"a" * 99),
    body=_body,
    deep=_deep,
    wide=_wide,
    # A fatal alert, and text where the next record should be.
    told=lambda text: record(_ALERT, bytes([2, 40])) + text.encode(),
)
