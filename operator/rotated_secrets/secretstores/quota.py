"""Keeps requests under a rate that the store allows. Knows no store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class TokenBucket:
    """Lets ``burst`` requests through at once and ``rate`` a second after that; the others wait their turn."""

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
        """Take a token, waiting until there is one. Tokens are promised in the order in which they are asked for."""
        with self._lock:
            now = self._now()
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
            self._filled_at = now
            self._tokens -= 1
            wait = -self._tokens / self._rate
        if wait > 0:
            self._sleep(wait)


class Buckets:
    """One bucket for each account and region: that is what AWS counts for. Safe to use from several threads."""

    def __init__(self, rate: float) -> None:
        """``rate`` is requests a second."""
        self._rate = rate
        self._buckets: dict[tuple[str, str], TokenBucket] = {}
        self._lock = threading.Lock()

    def of(self, account: str, region: str) -> TokenBucket:
        """That of an account in a region, whichever of its identities asks."""
        with self._lock:
            return self._buckets.setdefault((account, region), TokenBucket(self._rate, 1))
