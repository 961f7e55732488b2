"""Tenants, which are namespaces: for which of them a call works, which are at work, and what each used recently.

What comes from no namespace (change feeds, for instance) is a tenant by itself. Knows nothing of what the work is, nor
of how places are shared. All but :data:`current_tenant` belongs to the event loop's thread.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

OPERATOR = ""
"""The tenant of what comes from no namespace."""
current_tenant: ContextVar[str] = ContextVar("current_tenant", default=OPERATOR)
"""The tenant for which the current task works, and each thread that it has started a call in."""
RECENTLY = 3.0
"""Seconds over which use is averaged: what is older than twice that hardly counts."""
QUIET = 1.0
"""Places that a tenant may use on average and still be quiet: one RotatedSecret after the other uses fewer."""
FORGOTTEN = 0.01
"""Average below which nothing is kept of a tenant."""


@dataclass
class _Holding:
    held: int
    average: float
    cpu: float
    """Seconds of CPU time, of which the older count less."""
    at: float

    def average_at(self, now: float) -> float:
        """The exponentially weighted average of the places held: it moves towards ``held`` as time passes."""
        return self.held + (self.average - self.held) * math.exp((self.at - now) / RECENTLY)

    def cpu_at(self, now: float) -> float:
        return self.cpu * math.exp((self.at - now) / RECENTLY)


class Tenants:
    """Who is at work, and who is busy: has held more than :data:`QUIET` places on average recently."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._uses: dict[str, _Holding] = {}
        self._at_work: Counter[str] = Counter()
        self._swept_at = clock()

    def record(self, tenant: str, change: int) -> None:
        """Record that a tenant now holds so many places more, or less."""
        self._record(tenant, change, 0.0)

    def record_cpu(self, tenant: str, seconds: float) -> None:
        """Record the CPU time of a call that has ended."""
        self._record(tenant, 0, seconds)

    def _record(self, tenant: str, change: int, seconds: float) -> None:
        now = self._clock()
        before = self._uses.get(tenant, _Holding(0, 0.0, 0.0, now))
        held, cpu = before.held + change, before.cpu_at(now) + seconds
        self._uses[tenant] = _Holding(held, before.average_at(now), cpu, now)
        if now - self._swept_at > RECENTLY:
            self._swept_at = now
            self._uses = {each: use for each, use in self._uses.items() if use.held or use.average_at(now) > FORGOTTEN}

    def is_busy(self, tenant: str) -> bool:
        use = self._uses.get(tenant)
        return use is not None and use.average_at(self._clock()) > QUIET

    def cpus_of_busy_ones(self) -> float:
        """How many CPUs the calls of all busy tenants together used on average recently."""
        now = self._clock()
        return sum(use.cpu_at(now) for use in self._uses.values() if use.average_at(now) > QUIET) / RECENTLY

    @contextmanager
    def at_work(self, tenant: str) -> Iterator[None]:
        """Mark a tenant as at work, also between two calls, and as the current one."""
        token = current_tenant.set(tenant)
        self._at_work[tenant] += 1
        try:
            yield
        finally:
            current_tenant.reset(token)
            self._at_work[tenant] -= 1
            if not self._at_work[tenant]:
                del self._at_work[tenant]

    def is_quiet_one_at_work(self) -> bool:
        """Whether a tenant that is not busy is at work."""
        return any(not self.is_busy(tenant) for tenant in self._at_work)
