"""Messages between the operator and a cell: each is its length in four bytes and its content.

Requests are pickled: the operator is trusted by its cells. Answers are JSON, read within limits of size and time and
checked against the expected type: what comes out of a cell is trusted as little as what the server sent into it.
"""

from __future__ import annotations

import io
import pickle
import socket
import struct
import time
from types import MappingProxyType
from typing import Any

_LENGTH = struct.Struct("!I")
MOST_REQUEST = 16 * 1024 * 1024
"""Bytes: a Secret's content and its template, some times over."""


class Closed(Exception):
    """The other side is gone."""


class TooLarge(Exception):
    """The other side announces more than is accepted."""


class _Pickler(pickle.Pickler):
    """Pickles secret texts too: the one place where they are serialised, into a process that is given them to use."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, MappingProxyType):
            return _read_only, (dict(obj),)
        reveal = getattr(type(obj), "into_cell", None)
        return reveal(obj) if reveal is not None else NotImplemented


def _read_only(mapping: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(mapping)  # the type itself has no name by which it could be pickled


def pickled(request: object) -> bytes:
    """Raises: whatever an object raises that cannot be pickled."""
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(request)
    return buffer.getvalue()


def unpickled(request: bytes) -> Any:
    """For cells alone: what is pickled can run any code."""
    return pickle.loads(request)  # noqa: S301 - the operator has sent it


def send(wire: socket.socket, content: bytes) -> None:
    """Raises: Closed; TimeoutError, after the socket's own timeout."""
    try:
        wire.sendall(_LENGTH.pack(len(content)) + content)
    except TimeoutError:
        raise
    except OSError:
        raise Closed from None


def receive(wire: socket.socket, most: int, deadline: float | None = None) -> bytes:
    """Receive one message of at most ``most`` bytes until ``deadline`` on the monotonic clock.

    Raises: Closed, TooLarge, TimeoutError.
    """
    (length,) = _LENGTH.unpack(_exactly(wire, _LENGTH.size, deadline))
    if length > most:
        raise TooLarge
    return _exactly(wire, length, deadline)


def _exactly(wire: socket.socket, count: int, deadline: float | None) -> bytes:
    parts, missing = [], count
    while missing:
        try:
            if deadline is not None:
                wire.settimeout(_left(deadline))
            part = wire.recv(min(missing, 65536))
        except TimeoutError:
            raise
        except OSError:
            raise Closed from None
        if not part:
            raise Closed
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
