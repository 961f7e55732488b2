"""Fair sharing of threads and of places at database hosts: the tenant that holds the fewest gets the next free one.

A tenant whose hosts hang, or that has very many RotatedSecrets, delays the others by at most the time of one run. A
place at a host and a thread are acquired together, so that nothing holds a thread while it waits for a host. Belongs
to the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterator

RESERVED = 8
"""One of this many threads is kept from the tenant that holds all others: a hanging host may block those for long."""


class FairShare:
    """Invariant: no one waits for a place that is free, unless it is reserved for other tenants."""

    def __init__(self, *, total: int, per_host: int) -> None:
        self._total, self._per_host = total, per_host
        self._per_tenant = total - total // RESERVED
        self._in_use = 0
        self._in_use_at_host: Counter[str] = Counter()
        self._in_use_by_tenant: Counter[str] = Counter()
        self._waiting: dict[str, dict[str, deque[asyncio.Future[None]]]] = {}

    def can_acquire(self, host: str, tenant: str) -> bool:
        """Whether :meth:`acquire` would return without waiting."""
        return (
            self._in_use < self._total
            and self._in_use_by_tenant[tenant] < self._per_tenant
            and self._in_use_at_host[host] < self._per_host
        )

    async def acquire(self, host: str, tenant: str) -> None:
        """Wait for a place at this host; the caller must :meth:`release` it."""
        if self.can_acquire(host, tenant):
            self._grant(host, tenant)
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, {}).setdefault(host, deque()).append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._remove(host, tenant, waiter)
            else:
                self.release(host, tenant)
            raise

    def release(self, host: str, tenant: str) -> None:
        """Return a place, and grant it to the next waiter."""
        self._in_use -= 1
        for counter, name in ((self._in_use_at_host, host), (self._in_use_by_tenant, tenant)):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]
        while (following := next(self._next_in_line(), None)) is not None:
            next_host, next_tenant = following
            waiter = self._waiting[next_tenant][next_host][0]
            self._remove(next_host, next_tenant, waiter)
            if not waiter.cancelled():
                self._grant(next_host, next_tenant)
                waiter.set_result(None)

    def _next_in_line(self) -> Iterator[tuple[str, str]]:
        """Host and tenant of each waiter that can be granted a place now, the tenant with the fewest places first."""
        for tenant in sorted(self._waiting, key=lambda each: self._in_use_by_tenant[each]):
            for host in self._waiting[tenant]:
                if self.can_acquire(host, tenant):
                    yield host, tenant

    def _grant(self, host: str, tenant: str) -> None:
        self._in_use += 1
        self._in_use_at_host[host] += 1
        self._in_use_by_tenant[tenant] += 1

    def _remove(self, host: str, tenant: str, waiter: asyncio.Future[None]) -> None:
        hosts = self._waiting.get(tenant, {})
        if waiter not in hosts.get(host, ()):
            return  # release() has removed it already, because it was cancelled
        hosts[host].remove(waiter)
        if not hosts[host]:
            del hosts[host]
        if not hosts:
            del self._waiting[tenant]
