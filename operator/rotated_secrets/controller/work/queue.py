"""The work queue: which RotatedSecrets wait to be looked at, and who looks at them now.

Invariants: a key is worked by one task at a time; a key added while it is worked is worked again afterwards; nothing
that was added is forgotten before :meth:`WorkQueue.drain`. Knows nothing of what the work is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from rotated_secrets.api.key import Key
from rotated_secrets.cluster import ClusterError
from rotated_secrets.controller.work.scheduler import Scheduler, utc_now
from rotated_secrets.observability import logs

log = logging.getLogger(__name__)

Reconcile = Callable[[Key], Awaitable[datetime | None]]
"""Look at one RotatedSecret and do what is to do; returns when to look again, None for "when something happens"."""


class RetryLater(Exception):
    """What was to do could not be done now, for a reason that is known and told: try again, without a stack trace."""

    def __init__(self, message: str, not_before: float = 0.0) -> None:
        """``not_before``: seconds that trying again would be in vain."""
        super().__init__(message)
        self.not_before = not_before


class Draining(RetryLater):
    """Nothing new begins, for the operator is stopping; nothing is lost, for the next leader looks at everything."""


class WorkQueue:
    """Keys that wait, keys that are due later, and the tasks that work on them.

    ``add`` and ``forget`` may be called from any thread; everything else belongs to the event loop it is made in.
    """

    def __init__(
        self,
        *,
        workers: int,
        backoff_base: float,
        backoff_cap: float,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """``backoff_base`` and ``backoff_cap`` are seconds: the first and the longest wait after an exception."""
        self._reconcile: Reconcile | None = None
        self._workers = workers
        self._base, self._cap = backoff_base, backoff_cap
        self._now = now
        self._loop = asyncio.get_running_loop()
        self.scheduler = Scheduler(self._add, now)
        self._waiting: dict[Key, None] = {}
        self._working: dict[Key, asyncio.Task[None]] = {}
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._closed = False

    @property
    def depth(self) -> int:
        """How many keys wait for a worker; from any thread."""
        return len(self._waiting) + len(self._again)

    @property
    def busy(self) -> int:
        """How many keys are worked on now; from any thread."""
        return len(self._working)

    def add(self, key: Key) -> None:
        """Look at this key soon; from any thread, any number of times."""
        # What comes after the loop has ended is found by the list of the next start.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._add, key)

    def forget(self, key: Key) -> None:
        """This key's object is gone: no due time, no count of failures. From any thread."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._forget, key)

    def add_after(self, key: Key, delay: timedelta) -> None:
        """Look at this key after ``delay``, and at no time set before."""
        self.scheduler.set(key, self._now() + delay)

    async def run(self, reconcile: Reconcile) -> None:
        """Work until cancelled. Keys added before have waited for this."""
        self._reconcile = reconcile
        self._pump()
        await self.scheduler.run()

    async def drain(self, timeout: float) -> bool:
        """Take no new keys and wait for those in work, at most ``timeout`` seconds, then cancel what is left.

        Returns:
            Whether everything in work came to its end by itself.
        """
        self._closed = True
        self._waiting.clear()
        self._again.clear()
        if not self._working:
            return True
        _, unfinished = await asyncio.wait(set(self._working.values()), timeout=timeout)
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished, timeout=1)
        return not unfinished

    def _add(self, key: Key) -> None:
        if self._closed:
            return
        if key in self._working:
            self._again.add(key)
            return
        self._waiting[key] = None
        self._pump()

    def _forget(self, key: Key) -> None:
        self.scheduler.clear(key)
        self._failures.pop(key, None)

    def _pump(self) -> None:
        """Give waiting keys, the oldest first, to workers."""
        while self._reconcile and not self._closed and self._waiting and len(self._working) < self._workers:
            key = next(iter(self._waiting))
            del self._waiting[key]
            # Taken out first: the look that starts now decides anew when the next one is due.
            self.scheduler.clear(key)
            self._working[key] = self._loop.create_task(self._work(key, self._reconcile), name=f"reconcile {key}")

    async def _work(self, key: Key, reconcile: Reconcile) -> None:
        try:
            with logs.about(namespace=key.namespace, name=key.name):
                await self._look(key, reconcile)
        finally:
            del self._working[key]
            if key in self._again:
                self._again.discard(key)
                self._add(key)
            self._pump()

    async def _look(self, key: Key, reconcile: Reconcile) -> None:
        try:
            again = await reconcile(key)
        except Draining:
            return
        except Exception as error:
            delay = self._backoff(key) + (error.not_before if isinstance(error, RetryLater) else 0.0)
            self.scheduler.set(key, self._now() + timedelta(seconds=delay))
            told = isinstance(error, RetryLater | ClusterError)
            log.log(
                logging.WARNING if told else logging.ERROR,
                "%s; tries again in %.1f s",
                error if told else "reconciling failed unexpectedly",
                delay,
                exc_info=None if told else error,
            )
            return
        self._failures.pop(key, None)
        if again is not None:
            self.scheduler.set(key, again)

    def _backoff(self, key: Key) -> float:
        """Seconds to wait, doubled with each failure, with full jitter.

        Source: "Exponential Backoff And Jitter", AWS Architecture Blog.
        """
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        ceiling = min(self._cap, self._base * 2 ** min(failures - 1, 32))
        return random.uniform(0, ceiling)  # noqa: S311 - it spreads load and protects nothing
