"""Due times of RotatedSecrets: one heap, and one task that sleeps until the next.

Knows nothing of why something is due. Every method belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from rotated_secrets.api.key import Key
from rotated_secrets.databases.idle import seconds_since_boot

LONGEST_SLEEP = 30.0
"""Seconds after which the clock is read again: it may have been set, or the machine suspended."""


JUMP: Final = 300.0
"""Seconds: time services correct a clock by less, little by little."""

Offset = Callable[[], float]
"""Returns by how many seconds the clock is ahead of one that cannot be set."""


def utc_now() -> datetime:
    return datetime.now(UTC)


def clock_offset() -> float:
    return time.time() - seconds_since_boot()


def was_set(before: float, now: float) -> bool:
    """Whether the clock was set between two offsets."""
    return abs(now - before) > JUMP


class Scheduler:
    """Due times by key: a newer one replaces the older, and a due key is handed out once."""

    def __init__(
        self, due: Callable[[Key], None], now: Callable[[], datetime] = utc_now, offset: Offset = clock_offset
    ) -> None:
        self._due = due
        self._now = now
        self._offset = offset
        self._offsets: dict[Key, float] = {}
        """The clock's when a due time was set."""
        self._when: dict[Key, datetime] = {}
        self._heap: list[tuple[datetime, Key]] = []
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._when)

    def when(self, key: Key) -> datetime | None:
        return self._when.get(key)

    def set(self, key: Key, when: datetime) -> None:
        """Make ``key`` due at ``when``, instead of any time set before."""
        self._when[key] = when
        self._offsets[key] = self._offset()
        heapq.heappush(self._heap, (when, key))
        if len(self._heap) > 2 * len(self._when) + 64:
            self._heap = [(due, each) for each, due in self._when.items()]
            heapq.heapify(self._heap)
        if self._heap[0] == (when, key):
            self._changed.set()

    def clear(self, key: Key) -> None:
        """Remove the due time of ``key``."""
        self._when.pop(key, None)
        self._offsets.pop(key, None)

    def pop_due(self) -> list[Key]:
        """Remove and return the keys that are due now, the longest due first.

        What was set before the clock was set is due, too: its time may be one of a clock that was wrong.
        """
        now, offset = self._now(), self._offset()
        due = [key for key, before in self._offsets.items() if was_set(before, offset)]
        for key in due:
            self.clear(key)
        while self._heap and (self._is_stale(*self._heap[0]) or self._heap[0][0] <= now):
            when, key = heapq.heappop(self._heap)
            if not self._is_stale(when, key):
                self.clear(key)
                due.append(key)
        return due

    async def run(self) -> None:
        """Hand out keys as they become due, until cancelled."""
        while True:
            self._changed.clear()
            for key in self.pop_due():
                self._due(key)
            try:
                async with asyncio.timeout(self._until_next()):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def _until_next(self) -> float:
        if not self._heap:
            return LONGEST_SLEEP
        return min(LONGEST_SLEEP, max(0.0, (self._heap[0][0] - self._now()).total_seconds()))

    def _is_stale(self, when: datetime, key: Key) -> bool:
        """Whether a later call has replaced or cleared this entry of the heap."""
        return self._when.get(key) != when
