"""One connection of a hostile server: reads what a driver says, and stops caring when the driver has gone."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable

PATIENCE = 30.0
"""Seconds in which a driver must say what its protocol has it say."""


class Gone(ConnectionError):
    """The driver closed the connection, or says nothing more."""


class Wire:
    """A socket whose reads are exact, and may be inside TLS once that was started."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._wire.settimeout(PATIENCE)
        self._send: Callable[[bytes], object] = wire.sendall

    def read(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            part = self._wire.recv(size - len(found))
            if not part:
                raise Gone("the driver closed the connection")
            found += part
        return bytes(found)

    def read_until(self, end: bytes, most: int = 65536) -> bytes:
        found = b""
        while not found.endswith(end):
            if len(found) >= most:
                raise Gone(f"no {end!r} in {most} bytes")
            found += self.read(1)
        return found

    def some(self) -> bytes:
        """Whatever comes next."""
        part = self._wire.recv(65536)
        if not part:
            raise Gone("the driver closed the connection")
        return part

    def send(self, data: bytes) -> None:
        self._send(data)

    @property
    def plain(self) -> Callable[[bytes], object]:
        """Sends as it is, outside of what was wrapped around."""
        return self._wire.sendall

    def start_tls(self, context: ssl.SSLContext) -> None:
        self._wire = context.wrap_socket(self._wire, server_side=True)
        self._send = self._wire.sendall

    def wrap(self, send: Callable[[bytes], object]) -> None:
        """From now on send by this."""
        self._send = send

    def wait_until_closed(self, seconds: float) -> None:
        """Read and forget, until the driver leaves or so many seconds are over."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._wire.settimeout(left)
            try:
                if not self._wire.recv(65536):
                    return
            except (OSError, ValueError):
                return

    def close(self) -> None:
        self._wire.close()
