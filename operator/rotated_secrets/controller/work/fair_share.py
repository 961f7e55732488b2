"""Fair sharing of places (threads, places at database hosts) between tenants. Belongs to the event loop's thread.

Three rules:

- A tenant takes a place only while it holds fewer than are free, of all and at the host. So one tenant alone has half
  of the places, two have a third each, and so on: what is left is there for the next one at once, even while all that
  is held hangs.
- The tenant with the fewest places is next; of those with equally many, the one that has waited for longest.
- While a quiet tenant is at work, busy ones together hold few places, because all threads of Python share one lock.

A place at a host and a thread are acquired together, so that nothing holds a thread while it waits for a host.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from rotated_secrets.controller.work.tenants import Tenants


class FairShare:
    """Invariant: nothing waits for a place that it may take by the three rules, longer than until a place is returned.

    A waiter that the rules hold back waits for places that others hold, so the end of one of their calls is its next
    chance; no rule waits for a time.
    """

    def __init__(
        self, tenants: Tenants, *, total: int, per_host: int | None = None, busy: Callable[[], int] | None = None
    ) -> None:
        """``busy``: how many places busy tenants hold together while a quiet one is at work. None: no such limit."""
        self._tenants = tenants
        self._total = total
        self._per_host = per_host or total
        self._busy = busy or (lambda: total)
        self._in_use = 0
        self._at_host: Counter[str] = Counter()
        self._by_tenant: Counter[str] = Counter()
        self._by_tenant_at_host: Counter[tuple[str, str]] = Counter()
        self._waiting: dict[str, dict[str, deque[asyncio.Future[None]]]] = {}

    def can_acquire(self, host: str, tenant: str) -> bool:
        """Whether :meth:`acquire` would return without waiting."""
        return self._may_take(tenant) and self._may_take_at(host, tenant)

    async def acquire(self, host: str, tenant: str, *, first: bool = False) -> None:
        """Wait for a place at this host; the caller must :meth:`release` it. ``first``: before the tenant's others."""
        if self.can_acquire(host, tenant):
            self._grant(host, tenant)
            return
        waiter = asyncio.get_running_loop().create_future()
        waiters = self._waiting.setdefault(tenant, {}).setdefault(host, deque())
        waiters.appendleft(waiter) if first else waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._remove(host, tenant, waiter)
            else:
                self.release(host, tenant)
            raise

    def release(self, host: str, tenant: str) -> None:
        """Return a place, and grant what can be granted now."""
        self._count(host, tenant, -1)
        self.grant_waiting()

    def grant_waiting(self) -> None:
        """Grant places to those that wait and may have one now. Call it when a tenant is no longer at work."""
        while (following := self._next_in_line()) is not None:
            host, tenant = following
            waiter = self._waiting[tenant][host][0]
            self._remove(host, tenant, waiter)
            if not waiter.cancelled():
                self._grant(host, tenant)
                waiter.set_result(None)

    def _next_in_line(self) -> tuple[str, str] | None:
        """Host and tenant of the waiter that is next, of those that may take a place."""
        found, fewest = None, self._total
        for tenant, hosts in self._waiting.items():
            held = self._by_tenant[tenant]
            if held < fewest and self._may_take(tenant):
                host = next((host for host in hosts if self._may_take_at(host, tenant)), None)
                if host is not None:
                    found, fewest = (host, tenant), held
                    if not held:
                        break
        return found

    def _may_take(self, tenant: str) -> bool:
        return self._by_tenant[tenant] < self._total - self._in_use and not self._must_yield(tenant)

    def _may_take_at(self, host: str, tenant: str) -> bool:
        return self._by_tenant_at_host[host, tenant] < self._per_host - self._at_host[host]

    def _must_yield(self, tenant: str) -> bool:
        if not self._tenants.is_busy(tenant) or not self._tenants.is_quiet_one_at_work():
            return False
        return sum(count for each, count in self._by_tenant.items() if self._tenants.is_busy(each)) >= self._busy()

    def _grant(self, host: str, tenant: str) -> None:
        self._count(host, tenant, 1)
        if tenant in self._waiting:
            self._waiting[tenant] = self._waiting.pop(tenant)  # it is the last one now of those with equally many

    def _count(self, host: str, tenant: str, change: int) -> None:
        self._in_use += change
        self._tenants.record(tenant, change)
        _add(self._at_host, host, change)
        _add(self._by_tenant, tenant, change)
        _add(self._by_tenant_at_host, (host, tenant), change)

    def _remove(self, host: str, tenant: str, waiter: asyncio.Future[None]) -> None:
        hosts = self._waiting.get(tenant, {})
        if waiter not in hosts.get(host, ()):
            return  # grant_waiting() has removed it already, because it was cancelled
        hosts[host].remove(waiter)
        if not hosts[host]:
            del hosts[host]
        if not hosts:
            del self._waiting[tenant]


def _add(counter: Counter[Any], name: object, change: int) -> None:
    """Keep no zero: hosts and tenants come and go."""
    counter[name] += change
    if not counter[name]:
        del counter[name]
