"""Redis' protocol, RESP 2. Source: "Redis serialization protocol specification"."""

from __future__ import annotations

import ssl

from tests.support.hostile.evil import Words
from tests.support.hostile.stages import USER, Protocol, Stage
from tests.support.hostile.tls import HANDSHAKE
from tests.support.hostile.wire import Wire

_MOST = 63 << 20
_DEPTH = 1 << 20


def command(wire: Wire) -> list[bytes]:
    """The words of the next command."""
    count = int(wire.read_until(b"\r\n")[1:-2])
    words = []
    for _ in range(count):
        size = int(wire.read_until(b"\r\n")[1:-2])
        words.append(wire.read(size + 2)[:-2])
    return words


def _element(number: int) -> bytes:
    """Of one list, which has room for as many as there are."""
    return b":1\r\n" if number else b"*1879048192\r\n"


_ANSWER = Words(
    small=_element,
    announced=lambda size: b"$%d\r\n" % size,
    told=lambda text: b"-ERR " + text.encode() + b"\r\n",
    deep=lambda: b"*1\r\n" * _DEPTH + b":1\r\n",
    wide=lambda: b"*%d\r\n" % (_MOST // 4) + b"*0\r\n" * (_MOST // 4),
)
_OK = b"+OK\r\n"


def _connected(wire: Wire, _: ssl.SSLContext) -> None:
    pass


def _in_tls(wire: Wire, tls: ssl.SSLContext) -> None:
    wire.start_tls(tls)
    command(wire)


def _authenticates(wire: Wire, _: ssl.SSLContext) -> None:
    command(wire)


def _asked(wire: Wire, tls: ssl.SSLContext) -> None:
    _authenticates(wire, tls)
    wire.send(_OK)
    command(wire)


def _queried(wire: Wire, tls: ssl.SSLContext) -> None:
    _asked(wire, tls)
    wire.send(b"$%d\r\n%s\r\n" % (len(USER), USER.encode()))
    command(wire)


def _large_ok() -> bytes:
    """What should be two letters."""
    return b"$%d\r\n" % _MOST + b"OK" + b"a" * (_MOST - 2) + b"\r\n"


_AUTH = Words(**{**vars(_ANSWER), "wide": _large_ok})
_STAGES = (
    Stage("connection", _connected, _ANSWER),
    Stage("tls handshake", _connected, HANDSHAKE, tls=True),
    Stage("login in tls", _in_tls, _ANSWER, tls=True),
    Stage("login", _authenticates, _AUTH),
    Stage("session", _asked, _ANSWER),
    Stage("result", _queried, _ANSWER),
)
REDIS = Protocol("redis", _STAGES, query="GET orders")
ELASTICACHE = Protocol(
    "elasticache",
    _STAGES,
    {"user_arn": "arn:aws:elasticache:eu-west-1:123456789012:user:app"},
    query="GET orders",
)
