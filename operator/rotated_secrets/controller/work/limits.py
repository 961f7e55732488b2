"""Bounds on blocking work: so many calls to one database host, so many threads in all, and none to a host that is down.

Waiting for one slow host never takes a thread from the others, and no tenant's takes all of another's. Belongs to the
event loop's thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
import weakref
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from rotated_secrets.controller.work.fair_share import FairShare
from rotated_secrets.controller.work.queue import Draining
from rotated_secrets.databases.base import Unavailable

P = ParamSpec("P")
R = TypeVar("R")


class HostUnavailable(Unavailable):
    """A host did not answer several times in a row and is left alone for a while."""

    def __init__(self, host: str, retry_in: float) -> None:
        # Without the time: the message goes into a status, which must not change at every look.
        super().__init__(f"{host} did not answer several times in a row; the operator does not try it for a while")
        self.retry_in = retry_in
        """Seconds until one call may try the host again."""


@dataclass
class _Breaker:
    failures: int = 0
    open_until: float = 0.0
    probing: bool = False


class Limits:
    """``async with slots.host(h): await slots.run(call, …)`` for a database; ``slots.run`` alone for anything else."""

    def __init__(
        self,
        *,
        threads: int,
        per_host: int,
        breaker_failures: int,
        breaker_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="blocking")
        self._database_pool = ThreadPoolExecutor(threads, thread_name_prefix="database")
        self._places = FairShare(total=threads, per_host=per_host)
        self._breaker_failures = breaker_failures
        self._breaker_seconds = breaker_seconds
        self._clock = clock
        self._draining = False
        self._begun = weakref.WeakSet[asyncio.Task[Any]]()
        """Tasks that have had a thread."""
        self._breakers: dict[tuple[str, str], _Breaker] = {}

    @asynccontextmanager
    async def host(self, name: str, tenant: str) -> AsyncIterator[None]:
        """Hold one of the host's places, and a thread for it, for somebody.

        An :class:`~rotated_secrets.databases.base.Unavailable` that leaves the block counts against the host; after
        several in a row it is left alone, then one block may try it, and its outcome decides. That goes for each
        ``tenant`` by itself: a wrong CA of one tells nothing about the host to others.

        Raises:
            HostUnavailable: at once, while the host is left alone.
            Draining: there was no place at once, and now nothing new begins.
        """
        breaker = self._breakers.setdefault((tenant, name), _Breaker())
        self._refuse_while_open(name, breaker)
        try:
            waited = not self._places.has_one(name, tenant)
            self._begin_nothing_while_draining(waited)
            await self._places.take(name, tenant)
            try:
                self._begin_nothing_while_draining(waited)
                # Looked at again: others may have failed while this one waited for its place.
                self._refuse_while_open(name, breaker)
                breaker.probing = probe = breaker.failures >= self._breaker_failures
                try:
                    yield
                except Unavailable:
                    self._failed(breaker)
                    raise
                else:
                    breaker.failures = 0
                finally:
                    if probe:
                        breaker.probing = False
            finally:
                self._places.give_back(name, tenant)
        finally:
            if not breaker.failures:
                self._breakers.pop((tenant, name), None)

    async def run_at_host(self, call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """:meth:`run` for what waits for a database: slow databases take no threads from stores and cluster."""
        return await self._run(self._database_pool, call, *args, **kwargs)

    async def run(self, call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a blocking call in a thread, with the caller's context. A caller that is cancelled doesn't end it.

        Raises:
            Draining: this would be the first call of the task, and now nothing new begins.
        """
        return await self._run(self._pool, call, *args, **kwargs)

    async def _run(self, pool: ThreadPoolExecutor, call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        context, task = contextvars.copy_context(), asyncio.current_task()
        begins = task not in self._begun

        def run() -> R:
            self._begin_nothing_while_draining(begins)
            return context.run(call, *args, **kwargs)

        found = await asyncio.get_running_loop().run_in_executor(pool, run)
        if task is not None:
            self._begun.add(task)
        return found

    def drain(self) -> None:
        """From now on only what has begun goes on: who waits for a first thread, or for a place, is turned away."""
        self._draining = True

    def _begin_nothing_while_draining(self, new: bool) -> None:
        if new and self._draining:
            raise Draining("the operator is stopping; the next leader continues")

    def close(self) -> None:
        """Start no more calls. Those that run come to their end."""
        for pool in (self._pool, self._database_pool):
            pool.shutdown(wait=False, cancel_futures=True)

    def _refuse_while_open(self, name: str, breaker: _Breaker) -> None:
        left = breaker.open_until - self._clock()
        if breaker.failures >= self._breaker_failures and (left > 0 or breaker.probing):
            raise HostUnavailable(name, max(left, 1.0))

    def _failed(self, breaker: _Breaker) -> None:
        breaker.failures += 1
        if breaker.failures >= self._breaker_failures:
            breaker.open_until = self._clock() + self._breaker_seconds
