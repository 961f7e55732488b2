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
def cut_after(wire: socket.socket, seconds: float) -> Iterator[None]:
    """Shut the connection down when what happens inside takes longer."""
    timer = threading.Timer(seconds, _cut, (wire,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _cut(wire: socket.socket) -> None:
    with contextlib.suppress(OSError):
        wire.shutdown(socket.SHUT_RDWR)
