"""Limit how long a server may take, whatever the driver waits for: the connection is cut.

Timeouts of drivers and servers count between two bytes. A server may be frozen, or hostile and send one now and then.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def cut_after(wire: socket.socket, seconds: float, was_cut: threading.Event | None = None) -> Iterator[None]:
    """Shut the connection down when the block takes longer; ``was_cut`` is then set."""
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
