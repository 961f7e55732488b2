"""Bounds in size and time for everything that AWS's SDK reads: an answer that never ends must not hold a thread.

The SDK reads a whole answer, and its timeout is for each read: an endpoint that sends a byte now and then, as a broken
proxy may, is read for ever. Must not know what is asked.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any, Final

from botocore.awsrequest import AWSHTTPConnection, AWSHTTPSConnection

MAX_BYTES: Final = 8 * 1024 * 1024
"""Most bytes of one answer, headers included. The largest that is asked for is a page of 100 secrets with their tags:
seldom more than some 100 KiB. A secret value has at most 64 KiB."""
PATIENCE: Final = 3.0
"""How many times longer a whole answer may take than one read of it."""
_DEFAULT_SECONDS: Final = 10.0


class AnswerTooLarge(Exception):
    """An answer has more than :data:`MAX_BYTES`."""


class _BoundedReader(io.RawIOBase):
    """Reads from a socket until a size or a time is reached."""

    def __init__(self, raw: Any, sock: socket.socket) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._seconds = sock.gettimeout() or _DEFAULT_SECONDS
        self._until = time.monotonic() + PATIENCE * self._seconds
        self._left = MAX_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer takes too long")
        self._sock.settimeout(min(self._seconds, left))
        count: int | None = self._raw.readinto(buffer)
        self._left -= count or 0
        if self._left < 0:
            raise AnswerTooLarge
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class BoundedResponse(http.client.HTTPResponse):
    """An HTTP response that is bounded from its first byte."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_BoundedReader(self.fp.detach(), sock))


def bound_answers() -> None:
    """Bound the answers of every client of the SDK in this process, also of those that fetch credentials."""
    for connection in (AWSHTTPConnection, AWSHTTPSConnection):
        connection.response_class = BoundedResponse  # type: ignore[assignment]
