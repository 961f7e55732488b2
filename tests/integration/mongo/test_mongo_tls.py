"""A connection is as protected as it was asked to be, or is not made; and a stranger's answers do no harm.

What is the same for every engine is in tests/life/test_life_tls_modes.py.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import bson
import pytest

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import Server, Tls, Unavailable, Users
from rotated_secrets.databases.mongo import MongoEngine
from rotated_secrets.databases.mongo.login import LONGEST_ANSWER
from sandbox.mongo import MongoServer, mongo_server
from tests.integration.mongo.conftest import credential_of

ENGINE = MongoEngine()
Answer = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def either() -> Iterator[MongoServer]:
    """A server that takes connections with and without TLS."""
    with mongo_server(tls="preferTLS") as running:
        yield running


def look(server: MongoServer, mode: TlsMode, ca: str | None, host: str = "localhost") -> list[str]:
    where = Server(host, ("127.0.0.1",), server.port, Tls(mode, ca))
    admin = credential_of(server.admin_user, server.admin_password, source="admin")
    return ENGINE.verify(where, admin, Users(server.admin_user), ['{"ping": 1}'])


def handshakes(server: MongoServer) -> int:
    """How many connections in TLS there have been; asking is one more."""
    return sum(server.command({"serverStatus": 1})["transportSecurity"].values())


def test_disable_is_what_it_says(mongo: MongoServer, either: MongoServer) -> None:
    many, asking = 6, 2  # and the server counts a little late
    for mode, in_tls in ((TlsMode.DISABLE, 0), (TlsMode.VERIFY_FULL, many)):
        before = handshakes(either)
        assert [look(either, mode, either.ca_pem) for _ in range(many)] == [[]] * many
        assert abs(handshakes(either) - before - in_tls) <= asking
    with pytest.raises(Unavailable, match="requires TLS where none was asked for"):
        look(mongo, TlsMode.DISABLE, None)


@pytest.mark.parametrize("mode", [TlsMode.REQUIRE, TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL])
def test_a_server_without_tls_is_never_spoken_to_in_the_clear(mongo: MongoServer, mode: TlsMode) -> None:
    said: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            wire, _ = listener.accept()
            with wire:
                said.append(wire.recv(4096))

        threading.Thread(target=hang_up, daemon=True).start()
        where = Server("localhost", ("127.0.0.1",), listener.getsockname()[1], Tls(mode, mongo.ca_pem))
        with pytest.raises(Unavailable, match=r"offers no TLS|cannot be reached"):
            ENGINE.verify(where, credential_of("app", "Kanarienvogel", source="admin"), Users("app"))
    # One handshake of TLS, and nothing after it.
    assert [each[:2] for each in said] == [b"\x16\x03"]


def test_a_name_is_not_looked_up_again(mongo: MongoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    real = socket.getaddrinfo

    def noting(host: Any, *arguments: Any, **options: Any) -> Any:
        asked.append(host)
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", noting)
    assert look(mongo, TlsMode.VERIFY_FULL, mongo.ca_pem) == []
    assert asked == ["127.0.0.1"]


# ---- strangers


@contextmanager
def stranger(answer: Answer) -> Iterator[int]:
    """Somebody who speaks MongoDB's protocol as badly as it likes; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            wire, _ = listener.accept()
            with wire, wire.makefile("rb") as stream:
                while header := stream.read(16):
                    length, request, _, _ = struct.unpack("<iiii", header)
                    body = stream.read(length - 16)
                    document = bson.encode(answer(bson.decode(body[5:])))
                    # OP_MSG: flags, and one section of kind 0.
                    reply = struct.pack("<i", 0) + b"\0" + document
                    wire.sendall(struct.pack("<iiii", 16 + len(reply), 1, request, 2013) + reply)

        def serve_until_left() -> None:
            with suppress(ConnectionError):
                serve()

        threading.Thread(target=serve_until_left, daemon=True).start()
        yield int(listener.getsockname()[1])


def ask(port: int) -> None:
    where = Server("localhost", ("127.0.0.1",), port, Tls(TlsMode.DISABLE))
    ENGINE.verify(where, credential_of("app", "Kanarienvogel", source="admin"), Users("app"))


HELLO = {"ok": 1, "isWritablePrimary": True, "maxWireVersion": 17, "minWireVersion": 0}


def speaking(payload: bytes, **hello: Any) -> Answer:
    def answer(command: dict[str, Any]) -> dict[str, Any]:
        if "saslStart" in command:
            nonce = command["payload"].partition(b"r=")[2]
            return {"ok": 1, "conversationId": 1, "done": False, "payload": payload.replace(b"NONCE", nonce)}
        return {**HELLO, "saslSupportedMechs": ["SCRAM-SHA-256"], **hello}

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: {"ok": 1},
        lambda _: {"ok": 0, "code": 18, "codeName": "canary of another service", "errmsg": "canary"},
        speaking(b"r=NONCEx,s=QUFBQUFBQUE=,i=2000000000"),
        speaking(b"r=NONCEx,s=QUFBQUFBQUE=,i=1"),
        speaking(b"r=other,s=QUFBQUFBQUE=,i=15000"),
        speaking(b"canary"),
        speaking(b"r=NONCEx,s=QUFBQUFBQUE=,i=4096"),
        speaking(b"", maxWireVersion="canary"),
        speaking(b"", maxMessageSizeBytes=2**31 - 1, saslSupportedMechs=5),
    ],
    ids=["nothing", "refuses hello", "iterations", "too few", "nonce", "garbage", "no proof", "types", "sizes"],
)
def test_a_strangers_answers_prove_nothing_and_are_not_repeated(answer: Answer) -> None:
    with stranger(answer) as port, pytest.raises(Unavailable) as told:
        ask(port)
    assert "canary" not in str(told.value)
    assert "Kanarienvogel" not in str(told.value)


def test_an_answer_that_is_longer_than_any_document_is_not_read() -> None:
    """Whatever length the stranger has said that it may have."""

    def answer(command: dict[str, Any]) -> dict[str, Any]:
        if "saslStart" in command:
            return {"ok": 0, "code": 18, "errmsg": "wrong password", "padding": b"x" * LONGEST_ANSWER}
        return {**HELLO, "saslSupportedMechs": ["SCRAM-SHA-256"], "maxMessageSizeBytes": 2**31 - 1}

    with stranger(answer) as port, pytest.raises(Unavailable):
        ask(port)


def test_an_answer_that_is_not_mongodb_is_not_repeated() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            wire, _ = listener.accept()
            with wire:
                wire.recv(4096)
                wire.sendall(b"-ERR canary of another service\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(Unavailable) as told:
            ask(listener.getsockname()[1])
    assert "canary" not in str(told.value)


def test_a_server_that_sends_other_hosts_is_not_followed(mongo: MongoServer) -> None:
    """A replica set's member names its primary: an address that nobody has guarded."""
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.setblocking(False)
        other = f"127.0.0.1:{elsewhere.getsockname()[1]}"
        named = {"isWritablePrimary": False, "secondary": True, "setName": "s", "primary": other, "hosts": [other]}
        where = Tls(TlsMode.DISABLE)
        with stranger(speaking(b"", **named)) as port, pytest.raises(Unavailable):
            ENGINE.open_admin(
                Server("localhost", ("127.0.0.1",), port, where), credential_of("app", "Kanarienvogel", source="admin")
            )
        with pytest.raises(BlockingIOError):
            elsewhere.accept()
