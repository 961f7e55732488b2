"""The last word on how long a server may take: the connection is cut, whatever the driver waits for.

Timeouts of drivers and servers hold between two bytes. A server may be frozen, or somebody's trap that sends one now
and then.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def cut_after(wire: socket.socket, seconds: float, was_cut: threading.Event | None = None) -> Iterator[None]:
    """Shut the connection down when what happens inside takes longer; ``was_cut`` is then set."""
    timer = threading.Timer(seconds, _cut, (wire, was_cut))
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
