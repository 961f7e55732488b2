"""Bounds on blocking work: so many calls to one database host, so many threads in all, and none to a host that is down.

Acquired in this order, so that waiting for one slow host never takes a thread from the others: the host's place, then
a thread. Belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from rotated_secrets.databases.base import Unavailable

P = ParamSpec("P")
R = TypeVar("R")


class HostUnavailable(Unavailable):
    """A host did not answer several times in a row and is left alone for a while."""

    def __init__(self, host: str, retry_in: float) -> None:
        # Without the time: the message goes into a status, which is not to change with every look.
        super().__init__(f"{host} did not answer several times in a row, and is left alone for a while")
        self.retry_in = retry_in
        """Seconds until one call may try the host again."""


@dataclass
class _Host:
    places: asyncio.Semaphore
    users: int = 0
    failures: int = 0
    open_until: float = 0.0
    probing: bool = field(default=False)


class Slots:
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
        self._per_host = per_host
        self._breaker_failures = breaker_failures
        self._breaker_seconds = breaker_seconds
        self._clock = clock
        self._hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def host(self, name: str) -> AsyncIterator[None]:
        """Hold one of the host's places.

        An :class:`~rotated_secrets.databases.base.Unavailable` that leaves the block counts against the host; after
        several in a row it is left alone, then one block may try it, and its outcome decides for all.

        Raises:
            HostUnavailable: at once, while the host is left alone.
        """
        host = self._hosts.setdefault(name, _Host(asyncio.Semaphore(self._per_host)))
        host.users += 1
        try:
            self._refuse_while_open(name, host)
            async with host.places:
                # Looked at again: others may have failed while this one waited for its place.
                self._refuse_while_open(name, host)
                host.probing = probe = host.failures >= self._breaker_failures
                try:
                    yield
                except Unavailable:
                    self._failed(host)
                    raise
                else:
                    host.failures = 0
                finally:
                    if probe:
                        host.probing = False
        finally:
            host.users -= 1
            if not host.users and not host.failures:
                del self._hosts[name]

    async def run(self, call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a blocking call in a thread, with the caller's context. A caller that is cancelled doesn't end it."""
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: context.run(call, *args, **kwargs))

    def close(self) -> None:
        """Start no more calls. Those that run come to their end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _refuse_while_open(self, name: str, host: _Host) -> None:
        left = host.open_until - self._clock()
        if host.failures >= self._breaker_failures and (left > 0 or host.probing):
            raise HostUnavailable(name, max(left, 1.0))

    def _failed(self, host: _Host) -> None:
        host.failures += 1
        if host.failures >= self._breaker_failures:
            host.open_until = self._clock() + self._breaker_seconds
