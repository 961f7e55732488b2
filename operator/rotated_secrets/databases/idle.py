"""Limit how long an admin's session may be silent, for servers that have no such limit.

An operator that was frozen does not send its next statement when it wakes up: another may have taken over.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rotated_secrets.databases.base import Server, Unavailable

IDLE_SECONDS = 30.0
"""Longer than a verify of the pending credential takes, during which the admin's session is silent."""


def seconds_since_boot() -> float:
    """A clock that also runs while a process, container or machine is frozen."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class IdleLimit:
    """The limit of one session. Check it before every statement."""

    def __init__(self, server: Server, seconds: float = IDLE_SECONDS, now: Callable[[], float] = seconds_since_boot):
        self._server = server
        self._seconds = seconds
        self._now = now
        self._last = now()

    def check(self) -> None:
        """Note the call. Raises: Unavailable, from then on, if the last call was too long ago."""
        now = self._now()
        if now - self._last > self._seconds:
            raise Unavailable(
                f"the admin's session at {self._server} was silent for more than {self._seconds:g} s and is not used "
                f"again, because another operator may have continued meanwhile"
            )
        self._last = now
