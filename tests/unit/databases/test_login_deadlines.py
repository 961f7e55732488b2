"""Every login ends by itself at a server that has let the user in, and then says nothing more, or a byte a second.

The limit of a cell would end it too, but later, and without the words of the engine.
"""

from __future__ import annotations

import contextlib
import gc
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases import deadline
from rotated_secrets.databases.base import Server, Tls, Unavailable, Users
from rotated_secrets.databases.oracle import session as oracle
from rotated_secrets.databases.redis import wire as redis
from rotated_secrets.databases.registry import engine_named
from rotated_secrets.values import Credential, SecretText
from tests.support.hostile import mysql
from tests.support.hostile.catalogue import PROTOCOLS
from tests.support.hostile.evil import Kind, do
from tests.support.hostile.redis import REDIS
from tests.support.hostile.stages import DATABASE, PASSWORD, USER, Protocol, Stage
from tests.support.hostile.wire import Wire

MUCH_LATER = 8.0
"""Seconds: less than any limit of one statement, and far more than the one that is tested."""


@contextlib.contextmanager
def serving(stage: Stage, kind: Kind) -> Iterator[int]:
    """A server that gets one client to the stage, and then is evil."""

    def serve() -> None:
        with contextlib.suppress(OSError, ValueError), contextlib.closing(Wire(listener.accept()[0])) as wire:
            words = stage.reach(wire, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) or stage.words
            do(kind, wire, words, "evil")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def after_login() -> Iterator[object]:
    """Of each engine the stage where a driver has logged in, and sent no verify query: that has a limit of its own."""
    for protocol in PROTOCOLS:
        name = "result" if protocol.query is None else "session"
        for stage in protocol.stages:
            if stage.name == name and protocol.engine != "elasticache":
                yield pytest.param(protocol, stage, id=protocol.engine)
    session = next(stage for stage in mysql.MYSQL.stages if stage.name == "session")
    yield pytest.param(mysql.MYSQL, replace(session, reach=_is_told_settings), id="mysql, settings")


def _is_told_settings(wire: Wire, tls: ssl.SSLContext) -> None:
    """What the session is set to, after the first thing that the driver itself has asked."""
    session = next(stage for stage in mysql.MYSQL.stages if stage.name == "session")
    session.reach(wire, tls)
    wire.send(mysql.ok(1))
    assert b"SET SESSION" in wire.some()


@pytest.mark.parametrize("kind", [Kind.SILENT, Kind.DRIPS])
@pytest.mark.parametrize(("protocol", "stage"), list(after_login()))
def test_login_whose_server_falls_silent_ends(
    protocol: Protocol,
    stage: Stage,
    kind: Kind,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(deadline, "LOOK_SECONDS", 0.3)
    # The driver has to end because its connection was cut, not because this is over too.
    monkeypatch.setattr(oracle, "CLOSE_SECONDS", 60.0)
    with serving(stage, kind) as port:
        server = Server("127.0.0.1", ("127.0.0.1",), port, Tls(TlsMode.DISABLE))
        credential = Credential(protocol.engine, server.host, USER, SecretText(PASSWORD), port, DATABASE)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            engine_named(protocol.engine).verify(server, credential, Users(USER))
        assert time.monotonic() - began < MUCH_LATER
    gc.collect()
    assert caplog.text == "", "nothing of the driver's is left running"


def test_handshake_that_goes_on_for_ever_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timeout of the socket is not looked at as long as there is something to read."""
    monkeypatch.setattr(redis, "CONNECT_SECONDS", 0.3)
    stage = next(each for each in REDIS.stages if each.name == "tls handshake")
    with serving(stage, Kind.ENDLESS) as port:
        server = Server("127.0.0.1", ("127.0.0.1",), port, Tls(TlsMode.REQUIRE))
        credential = Credential("redis", server.host, USER, SecretText(PASSWORD), port)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            engine_named("redis").verify(server, credential, Users(USER))
        assert time.monotonic() - began < MUCH_LATER
