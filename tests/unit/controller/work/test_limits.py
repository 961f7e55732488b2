"""Limits of blocking work, counted while it runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine

import pytest

from rotated_secrets.controller.work.limits import HostUnavailable, Limits
from rotated_secrets.controller.work.queue import Draining
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


def test_calls_to_one_host_are_limited_and_waiting_ones_hold_no_thread() -> None:
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


def test_host_that_does_not_answer_is_refused_for_a_while_then_tried_once() -> None:
    async def test(limits: Limits, clock: Clock) -> None:
        await fail(limits, "down")
        await fail(limits, "down")
        with pytest.raises(HostUnavailable, match="did not answer several times"):
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


def test_failed_try_opens_the_circuit_breaker_again() -> None:
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


def test_success_resets_the_count_of_failures_and_other_errors_do_not_count() -> None:
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


def test_waiters_are_refused_once_the_circuit_breaker_is_open() -> None:
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


def test_nothing_is_kept_for_hosts_without_failures() -> None:
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


def test_circuit_breaker_of_one_tenant_does_not_affect_others() -> None:
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


async def enter(limits: Limits, host: str) -> None:
    """Hold a place for a moment; fails where that means to wait."""
    async with asyncio.timeout(0.2), limits.host(host, "shop"):
        pass


def test_open_circuit_breaker_refuses_without_waiting_for_a_place() -> None:
    async def test(limits: Limits, clock: Clock) -> None:
        await fail(limits, "down")
        await fail(limits, "down")
        clock.now += 31
        async with limits.host("down", "shop"):
            with pytest.raises(HostUnavailable):
                await enter(limits, "down")

    run(test, per_host=1)


def test_draining_refuses_at_once_where_all_places_are_in_use_and_not_where_one_is_free() -> None:
    async def test(limits: Limits, _: Clock) -> None:
        async with limits.host("database", "shop"):
            limits.drain()
            with pytest.raises(Draining):
                await enter(limits, "database")
        await enter(limits, "database")

    run(test, per_host=1)


def test_closed_limits_start_no_call() -> None:
    async def test(limits: Limits, _: Clock) -> None:
        limits.close()
        for start in (limits.run, limits.run_at_host):
            with pytest.raises(RuntimeError, match="after shutdown"):
                await start(print)

    run(test)
