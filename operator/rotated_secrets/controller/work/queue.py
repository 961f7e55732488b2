"""The work queue: RotatedSecrets that wait to be reconciled, and the tasks (workers) that reconcile them.

Invariants: one task at a time works on a key; a key that is added while it is worked on is worked on again afterwards;
no added key is lost before :meth:`WorkQueue.drain`. The namespace with the fewest workers is next, and takes one only
while it has fewer than are free: what others have in work, and for how long, keeps no namespace from its first worker.
Changes of one RotatedSecret in quick succession make few looks: the last one is never lost, but may wait.
Knows nothing of what the work is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from rotated_secrets.api.key import Key
from rotated_secrets.cluster import ClusterError
from rotated_secrets.controller.work.scheduler import Scheduler, utc_now
from rotated_secrets.controller.work.waiting import WaitingKeys
from rotated_secrets.observability import logs
from rotated_secrets.token_buckets import TokenBuckets

log = logging.getLogger(__name__)

Reconcile = Callable[[Key], Awaitable[datetime | None]]
"""Reconciles one RotatedSecret and returns when to do so again; None: only when something changes."""


CHANGES_AT_ONCE: Final = 10
CHANGE_INTERVAL: Final = 2.0
"""So many changes of a RotatedSecret, or of its target Secret, are looked at immediately, and then one in so many
seconds. A look skips the pause after a failure, may call AWS, and logs."""
PAST_IN_A_ROW: Final = 3
"""From so many looks on, each due at once after the one before it, the next one is delayed."""
REMEMBERED: Final = 10_000
"""RotatedSecrets whose last changes are remembered."""


class RetryLater(Exception):
    """The work could not be done now, for a known reason: it is tried again, and logged without a stack trace."""

    def __init__(self, message: str, not_before: float = 0.0) -> None:
        """``not_before``: seconds until a retry can succeed."""
        super().__init__(message)
        self.not_before = not_before


class Draining(RetryLater):
    """The operator is stopping and starts no new work; nothing is lost, because the next leader looks at everything."""


class WorkQueue:
    """Keys that wait, keys that are due later, and the tasks that work on them.

    ``add``, ``add_changed`` and ``forget`` may be called from any thread; everything else from the event
    loop that made the queue.
    """

    def __init__(
        self,
        *,
        workers: int,
        backoff_base: float,
        backoff_cap: float,
        now: Callable[[], datetime] = utc_now,
        changes: TokenBuckets[Key] | None = None,
    ) -> None:
        """Begin with no keys.

        Args:
            workers: how many keys may be in work.
            backoff_base: seconds, the limit of the first wait after a failure.
            backoff_cap: seconds, the limit of any wait after a failure.
            now: the time.
            changes: how many changes of each key are looked at, by the event loop's clock.
        """
        self._reconcile: Reconcile | None = None
        self._workers = workers
        self._base, self._cap = backoff_base, backoff_cap
        self._now = now
        self._loop = asyncio.get_running_loop()
        self.scheduler = Scheduler(self._add, now)
        self._waiting = WaitingKeys()
        self._working: dict[Key, asyncio.Task[None]] = {}
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._past: dict[Key, int] = {}
        """How many times in a row a key was due again at once."""
        if changes is None:
            changes = TokenBuckets(
                burst=CHANGES_AT_ONCE, rate=1 / CHANGE_INTERVAL, most=REMEMBERED, clock=self._loop.time
            )
        self._changes = changes
        self._changed: dict[Key, asyncio.TimerHandle] = {}
        """Keys whose change is looked at later."""
        self._asked: set[Key] = set()
        """Keys whose next look is for a change that others made."""
        self._closed = False
        self._arriving = threading.Lock()
        self._arrived: dict[tuple[Callable[[Key], None], Key], None] = {}
        """What other threads ask for, each once: one event may name thousands of keys, and be repeated at once."""

    @property
    def depth(self) -> int:
        """How many keys wait for a worker. From any thread."""
        return len(self._waiting) + len(self._again)

    @property
    def busy(self) -> int:
        """How many keys are worked on now. From any thread."""
        return len(self._working)

    def add(self, key: Key) -> None:
        """Make this key wait for a worker, unless it does already. From any thread."""
        self._ask(self._add, key)

    def add_changed(self, key: Key) -> None:
        """Like :meth:`add` for a change that others make, but later if there were many. From any thread."""
        self._ask(self._add_changed, key)

    def forget(self, key: Key) -> None:
        """Drop the due time and the count of failures of a key whose object is gone. From any thread."""
        self._ask(self._forget, key)

    def add_after(self, key: Key, delay: timedelta) -> None:
        """Add this key after ``delay``, instead of at any time set before."""
        self.scheduler.set(key, self._now() + delay)

    async def run(self, reconcile: Reconcile) -> None:
        """Work until cancelled, also on the keys that were added before."""
        self._reconcile = reconcile
        self._pump()
        await self.scheduler.run()

    async def drain(self, timeout: float) -> bool:
        """Take no new keys, wait at most ``timeout`` seconds for running work, then cancel the rest.

        Returns:
            Whether all running work ended without being cancelled.
        """
        self._closed = True
        self._waiting.clear()
        self._again.clear()
        for later in self._changed.values():
            later.cancel()
        self._changed.clear()
        if not self._working:
            return True
        _, unfinished = await asyncio.wait(set(self._working.values()), timeout=timeout)
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished, timeout=1)
        return not unfinished

    def _ask(self, what: Callable[[Key], None], key: Key) -> None:
        with self._arriving:
            is_first = not self._arrived
            self._arrived[what, key] = None
        if is_first:
            # After the loop has ended nothing need be done: the next start lists everything.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._take_arrived)

    def _take_arrived(self) -> None:
        """Do what other threads asked for, in its order."""
        with self._arriving:
            arrived, self._arrived = self._arrived, {}
        # All of them, before any is worked on: else one of another namespace would wait behind those of one event.
        for what, key in arrived:
            what(key)

    def _add(self, key: Key) -> None:
        if self._closed:
            return
        if key in self._working:
            self._again.add(key)
            return
        self._waiting.add(key)
        self._pump()

    def _add_changed(self, key: Key) -> None:
        if self._closed or key in self._changed:
            return
        if wait := self._changes.wait(key):
            self._changed[key] = self._loop.call_later(wait, self._look_at_change, key)
        else:
            self._look_at_change(key)

    def _look_at_change(self, key: Key) -> None:
        self._changed.pop(key, None)
        self._changes.spend(key)
        self._asked.add(key)
        self._add(key)

    def _forget(self, key: Key) -> None:
        self.scheduler.clear(key)
        self._failures.pop(key, None)
        self._past.pop(key, None)
        self._asked.discard(key)

    def _pump(self) -> None:
        """Start tasks for waiting keys."""
        while self._reconcile and not self._closed:
            key = self._waiting.take_next(self._workers - len(self._working))
            if key is None:
                return
            # The reconcile that starts now decides when the next one is due, and sees every change until now.
            was_due = self.scheduler.when(key) if key in self._asked else None
            self._asked.discard(key)
            self.scheduler.clear(key)
            if later := self._changed.pop(key, None):
                later.cancel()
            work = self._work(key, self._reconcile, was_due)
            self._working[key] = self._loop.create_task(work, name=f"reconcile {key}")

    async def _work(self, key: Key, reconcile: Reconcile, was_due: datetime | None) -> None:
        try:
            with logs.about(namespace=key.namespace, name=key.name):
                await self._reconcile_once(key, reconcile, was_due)
        finally:
            del self._working[key]
            self._waiting.end(key)
            if key in self._again:
                self._again.discard(key)
                self._add(key)
            self._pump()

    async def _reconcile_once(self, key: Key, reconcile: Reconcile, was_due: datetime | None) -> None:
        """Reconcile, and set when to do so again.

        ``was_due`` is when it would have been looked at if others had not made a change: that makes no wait longer.
        """
        try:
            again = await reconcile(key)
        except Draining:
            return
        except Exception as error:
            delay = self._backoff(key, counts=was_due is None)
            delay += error.not_before if isinstance(error, RetryLater) else 0.0
            if was_due is not None:
                delay = min(delay, max(0.0, (was_due - self._now()).total_seconds()))
            self.scheduler.set(key, self._now() + timedelta(seconds=delay))
            is_known = isinstance(error, RetryLater | ClusterError)
            log.log(
                logging.WARNING if is_known else logging.ERROR,
                "%s; tries again in %.1f s",
                error if is_known else "reconciling failed unexpectedly",
                delay,
                exc_info=None if is_known else error,
            )
            return
        self._failures.pop(key, None)
        pause = self._pause(key, again)
        if again is not None:
            self.scheduler.set(key, again + timedelta(seconds=pause))

    def _pause(self, key: Key, again: datetime | None) -> float:
        """Seconds to wait beside a time that is past already; that a key is due at once each time is a fault.

        A time passes while the work ends, so the first one is no reason to wait.
        """
        now = self._now()
        if again is None or again > now:
            self._past.pop(key, None)
            return 0.0
        count = self._past[key] = self._past.get(key, 0) + 1
        if count < PAST_IN_A_ROW:
            return 0.0
        seconds: float = min(self._cap, self._base * 2 ** min(count - PAST_IN_A_ROW, 32))
        log.warning("was due again at once %d times in a row; the next look is in %.1f s", count, seconds)
        return (now - again).total_seconds() + seconds

    def _backoff(self, key: Key, *, counts: bool) -> float:
        """Seconds to wait, doubled with each failure that ``counts``, with equal jitter: a retry after a moment would
        fail again.

        Source: "Exponential Backoff And Jitter", AWS Architecture Blog.
        """
        failures = self._failures[key] = max(1, self._failures.get(key, 0) + counts)
        ceiling = min(self._cap, self._base * 2 ** min(failures - 1, 32))
        return random.uniform(ceiling / 2, ceiling)  # noqa: S311 - it spreads load and protects nothing
