"""Places at database hosts, and threads to use them with: who gets the next one that is free.

So many at a host, so many in all, and whoever has fewest goes first: a tenant whose hosts hang, or who has very many
RotatedSecrets, makes nobody wait for longer than one run takes. Place and thread are taken together, so that waiting
for the one never keeps the other from somebody. Belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterator

RESERVED = 8
"""One thread of so many is left to others, however idle they are: what hangs gives none back for a while."""


class FairShare:
    """Invariant: nobody waits for what is free, unless it is reserved for others."""

    def __init__(self, *, total: int, per_host: int) -> None:
        self._total, self._per_host = total, per_host
        self._most_of_one = total - total // RESERVED
        self._taken = 0
        self._at_host: Counter[str] = Counter()
        self._of_tenant: Counter[str] = Counter()
        self._waiting: dict[str, dict[str, deque[asyncio.Future[None]]]] = {}

    def has_one(self, host: str, tenant: str) -> bool:
        """Whether the tenant would get a place at this host at once."""
        return (
            self._taken < self._total
            and self._of_tenant[tenant] < self._most_of_one
            and self._at_host[host] < self._per_host
        )

    async def take(self, host: str, tenant: str) -> None:
        """Wait for a place; whoever gets one gives it back."""
        if self.has_one(host, tenant):
            self._enter(host, tenant)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, {}).setdefault(host, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(host, tenant, turn)
            else:
                self.give_back(host, tenant)
            raise

    def give_back(self, host: str, tenant: str) -> None:
        self._taken -= 1
        for counter, name in ((self._at_host, host), (self._of_tenant, tenant)):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]
        while (place := next(self._turns(), None)) is not None:
            next_host, next_tenant = place
            turn = self._waiting[next_tenant][next_host][0]
            self._leave(next_host, next_tenant, turn)
            if not turn.cancelled():
                self._enter(next_host, next_tenant)
                turn.set_result(None)

    def _turns(self) -> Iterator[tuple[str, str]]:
        """Who could go on now, the tenant with the fewest places first."""
        for tenant in sorted(self._waiting, key=lambda each: self._of_tenant[each]):
            for host in self._waiting[tenant]:
                if self.has_one(host, tenant):
                    yield host, tenant

    def _enter(self, host: str, tenant: str) -> None:
        self._taken += 1
        self._at_host[host] += 1
        self._of_tenant[tenant] += 1

    def _leave(self, host: str, tenant: str, turn: asyncio.Future[None]) -> None:
        hosts = self._waiting.get(tenant, {})
        if turn not in hosts.get(host, ()):
            return  # its turn came when it had been cancelled already
        hosts[host].remove(turn)
        if not hosts[host]:
            del hosts[host]
        if not hosts:
            del self._waiting[tenant]
