"""MongoDB's wire protocol, BSON, and the server's half of SCRAM-SHA-256; DocumentDB's is the same.

Source: "MongoDB Wire Protocol" and bsonspec.org; RFC 5802 and RFC 7677 for SCRAM.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import bson

from tests.support.hostile.evil import Words
from tests.support.hostile.stages import DATABASE, PASSWORD, USER, Protocol, Stage
from tests.support.hostile.tls import HANDSHAKE
from tests.support.hostile.wire import Wire

_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013
_WIDE = 42 << 20
_DEEP = 16 << 20
_ROUNDS, _MOST_ROUNDS = 4096, 2**31 - 1
_SALT = b"salt" * 7
HELLO = {
    "ok": 1.0,
    "isWritablePrimary": True,
    "ismaster": True,
    "maxBsonObjectSize": 16 << 20,
    "maxMessageSizeBytes": 48_000_000,
    "maxWriteBatchSize": 100_000,
    "minWireVersion": 0,
    "maxWireVersion": 21,
    "connectionId": 1,
    "saslSupportedMechs": ["SCRAM-SHA-256"],
}


@dataclass(frozen=True)
class Asked:
    """One command, with what an answer to it has to begin with."""

    number: int = 1
    operation: int = _OP_MSG
    document: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def by(cls, wire: Wire) -> Asked:
        head = wire.read(16)
        return cls.of(head + wire.read(struct.unpack_from("<i", head)[0] - 16))

    @classmethod
    def of(cls, message: bytes) -> Asked:
        _, number, _, operation = struct.unpack_from("<iiii", message)
        body = message[16:]
        at = body.index(b"\0", 4) + 9 if operation == _OP_QUERY else 5
        (length,) = struct.unpack_from("<i", body, at)
        return cls(number, operation, bson.decode(body[at : at + length]))

    def answer(self, document: dict[str, Any]) -> bytes:
        return self.raw(bson.encode(document))

    def raw(self, document: bytes) -> bytes:
        return self.head(len(document)) + document

    def head(self, size: int) -> bytes:
        """Of an answer whose document has so many bytes."""
        if self.operation == _OP_QUERY:
            return struct.pack("<iiiiiqii", size + 36, 1, self.number, _OP_REPLY, 8, 0, 0, 1)
        return struct.pack("<iiiiiB", size + 21, 1, self.number, _OP_MSG, 0, 0)


def _arrays(size: int) -> bytes:
    """A document whose one key is a list of empty lists."""
    count = size // 11
    element = b"\x04" + b"00000" + b"\0" + struct.pack("<i", 5) + b"\0"
    array = struct.pack("<i", 5 + len(element) * count) + element * count + b"\0"
    return struct.pack("<i", 5 + 3 + len(array)) + b"\x04a\0" + array + b"\0"


@cache
def _nested(size: int) -> bytes:
    """A document in a document in a document."""
    depth = size // 8
    heads = [struct.pack("<i", 5 + 8 * level) + b"\x03a\0" for level in range(depth, 0, -1)]
    return b"".join(heads) + struct.pack("<i", 5) + b"\0" + b"\0" * depth


def _words(asked: Asked, costly: bool = False) -> Words:
    def told(text: str) -> bytes:
        return asked.answer({"ok": 0.0, "code": 18, "codeName": text, "errmsg": text})

    return Words(
        # Of a hello in which the server says that more will come.
        small=lambda _: asked.answer(HELLO)[:16] + struct.pack("<i", 2) + asked.answer(HELLO)[20:],
        announced=asked.head,
        told=told,
        deep=lambda: asked.raw(_nested(_DEEP)),
        wide=lambda: asked.raw(_arrays(_WIDE)),
        repeats=1,
        costly=(lambda wire: _ask_too_much(wire, asked)) if costly else None,
    )


def answers(said: bytes) -> Words:
    """What can be answered to this message."""
    return _words(Asked.of(said))


def _challenge(wire: Wire, asked: Asked, rounds: int) -> str:
    nonce = asked.document["payload"].decode().rpartition("r=")[2]
    challenge = f"r={nonce}server,s={base64.b64encode(_SALT).decode()},i={rounds}"
    wire.send(asked.answer({"ok": 1.0, "conversationId": 1, "done": False, "payload": challenge.encode()}))
    return challenge


def _ask_too_much(wire: Wire, asked: Asked) -> None:
    _challenge(wire, asked, _MOST_ROUNDS)


def _connected(wire: Wire, _: ssl.SSLContext) -> None:
    pass


def _greets(wire: Wire, _: ssl.SSLContext) -> Words:
    return _words(Asked.by(wire))


def _greets_in_tls(wire: Wire, tls: ssl.SSLContext) -> Words:
    wire.start_tls(tls)
    return _words(Asked.by(wire))


def _next(wire: Wire) -> Asked:
    """The next command that is no greeting."""
    while True:
        asked = Asked.by(wire)
        if not asked.document.keys() & {"hello", "isMaster", "ismaster", "helloOk"}:
            return asked
        wire.send(asked.answer(HELLO))


def _logs_in(wire: Wire, _: ssl.SSLContext) -> Words:
    return _words(_next(wire), costly=True)


def _proves(wire: Wire, _: ssl.SSLContext) -> Words:
    started = _next(wire)
    _challenge(wire, started, _ROUNDS)
    return _words(_next(wire))


def _asked(wire: Wire) -> Asked:
    """The first command of a session: the server's half of the login is done."""
    started = _next(wire)
    first = started.document["payload"].decode().partition("n,,")[2]
    challenge = _challenge(wire, started, _ROUNDS)
    proof = _next(wire)
    last = proof.document["payload"].decode().rpartition(",p=")[0]
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), _SALT, _ROUNDS)
    key = hmac.digest(salted, b"Server Key", "sha256")
    signature = hmac.digest(key, f"{first},{challenge},{last}".encode(), "sha256")
    payload = b"v=" + base64.b64encode(signature)
    wire.send(proof.answer({"ok": 1.0, "conversationId": 1, "done": True, "payload": payload}))
    return _next(wire)


def _asks(wire: Wire, _: ssl.SSLContext) -> Words:
    return _words(_asked(wire))


def _protocol(engine: str, database: str) -> Protocol:
    def queries(wire: Wire, _: ssl.SSLContext) -> Words:
        asked = _asked(wire)
        users = {"authenticatedUsers": [{"user": USER, "db": database}], "authenticatedUserRoles": []}
        wire.send(asked.answer({"ok": 1.0, "authInfo": users}))
        return _words(_next(wire))

    some, costly = _words(Asked()), _words(Asked(), costly=True)
    stages = (
        Stage("connection", _connected, some),
        Stage("tls handshake", _connected, HANDSHAKE, tls=True),
        Stage("greeting in tls", _greets_in_tls, some, tls=True),
        Stage("greeting", _greets, some),
        Stage("login", _logs_in, costly),
        Stage("proof", _proves, some),
        Stage("session", _asks, some),
        Stage("result", queries, some),
    )
    return Protocol(engine, stages, query='{"count": "orders"}')


MONGO = _protocol("mongo", DATABASE)
DOCDB = _protocol("docdb", "admin")
