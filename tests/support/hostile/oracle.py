"""Oracle's TNS and TTC, as far as a listener that lets the driver in and waits for its first statement.

Source: the thin driver itself (python-oracledb, src/oracledb/impl/thin), for Oracle publishes no description.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import struct
from collections.abc import Callable, Iterator
from functools import cache

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.support.hostile.evil import Words
from tests.support.hostile.stages import PASSWORD, Protocol, Stage
from tests.support.hostile.tls import HANDSHAKE
from tests.support.hostile.wire import Wire

_ACCEPT, _REFUSE, _DATA, _RESEND, _MARKER = 2, 4, 6, 11, 12
_VERSION = 317
_VERIFIER_11G, _VERIFIER_12C = 6949, 18453
_MOST_ROUNDS = 2**31 - 1
_SALT = "53414C54" * 4
_PROTOCOL, _DATA_TYPES, _PARAMETERS, _STATUS, _DESCRIBE, _WARNING, _TOKEN = 1, 2, 8, 9, 16, 15, 33


def packet(kind: int, body: bytes, *, large: bool = False) -> bytes:
    return _head(kind, len(body), large=large) + body


def _head(kind: int, size: int, *, large: bool) -> bytes:
    length = struct.pack(">I", size + 8) if large else struct.pack(">HH", size + 8, 0)
    return length + bytes([kind, 0, 0, 0])


def data(body: bytes) -> bytes:
    return packet(_DATA, bytes(2) + body, large=True)


def number(value: int) -> bytes:
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([len(raw)]) + raw


def text(value: str) -> bytes:
    raw = value.encode()
    return number(len(raw)) + (bytes([len(raw)]) + raw if raw else b"")


def parameters(pairs: dict[str, str], verifier: int = 0) -> bytes:
    found = bytes([_PARAMETERS]) + number(len(pairs))
    for key, value in pairs.items():
        found += text(key) + text(value) + number(verifier if key == "AUTH_VFR_DATA" else 0)
    return found + _end()


def _end() -> bytes:
    return bytes([_STATUS]) + number(0) + number(0)


def _receive(wire: Wire, *, large: bool = True) -> bytes:
    head = wire.read(8)
    (size,) = struct.unpack(">I" if large else ">H", head[: 4 if large else 2])
    return wire.read(size - 8)


def _before() -> Words:
    """What can be said while lengths have 16 bits: a wish to hear it once more, or a refusal."""
    return Words(
        small=lambda _: packet(_RESEND, b""),
        repeats=1,
        announced=lambda _: struct.pack(">HHBBH", 0xFFFF, 0, _ACCEPT, 0, 0),
        body=_packets(lambda: packet(_RESEND, b"a" * 65527)),
        told=lambda said: packet(_REFUSE, bytes(2) + struct.pack(">H", len(said) + 10) + f"(ERR={said})    ".encode()),
    )


def _after(*, costly: Callable[[Wire], None] | None = None, wide: Callable[[], bytes] | None = None) -> Words:
    return Words(
        # A token, which says to which of several requests an answer belongs.
        small=lambda _: data(bytes([_TOKEN, 0])),
        repeats=1,
        announced=lambda size: _head(_DATA, size, large=True) + bytes(2) + bytes([_PARAMETERS]),
        told=lambda said: data(
            bytes([_WARNING]) + number(24344) + number(len(said)) + number(0) + bytes([len(said) % 250]) + said.encode()
        ),
        wide=wide,
        costly=costly,
    )


def _packets(make: Callable[[], bytes]) -> Callable[[], Iterator[bytes]]:
    def body() -> Iterator[bytes]:
        one = make() * 4
        while True:
            yield one

    return body


def _connected(wire: Wire, _: ssl.SSLContext) -> None:
    pass


def _connects(wire: Wire, _: ssl.SSLContext) -> None:
    said = _receive(wire, large=False)
    if len(said) < 74:
        # What is connected to is long, and has a packet to itself.
        _receive(wire, large=False)


def _connects_in_tls(wire: Wire, tls: ssl.SSLContext) -> None:
    wire.start_tls(tls)
    _connects(wire, tls)


def _negotiates(wire: Wire, tls: ssl.SSLContext) -> None:
    _connects(wire, tls)
    body = struct.pack(">HH", _VERSION, 0) + bytes(10) + bytes([0]) + bytes(9) + struct.pack(">I", 8192)
    wire.send(packet(_ACCEPT, body))
    _receive(wire)


def _logs_in(wire: Wire, tls: ssl.SSLContext) -> None:
    _negotiates(wire, tls)
    described = bytes([6, 0]) + b"hostile\0" + struct.pack("<HBH", 873, 0, 0)
    described += struct.pack(">H", 11) + bytes(9) + struct.pack(">H", 2000)
    compile_time, run_time = bytes([0] * 7 + [12] + [0] * 42), bytes(12)
    described += bytes([len(compile_time)]) + compile_time + bytes([len(run_time)]) + run_time
    wire.send(data(bytes([_PROTOCOL]) + described))
    _receive(wire)
    wire.send(data(bytes([_DATA_TYPES]) + bytes(2)))
    _receive(wire)


class _Login:
    """The server's half of a login by the verifier of 11g."""

    def __init__(self) -> None:
        salt = bytes.fromhex(_SALT)
        self._hash = hashlib.sha1(PASSWORD.encode() + salt).digest() + bytes(4)
        self._key = os.urandom(48)

    @property
    def challenge(self) -> bytes:
        sent = _aes(self._hash, self._key, encrypt=True)
        return data(parameters({"AUTH_SESSKEY": sent.hex().upper(), "AUTH_VFR_DATA": _SALT}, _VERIFIER_11G))

    def accepted(self, proof: bytes) -> bytes:
        at = proof.index(b"AUTH_SESSKEY") + len("AUTH_SESSKEY")
        hexadecimal = proof[at:].split(bytes([96]), 2)[-1][:96]
        theirs = _aes(self._hash, bytes.fromhex(hexadecimal.decode()), encrypt=False)
        both = bytes(ours ^ other for ours, other in zip(self._key[16:40], theirs[16:40], strict=True))
        combined = (hashlib.md5(both[:16]).digest() + hashlib.md5(both[16:]).digest())[:24]
        answer = _aes(combined, bytes(16) + b"SERVER_TO_CLIENT", encrypt=True)
        session = {"AUTH_SVR_RESPONSE": answer.hex().upper(), "AUTH_SESSION_ID": "1", "AUTH_SERIAL_NUM": "1"}
        return data(parameters(session | {"AUTH_VERSION_NO": str(19 << 24)}))


def _aes(key: bytes, text: bytes, *, encrypt: bool) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.CBC(bytes(16)))
    worker = cipher.encryptor() if encrypt else cipher.decryptor()
    return worker.update(text)


def _costly(wire: Wire) -> None:
    pairs = {"AUTH_SESSKEY": "00" * 32, "AUTH_VFR_DATA": _SALT, "AUTH_PBKDF2_CSK_SALT": _SALT}
    rounds = dict.fromkeys(("AUTH_PBKDF2_VGEN_COUNT", "AUTH_PBKDF2_SDER_COUNT"), str(_MOST_ROUNDS))
    wire.send(data(parameters(pairs | rounds, _VERIFIER_12C)))


def _proves(wire: Wire, tls: ssl.SSLContext) -> None:
    _logs_in(wire, tls)
    wire.send(_Login().challenge)
    _receive(wire)


def _asks(wire: Wire, tls: ssl.SSLContext) -> None:
    _logs_in(wire, tls)
    login = _Login()
    wire.send(login.challenge)
    wire.send(login.accepted(_receive(wire)))
    _receive(wire)


@cache
def _wide() -> bytes:
    """A result that has, so it says, more columns than any table."""
    return data(bytes([_DESCRIBE]) + number(0) + number(0x70000000) + bytes(4000))


ORACLE = Protocol(
    "oracle",
    (
        Stage("connection", _connected, _before()),
        Stage("tls handshake", _connected, HANDSHAKE, tls=True),
        Stage("connect in tls", _connects_in_tls, _before(), tls=True),
        Stage("connect", _connects, _before()),
        Stage("negotiation", _negotiates, _after()),
        Stage("login", _logs_in, _after(costly=_costly)),
        Stage("proof", _proves, _after()),
        Stage("result", _asks, _after(wide=_wide)),
    ),
)
