"""A token bucket for each key: how much each may use at once, and how much a second after that.

Pure: takes its clock, waits for nothing and starts nothing. Not safe from several threads.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class TokenBuckets(Generic[K]):
    """Buckets by key. A key that was not used for longest is forgotten first: its bucket counts as full again."""

    def __init__(self, *, burst: float, rate: float, most: int, clock: Callable[[], float]) -> None:
        """Every bucket is full at first.

        Args:
            burst: tokens in a full bucket.
            rate: tokens that a bucket gets a second, until it is full.
            most: keys that are remembered.
            clock: returns seconds, and is never set back.
        """
        self._burst, self._rate, self._most, self._clock = burst, rate, most, clock
        self._buckets: OrderedDict[K, tuple[float, float]] = OrderedDict()
        """Tokens, and when there were so many."""

    def __len__(self) -> int:
        return len(self._buckets)

    def wait(self, key: K) -> float:
        """Seconds until this bucket has a token; 0 where it has one now."""
        return max(0.0, (1 - self._tokens(key, self._clock())) / self._rate)

    def spend(self, key: K, tokens: float = 1) -> None:
        """Take tokens out of a bucket. More than it has are a debt, which is paid before there is a token again."""
        now = self._clock()
        self._buckets[key] = (self._tokens(key, now) - tokens, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)

    def _tokens(self, key: K, now: float) -> float:
        tokens, at = self._buckets.get(key, (self._burst, now))
        return min(self._burst, tokens + (now - at) * self._rate)
