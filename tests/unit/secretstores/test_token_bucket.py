"""Requests are limited to the configured rate and burst."""

from __future__ import annotations

import pytest

from rotated_secrets.secretstores.quota import TokenBucket


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_goes_through_at_once_and_the_rest_at_the_rate(clock: Clock) -> None:
    bucket = TokenBucket(rate=10, burst=3, now=clock, sleep=clock.sleep)
    times = []
    for _ in range(6):
        bucket.take()
        times.append(clock.now)
    assert times == pytest.approx([0, 0, 0, 0.1, 0.2, 0.3])


def test_a_pause_saves_up_no_more_than_a_burst(clock: Clock) -> None:
    bucket = TokenBucket(rate=10, burst=2, now=clock, sleep=clock.sleep)
    clock.now = 100.0
    for _ in range(4):
        bucket.take()
    assert clock.now == pytest.approx(100.2)


def test_no_second_ever_exceeds_rate_and_burst(clock: Clock) -> None:
    bucket = TokenBucket(rate=40, burst=1, now=clock, sleep=clock.sleep)
    taken = []
    for number in range(300):
        if number % 50 == 0:
            clock.now += 0.7
        bucket.take()
        taken.append(clock.now)
    assert max(sum(1 for other in taken if start <= other < start + 1) for start in taken) <= 41
