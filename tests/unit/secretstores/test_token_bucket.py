"""Requests are limited to the configured rate and burst, and each tenant waits for its own ones alone."""

from __future__ import annotations

import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotated_secrets.secretstores.quota import MOST_BUCKETS, REMEMBERED, Buckets, TokenBucket, Turns


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, _: threading.Condition, seconds: float | None) -> None:
        assert seconds is not None, "no other one waits"
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_goes_through_at_once_and_the_rest_at_the_rate(clock: Clock) -> None:
    bucket = TokenBucket(rate=10, burst=3, now=clock, wait=clock.wait)
    times = []
    for _ in range(6):
        bucket.take()
        times.append(clock.now)
    assert times == pytest.approx([0, 0, 0, 0.1, 0.2, 0.3])


def test_a_pause_saves_up_no_more_than_a_burst(clock: Clock) -> None:
    bucket = TokenBucket(rate=10, burst=2, now=clock, wait=clock.wait)
    clock.now = 100.0
    for _ in range(4):
        bucket.take()
    assert clock.now == pytest.approx(100.2)


def test_no_second_ever_exceeds_rate_and_burst(clock: Clock) -> None:
    bucket = TokenBucket(rate=40, burst=1, now=clock, wait=clock.wait)
    taken = []
    for number in range(300):
        if number % 50 == 0:
            clock.now += 0.7
        bucket.take()
        taken.append(clock.now)
    assert max(sum(1 for other in taken if start <= other < start + 1) for start in taken) <= 41


def order(turns: Turns, tickets: list[tuple[str, object]]) -> list[str]:
    """Serve all that wait, one after the other."""
    served, waiting = [], list(tickets)
    while waiting:
        (following,) = [each for each in waiting if turns.is_next(*each)]
        waiting.remove(following)
        turns.serve(following[0])
        turns.leave(*following)
        served.append(following[0])
    return served


def test_tenant_that_was_served_none_for_longest_is_next() -> None:
    turns = Turns()
    noisy = [("noisy", turns.join("noisy")) for _ in range(4)]
    shop = [("shop", turns.join("shop")) for _ in range(2)]
    assert order(turns, noisy + shop) == ["noisy", "shop", "noisy", "shop", "noisy", "noisy"]
    again = [(tenant, turns.join(tenant)) for tenant in ("noisy", "shop")]
    assert order(turns, again) == ["shop", "noisy"]


def test_tenants_own_requests_take_turns_in_their_order() -> None:
    turns = Turns()
    first, second = turns.join("shop"), turns.join("shop")
    assert turns.is_next("shop", first)
    assert not turns.is_next("shop", second)


def test_of_very_many_tenants_those_that_were_served_last_are_remembered() -> None:
    turns = Turns()
    for number in range(2 * REMEMBERED):
        turns.serve(str(number))
    assert len(turns._served) == REMEMBERED
    last, forgotten = turns.join(str(2 * REMEMBERED - 1)), turns.join("0")
    assert turns.is_next("0", forgotten)
    assert not turns.is_next(str(2 * REMEMBERED - 1), last)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40))
def test_exactly_one_is_next_whoever_comes_and_gives_up(steps: list[tuple[str, bool]]) -> None:
    turns, waiting = Turns(), list[tuple[str, object]]()
    for tenant, comes in steps:
        if comes:
            waiting.append((tenant, turns.join(tenant)))
        elif waiting:
            turns.leave(*waiting.pop(0))
        assert sum(turns.is_next(*each) for each in waiting) == min(1, len(waiting)) == min(1, len(turns))
    assert sorted(order(turns, waiting)) == sorted(tenant for tenant, _ in waiting)
    assert len(turns) == 0


def test_request_of_another_tenant_passes_those_that_wait_in_threads() -> None:
    tenant = ContextVar("tenant", default="")
    bucket = Buckets(20, tenant.get).of("123456789012", "eu-west-1")
    taken = list[str]()

    def take(which: str) -> None:
        tenant.set(which)
        bucket.take()
        taken.append(which)

    with ThreadPoolExecutor(12) as pool:
        for _ in range(11):
            pool.submit(take, "noisy")
        while bucket.waiting + len(taken) < 11:
            time.sleep(0)
        before = len(taken)
        pool.submit(take, "shop").result(10)
        assert len(taken) <= before + 4
    assert len(taken) == 12


def test_one_that_gives_up_while_it_waits_takes_no_token_and_lets_the_next_one_through(clock: Clock) -> None:
    def stop(_: threading.Condition, __: float | None) -> None:
        raise KeyboardInterrupt

    bucket = TokenBucket(rate=1, burst=1, now=clock, wait=stop)
    bucket.take()
    with pytest.raises(KeyboardInterrupt):
        bucket.take()
    assert bucket.waiting == 0
    clock.now += 1
    bucket.take()


def test_buckets_of_accounts_and_regions_that_tenants_invent_are_not_kept_but_those_in_use_are() -> None:
    buckets = Buckets(0.001)
    in_use = buckets.of("123456789012", "eu-west-1")
    in_use.take()
    idle = weakref.ref(buckets.of("123456789012", "xx-invented-0"))
    for number in range(1, MOST_BUCKETS + 1):
        buckets.of("123456789012", f"xx-invented-{number}")
    assert buckets.of("123456789012", "eu-west-1") is in_use
    assert idle() is None
