"""Limits of blocking work: calls to one database host, threads in total, and a circuit breaker for each host.

Threads and hosts are shared fairly between tenants. Work that waits for a slow host holds no thread, and what holds a
place waits for no other one. Belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

from rotated_secrets.controller.work.fair_share import FairShare
from rotated_secrets.controller.work.queue import Draining
from rotated_secrets.controller.work.tenants import Tenants, current_tenant
from rotated_secrets.databases.base import Unavailable

P = ParamSpec("P")
R = TypeVar("R")

BUSY_HOSTS: Final = 2
"""Places at databases that busy tenants have together while a quiet one is at work."""
BUSY_THREADS: Final = 4
"""The same for threads that wait more than they compute."""
BUSY_CPUS: Final = 0.2
"""From so many CPUs on that the calls of busy tenants use, they have one thread while a quiet one is at work: threads
of Python compute in turn, so each further one makes the quiet one wait for longer."""
MOST_HOSTS: Final = 5_000
"""Hosts that did not answer of which that is remembered: a tenant can name new ones as fast as they fail."""
LONGEST_PAUSE: Final = 10
"""How many times ``breaker_seconds`` a host that goes on failing is left alone at most."""


class HostUnavailable(Unavailable):
    """The circuit breaker is open: the host did not answer several times in a row."""

    def __init__(self, retry_in: float, why: str) -> None:
        """``why``: what a call said that failed."""
        # Without the time: the message goes into a status, which must not change at every look. Without the host, which
        # may be one that never resolved, and so a password in the wrong key: ``why`` names it where it may be named.
        super().__init__(
            "the database's host did not answer several times in a row, and the operator does not try it for a while; "
            f"the last time: {why}"
        )
        self.retry_in = retry_in
        """Seconds until one call may try the host again."""


@dataclass
class _Breaker:
    failures: int = 0
    pause: float = 0.0
    """Seconds of the last pause; it doubles while the host goes on failing."""
    failed_at: float = 0.0
    open_until: float = 0.0
    probing: bool = False
    why: str = ""
    """What the last call said that failed."""


class Limits:
    """Runs blocking calls in threads.

    For a database: ``async with limits.host(name, tenant): await limits.run_at_host(call, …)``; for anything else:
    ``await limits.run(call, …)``. Both inside ``with limits.at_work(tenant)``, without which it is the operator's own
    work.
    """

    def __init__(
        self,
        *,
        threads: int,
        per_host: int,
        breaker_failures: int,
        breaker_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        computing = max(1, threads // 2)
        self._pool = ThreadPoolExecutor(computing, thread_name_prefix="blocking")
        self._database_pool = ThreadPoolExecutor(threads, thread_name_prefix="database")
        self._tenants = Tenants(clock)
        self._threads = FairShare(self._tenants, total=computing, busy=self._busy_threads)
        self._hosts = FairShare(self._tenants, total=threads, per_host=per_host, busy=lambda: BUSY_HOSTS)
        self._breaker_failures = breaker_failures
        self._breaker_seconds = breaker_seconds
        self._clock = clock
        self._draining = False
        self._started = weakref.WeakSet[asyncio.Task[Any]]()
        """Tasks that have run a call in a thread."""
        self._breakers: dict[tuple[str, str], _Breaker] = {}
        self._swept_at = clock()

    @contextmanager
    def at_work(self, tenant: str) -> Iterator[None]:
        """Whose work the current task does, from its first call to its last."""
        try:
            with self._tenants.at_work(tenant):
                yield
        finally:
            for shared in (self._threads, self._hosts):
                shared.grant_waiting()

    def must_wait(self, host: str, tenant: str) -> bool:
        """Whether :meth:`host` would wait for a place."""
        return not self._hosts.can_acquire(host, tenant)

    @asynccontextmanager
    async def host(self, name: str, tenant: str, *, asked: bool = False) -> AsyncIterator[None]:
        """Hold one of the host's places, and a thread for it, for a tenant.

        An :class:`~rotated_secrets.databases.base.Unavailable` that leaves the block counts as a failure of the host;
        after several in a row the circuit breaker opens, then one block may try the host, and its outcome decides.
        Each tenant has its own circuit breaker: a wrong CA of one tenant says nothing about the host to others.

        ``asked``: a person asked for this, who may know that the host answers again. It may try the host although the
        circuit breaker is open, and if it fails, the pause gets no longer.

        Raises:
            HostUnavailable: without waiting, while the circuit breaker is open.
            Draining: there was no free place, and the operator is stopping.
        """
        breaker = self._breakers.setdefault((tenant, name), _Breaker())
        self._refuse_while_open(breaker, asked=asked)
        try:
            waited = self.must_wait(name, tenant)
            self._refuse_new_while_draining(waited)
            await self._hosts.acquire(name, tenant)
            try:
                self._refuse_new_while_draining(waited)
                # Checked again: others may have failed while this one waited for its place.
                self._refuse_while_open(breaker, asked=asked)
                breaker.probing = probe = breaker.failures >= self._breaker_failures
                try:
                    yield
                except Unavailable as error:
                    self._breakers[tenant, name] = self._record_failure(breaker, str(error))
                    self._forget_some()
                    raise
                else:
                    breaker.failures, breaker.pause = 0, 0.0
                finally:
                    if probe:
                        breaker.probing = False
            finally:
                self._hosts.release(name, tenant)
        finally:
            if not breaker.failures:
                self._breakers.pop((tenant, name), None)

    async def run_at_host(self, call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """:meth:`run` for calls to a database, in the thread that :meth:`host` has acquired."""
        return await self._start(self._database_pool, call, *args, **kwargs)

    async def run(self, call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a blocking call in a thread, with the caller's context. It goes on when the caller is cancelled.

        Raises:
            Draining: this would be the task's first call, and the operator is stopping.
        """
        tenant = current_tenant.get()
        # What has begun comes before what is new: it may hold the lock of a database, and memory.
        await self._threads.acquire("", tenant, first=asyncio.current_task() in self._started)
        try:
            running = self._start(self._pool, call, *args, **kwargs)
        except BaseException:
            self._threads.release("", tenant)
            raise
        running.add_done_callback(lambda _: self._threads.release("", tenant))
        return await asyncio.shield(running)

    def _start(
        self, pool: ThreadPoolExecutor, call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[R]:
        context, task = contextvars.copy_context(), asyncio.current_task()
        tenant, cpu_seconds = current_tenant.get(), list[float]()
        self._refuse_new_while_draining(task not in self._started)

        def measured() -> R:
            began = time.thread_time()
            try:
                return context.run(call, *args, **kwargs)
            finally:
                cpu_seconds.append(time.thread_time() - began)

        running = asyncio.get_running_loop().run_in_executor(pool, measured)
        # Before the place is released, which asks for it.
        running.add_done_callback(lambda _: self._tenants.record_cpu(tenant, sum(cpu_seconds)))
        if task is not None:
            self._started.add(task)
        return running

    def _busy_threads(self) -> int:
        return 1 if self._tenants.cpus_of_busy_ones() > BUSY_CPUS else BUSY_THREADS

    def drain(self) -> None:
        """From now on refuse tasks that wait for their first thread, or for a place; started work continues."""
        self._draining = True

    def _refuse_new_while_draining(self, new: bool) -> None:
        if new and self._draining:
            raise Draining("the operator is stopping; the next leader continues")

    def close(self) -> None:
        """Start no more calls. Running calls end by themselves."""
        for pool in (self._pool, self._database_pool):
            pool.shutdown(wait=False, cancel_futures=True)

    def _refuse_while_open(self, breaker: _Breaker, *, asked: bool) -> None:
        left = breaker.open_until - self._clock()
        if breaker.failures >= self._breaker_failures and (breaker.probing or (left > 0 and not asked)):
            raise HostUnavailable(max(left, 1.0), breaker.why)

    def _record_failure(self, breaker: _Breaker, why: str) -> _Breaker:
        now, longest = self._clock(), LONGEST_PAUSE * self._breaker_seconds
        breaker.failures += 1
        breaker.failed_at, breaker.why = now, why
        # What fails while it is open began before: several at once make one pause.
        if breaker.failures >= self._breaker_failures and now >= breaker.open_until:
            breaker.pause = min(2 * breaker.pause or self._breaker_seconds, longest)
            breaker.open_until = now + breaker.pause
        if now - self._swept_at > longest:  # hosts that are not tried any more: tenants can name ever new ones
            self._swept_at = now
            self._breakers = {key: each for key, each in self._breakers.items() if now - each.failed_at < 2 * longest}
        return breaker

    def _forget_some(self) -> None:
        """Where too many are remembered, forget half of those of the tenant that has the most, its first ones."""
        if len(self._breakers) > MOST_HOSTS:
            tenant, count = Counter(each for each, _ in self._breakers).most_common(1)[0]
            for host in [each for each in self._breakers if each[0] == tenant][: -(count // 2) or None]:
                del self._breakers[host]
