"""Buckets of tokens by key: what is used at once, what is refilled, and how much is remembered."""

from __future__ import annotations

import pytest

from rotated_secrets.token_buckets import TokenBuckets


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def make(clock: Clock, burst: float = 3, rate: float = 0.5, most: int = 10) -> TokenBuckets[str]:
    return TokenBuckets(burst=burst, rate=rate, most=most, clock=clock)


def test_a_full_bucket_is_used_at_once_and_refilled_by_its_rate() -> None:
    buckets = make(clock := Clock())
    for _ in range(3):
        assert buckets.wait("a") == 0
        buckets.spend("a")
    assert buckets.wait("a") == 2
    assert buckets.wait("b") == 0
    clock.now = 2
    assert buckets.wait("a") == 0


def test_no_more_than_a_full_bucket_is_saved_up() -> None:
    buckets = make(clock := Clock())
    buckets.spend("a")
    clock.now = 1_000_000
    for _ in range(3):
        assert buckets.wait("a") == 0
        buckets.spend("a")
    assert buckets.wait("a") == 2


def test_a_debt_is_paid_first() -> None:
    buckets = make(Clock(), burst=3, rate=1)
    buckets.spend("a", 10)
    assert buckets.wait("a") == pytest.approx(8)


def test_the_key_that_was_not_used_for_longest_is_forgotten() -> None:
    buckets = make(Clock(), burst=1, most=2)
    for key in "abac":
        buckets.spend(key)
    assert len(buckets) == 2
    assert (buckets.wait("a") > 0, buckets.wait("b"), buckets.wait("c") > 0) == (True, 0, True)
