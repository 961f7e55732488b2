"""Limit how long a server may take, whatever the driver waits for: the connection is cut.

Timeouts of drivers and servers count between two bytes. A server may be frozen, or hostile and send one now and then.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar

LOOK_SECONDS = 10.0
"""What is asked of a server, once it has let a user in and until the login is judged, takes no longer in all."""

_end: ContextVar[float] = ContextVar("end", default=math.inf)
"""When the time of :func:`judged_in_time` is over, by the monotonic clock."""


@contextlib.contextmanager
def judged_in_time() -> Iterator[None]:
    """Limit all statements inside together to :data:`LOOK_SECONDS`, beside the limit that each has."""
    token = _end.set(min(_end.get(), time.monotonic() + LOOK_SECONDS))
    try:
        yield
    finally:
        _end.reset(token)


def limited(seconds: float) -> float:
    """So many seconds, or what :func:`judged_in_time` has left where that is less."""
    return max(0.0, min(seconds, _end.get() - time.monotonic()))


@contextlib.contextmanager
def cut_after(wire: socket.socket, seconds: float, was_cut: threading.Event | None = None) -> Iterator[None]:
    """Shut the connection down when the block takes longer; ``was_cut`` is then set."""
    timer = threading.Timer(limited(seconds), _cut, (wire, was_cut))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _cut(wire: socket.socket, was_cut: threading.Event | None) -> None:
    if was_cut is not None:
        was_cut.set()
    with contextlib.suppress(OSError):
        wire.shutdown(socket.SHUT_RDWR)
