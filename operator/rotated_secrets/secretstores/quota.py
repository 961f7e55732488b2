"""Rate limits for requests to a store. Must not know a store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class TokenBucket:
    """Allows ``burst`` requests at once and ``rate`` a second after that; further requests wait."""

    def __init__(
        self,
        rate: float,
        burst: float,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._now = now
        self._sleep = sleep
        self._tokens = burst
        self._filled_at = now()
        self._lock = threading.Lock()

    def take(self) -> None:
        """Take a token, and wait until there is one. Tokens are given in the order of the calls."""
        with self._lock:
            now = self._now()
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
            self._filled_at = now
            self._tokens -= 1
            wait = -self._tokens / self._rate
        if wait > 0:
            self._sleep(wait)


class Buckets:
    """One bucket for each account and region, as AWS's quotas are. Safe to use from several threads."""

    def __init__(self, rate: float) -> None:
        """``rate`` is requests a second."""
        self._rate = rate
        self._buckets: dict[tuple[str, str], TokenBucket] = {}
        self._lock = threading.Lock()

    def of(self, account: str, region: str) -> TokenBucket:
        """Return the bucket of an account in a region, shared by all identities of the account."""
        with self._lock:
            return self._buckets.setdefault((account, region), TokenBucket(self._rate, 1))
