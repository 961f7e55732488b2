"""Rate limits for requests to a store, shared fairly between those who make them. Must not know a store.

Whose request it is says a function, which is called in the thread of the request.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

MOST_BUCKETS: Final = 1000
"""Accounts and regions from which on a bucket that is full, and so like a new one, is not kept: tenants name both."""
REMEMBERED: Final = 1000
"""How many of those who took a token last are remembered; the others count as if they had taken none."""
ROUNDING: Final = 1e-9
"""What a token may lack after rounding."""

Wait = Callable[[threading.Condition, float | None], object]
"""Waits, at most for so many seconds, until the condition is notified."""


def no_tenant() -> str:
    """Return the same for every request: first come, first served."""
    return ""


class Turns:
    """Whose turn it is: of those that wait, the tenant that was served none for longest, and its oldest ticket."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[object]] = {}
        self._served: OrderedDict[str, None] = OrderedDict()
        """Tenants that were served, the one that was served none for longest first."""

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def join(self, tenant: str) -> object:
        """Wait from now on. Returns the ticket."""
        ticket = object()
        self._waiting.setdefault(tenant, deque()).append(ticket)
        return ticket

    def is_next(self, tenant: str, ticket: object) -> bool:
        return self._waiting[tenant][0] is ticket and tenant == self._next_tenant()

    def serve(self, tenant: str) -> None:
        """Count a tenant as served now."""
        self._served[tenant] = None
        self._served.move_to_end(tenant)
        if len(self._served) > REMEMBERED:
            self._served.popitem(last=False)

    def leave(self, tenant: str, ticket: object) -> None:
        """Wait no more, served or not."""
        self._waiting[tenant].remove(ticket)
        if not self._waiting[tenant]:
            del self._waiting[tenant]

    def _next_tenant(self) -> str:
        unserved = next((tenant for tenant in self._waiting if tenant not in self._served), None)
        return unserved if unserved is not None else next(each for each in self._served if each in self._waiting)


class TokenBucket:
    """Allows ``burst`` requests at once and ``rate`` a second after that; further requests wait.

    The next token goes to the tenant that has taken none for longest, so a tenant with one request waits for one token,
    however many requests of others wait. Safe to use from several threads.
    """

    def __init__(
        self,
        rate: float,
        burst: float,
        *,
        tenant: Callable[[], str] = no_tenant,
        now: Callable[[], float] = time.monotonic,
        wait: Wait = threading.Condition.wait,
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._tenant = tenant
        self._now = now
        self._wait = wait
        self._tokens = burst
        self._filled_at = now()
        self._changed = threading.Condition()
        self._turns = Turns()

    @property
    def waiting(self) -> int:
        """How many requests wait for a token."""
        with self._changed:
            return len(self._turns)

    @property
    def is_like_new(self) -> bool:
        """Whether it has all its tokens, and no request waits for one."""
        with self._changed:
            self._seconds_left()
            return self._tokens >= self._burst and not len(self._turns)

    def take(self) -> None:
        """Take a token, and wait until there is one and it is this tenant's turn."""
        tenant = self._tenant()
        with self._changed:
            ticket = self._turns.join(tenant)
            try:
                # Without a limit of time where it is another's turn: that one wakes all others when it leaves.
                while (left := self._seconds_left() if self._turns.is_next(tenant, ticket) else None) != 0:
                    self._wait(self._changed, left)
                self._tokens -= 1
                self._turns.serve(tenant)
            finally:
                self._turns.leave(tenant, ticket)
                self._changed.notify_all()

    def _seconds_left(self) -> float:
        """Seconds until there is a token."""
        now = self._now()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        missing = 1 - self._tokens
        return missing / self._rate if missing > ROUNDING else 0.0


class Buckets:
    """One bucket for each account and region, as AWS's quotas are. Safe to use from several threads."""

    def __init__(self, rate: float, tenant: Callable[[], str] = no_tenant) -> None:
        """``rate`` is requests a second; ``tenant`` returns for whom the current thread makes a request."""
        self._rate = rate
        self._tenant = tenant
        self._buckets: dict[tuple[str, str], TokenBucket] = {}
        self._lock = threading.Lock()

    def of(self, account: str, region: str) -> TokenBucket:
        """Return the bucket of an account in a region, shared by all identities of the account."""
        with self._lock:
            if len(self._buckets) >= MOST_BUCKETS and (account, region) not in self._buckets:
                self._buckets = {key: each for key, each in self._buckets.items() if not each.is_like_new}
            return self._buckets.setdefault((account, region), TokenBucket(self._rate, 1, tenant=self._tenant))
