"""Bounds on blocking work, counted while it runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine

import pytest

from rotated_secrets.controller.work.limits import HostUnavailable, Limits
from rotated_secrets.databases.base import Unavailable
from rotated_secrets.observability import logs


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def run(test: Callable[[Limits, Clock], Coroutine[None, None, None]], threads: int = 8, per_host: int = 4) -> None:
    async def bounded() -> None:
        clock = Clock()
        limits = Limits(threads=threads, per_host=per_host, breaker_failures=2, breaker_seconds=30, clock=clock)
        async with asyncio.timeout(20):
            await test(limits, clock)
        limits.close()

    asyncio.run(bounded())


async def fail(limits: Limits, host: str) -> None:
    with pytest.raises(Unavailable):
        async with limits.host(host, "shop"):
            raise Unavailable("no answer")


def test_a_host_is_used_by_so_many_at_a_time_and_the_rest_takes_no_thread_from_others() -> None:
    async def test(limits: Limits, _: Clock) -> None:
        lock, go_on = threading.Lock(), threading.Event()
        now = most = 0

        def slow() -> None:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            go_on.wait(10)
            with lock:
                now -= 1

        async def use() -> None:
            async with limits.host("slow", "shop"):
                await limits.run(slow)

        users = [asyncio.create_task(use()) for _ in range(20)]
        await asyncio.sleep(0)
        async with limits.host("fast", "shop"):
            assert await limits.run(lambda: "done") == "done"
        go_on.set()
        await asyncio.gather(*users)
        assert most == 4

    run(test, threads=5)


def test_a_host_that_does_not_answer_is_left_alone_for_a_while_then_tried_by_one() -> None:
    async def test(limits: Limits, clock: Clock) -> None:
        await fail(limits, "down")
        await fail(limits, "down")
        with pytest.raises(HostUnavailable, match="down"):
            async with limits.host("down", "shop"):
                raise AssertionError("must not get here")
        async with limits.host("up", "shop"):
            pass

        clock.now += 31
        async with limits.host("down", "shop"):
            with pytest.raises(HostUnavailable):
                async with limits.host("down", "shop"):
                    raise AssertionError("only one tries")
        async with limits.host("down", "shop"), limits.host("down", "shop"):
            pass

    run(test)


def test_a_failed_try_leaves_the_host_alone_again() -> None:
    async def test(limits: Limits, clock: Clock) -> None:
        await fail(limits, "down")
        await fail(limits, "down")
        clock.now += 31
        await fail(limits, "down")
        clock.now += 29
        with pytest.raises(HostUnavailable) as refused:
            async with limits.host("down", "shop"):
                raise AssertionError("must not get here")
        assert refused.value.retry_in == 1
        clock.now += 2
        async with limits.host("down", "shop"):
            pass

    run(test)


def test_an_answer_between_failures_starts_the_count_anew_and_other_errors_do_not_count() -> None:
    async def test(limits: Limits, clock: Clock) -> None:
        await fail(limits, "flaky")
        async with limits.host("flaky", "shop"):
            pass
        await fail(limits, "flaky")
        for _ in range(3):
            with pytest.raises(ValueError, match="ours"):
                async with limits.host("flaky", "shop"):
                    raise ValueError("ours")
        async with limits.host("flaky", "shop"):
            pass

    run(test)


def test_those_that_wait_for_a_place_are_refused_once_the_host_is_left_alone() -> None:
    async def test(limits: Limits, _: Clock) -> None:
        go_on = asyncio.Event()

        async def use() -> None:
            async with limits.host("down", "shop"):
                await go_on.wait()
                raise Unavailable("no answer")

        users = [asyncio.create_task(use()) for _ in range(6)]
        await asyncio.sleep(0)
        go_on.set()
        kinds = [type(error) for error in await asyncio.gather(*users, return_exceptions=True)]
        assert (kinds.count(Unavailable), kinds.count(HostUnavailable)) == (2, 4)

    run(test, per_host=2)


def test_hosts_that_are_well_are_not_remembered() -> None:
    async def test(limits: Limits, _: Clock) -> None:
        for n in range(10):
            async with limits.host(f"host-{n}", "shop"):
                pass
        assert not limits._fair_share._in_use_at_host
        assert not limits._breakers

    run(test)


def test_a_call_logs_with_its_callers_fields() -> None:
    async def test(limits: Limits, _: Clock) -> None:
        with logs.about(namespace="shop", name="orders"):
            assert await limits.run(lambda: dict(logs._fields.get())) == {"namespace": "shop", "name": "orders"}

    run(test)


def test_what_one_tenant_cannot_reach_is_not_closed_to_others() -> None:
    async def test(limits: Limits, _: Clock) -> None:
        for _attempt in range(2):
            with pytest.raises(Unavailable):
                async with limits.host("shared", "misconfigured"):
                    raise Unavailable("its certificate is not signed by a trusted authority")
        with pytest.raises(HostUnavailable):
            async with limits.host("shared", "misconfigured"):
                pass
        async with limits.host("shared", "shop"):
            pass

    run(test)
