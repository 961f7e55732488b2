"""Limits of blocking work, counted while it runs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine

import pytest

from rotated_secrets.controller.work import limits as limits_module
from rotated_secrets.controller.work.limits import BUSY_CPUS, BUSY_HOSTS, BUSY_THREADS, HostUnavailable, Limits
from rotated_secrets.controller.work.queue import Draining
from rotated_secrets.controller.work.tenants import OPERATOR, RECENTLY, current_tenant
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


async def fail(limits: Limits, host: str, tenant: str = "shop") -> None:
    with pytest.raises(Unavailable):
        async with limits.host(host, tenant):
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
                await limits.run_at_host(slow)

        users = [asyncio.create_task(use()) for _ in range(20)]
        await asyncio.sleep(0)
        async with limits.host("fast", "shop"):
            assert await limits.run_at_host(lambda: "done") == "done"
        go_on.set()
        await asyncio.gather(*users)
        assert most == 4

    run(test, threads=10, per_host=8)


def test_host_that_does_not_answer_is_refused_for_a_while_then_tried_once() -> None:
    async def test(limits: Limits, clock: Clock) -> None:
        await fail(limits, "down")
        await fail(limits, "down")
        with pytest.raises(HostUnavailable, match=r"did not answer several times .*; the last time: no answer"):
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
        clock.now += 59
        with pytest.raises(HostUnavailable) as refused:
            async with limits.host("down", "shop"):
                raise AssertionError("must not get here")
        assert refused.value.retry_in == 1
        clock.now += 2
        async with limits.host("down", "shop"):
            pass

    run(test)


def test_what_a_person_asked_for_tries_a_host_that_is_left_alone_and_makes_its_pause_no_longer() -> None:
    async def test(limits: Limits, clock: Clock) -> None:
        async def refused_for(*, asked: bool) -> float:
            with pytest.raises(HostUnavailable) as refused:
                async with limits.host("down", "shop", asked=asked):
                    raise AssertionError("must not get here")
            return refused.value.retry_in

        await fail(limits, "down")
        await fail(limits, "down")
        clock.now += 10
        for _ in range(3):
            with pytest.raises(Unavailable, match="no answer"):
                async with limits.host("down", "shop", asked=True):
                    raise Unavailable("no answer")
            assert await refused_for(asked=False) == 20
        async with limits.host("down", "shop", asked=True):
            assert await refused_for(asked=True) == 20, "only one tries"
        async with limits.host("down", "shop"):
            pass

    run(test)


def test_pause_doubles_up_to_a_limit_while_a_host_goes_on_failing_and_starts_over_after_success() -> None:
    async def test(limits: Limits, clock: Clock) -> None:
        async def pauses(count: int) -> list[float]:
            found = []
            await fail(limits, "down")
            for _ in range(count):
                await fail(limits, "down")
                with pytest.raises(HostUnavailable) as refused:
                    await enter(limits, "down")
                found.append(refused.value.retry_in)
                clock.now += refused.value.retry_in
            return found

        assert await pauses(6) == [30, 60, 120, 240, 300, 300]
        await enter(limits, "down")
        assert await pauses(2) == [30, 60]

    run(test)


def test_failures_that_end_together_make_one_pause() -> None:
    async def test(limits: Limits, _: Clock) -> None:
        together = asyncio.Barrier(4)

        async def use() -> None:
            async with limits.host("down", "shop"):
                await together.wait()
                raise Unavailable("no answer")

        await asyncio.gather(*(use() for _ in range(4)), return_exceptions=True)
        with pytest.raises(HostUnavailable) as refused:
            await enter(limits, "down")
        assert refused.value.retry_in == 30

    run(test, per_host=8)


def test_success_of_one_that_began_earlier_starts_the_pauses_over() -> None:
    async def test(limits: Limits, clock: Clock) -> None:
        ends = [asyncio.Event() for _ in range(4)]

        async def use(end: asyncio.Event, *, works: bool = False) -> None:
            async with limits.host("down", "shop"):
                await end.wait()
                if not works:
                    raise Unavailable("no answer")

        users = [asyncio.create_task(use(end, works=number == 2)) for number, end in enumerate(ends)]
        await asyncio.sleep(0)
        for user, end in zip(users, ends, strict=True):
            end.set()
            await asyncio.gather(user, return_exceptions=True)
        clock.now += 31
        await fail(limits, "down")
        with pytest.raises(HostUnavailable) as refused:
            await enter(limits, "down")
        assert refused.value.retry_in == 30

    run(test, per_host=8)


def test_hosts_that_a_tenant_names_without_end_are_forgotten_and_not_those_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits_module, "MOST_HOSTS", 10)

    async def test(limits: Limits, _: Clock) -> None:
        for _attempt in range(2):
            await fail(limits, "down", "honest")
        for number in range(100):
            await fail(limits, f"host-{number}", "greedy")
            assert len(limits._breakers) <= 10
        await fail(limits, "host-99", "greedy")
        for host, tenant in (("down", "honest"), ("host-99", "greedy")):
            with pytest.raises(HostUnavailable):
                async with limits.host(host, tenant):
                    pass

    run(test)


def test_hosts_that_are_tried_no_more_are_forgotten() -> None:
    async def test(limits: Limits, clock: Clock) -> None:
        for number in range(20):
            await fail(limits, f"host-{number}")
            clock.now += 100
        assert len(limits._breakers) < 10

    run(test)


def test_failures_of_a_host_that_is_being_tried_count_although_it_was_forgotten_meanwhile() -> None:
    async def test(limits: Limits, clock: Clock) -> None:
        await fail(limits, "down")
        with pytest.raises(Unavailable):
            async with limits.host("down", "shop"):
                clock.now += 10_000
                await fail(limits, "other")
                raise Unavailable("no answer")
        with pytest.raises(HostUnavailable):
            await enter(limits, "down")

    run(test)


def test_a_flood_of_one_tenant_delays_the_call_of_another_by_none_of_its_own() -> None:
    async def test(limits: Limits, _: Clock) -> None:
        go_on, running = threading.Event(), threading.Semaphore(0)

        def slow() -> None:
            running.release()
            go_on.wait(10)

        async def flood() -> None:
            with limits.at_work("noisy"):
                await limits.run(slow)

        noisy = [asyncio.create_task(flood()) for _ in range(50)]
        await asyncio.to_thread(running.acquire)
        with limits.at_work("shop"):
            assert await limits.run(lambda: "done") == "done"
        assert await limits.run(lambda: "the operator's own") == "the operator's own"
        go_on.set()
        await asyncio.gather(*noisy)

    run(test)


def test_place_is_held_until_the_call_ends_although_its_caller_is_cancelled() -> None:
    async def test(limits: Limits, _: Clock) -> None:
        go_on, begun = threading.Event(), threading.Event()

        def slow() -> None:
            begun.set()
            go_on.wait(10)

        caller = asyncio.create_task(limits.run(slow))
        await asyncio.to_thread(begun.wait)
        caller.cancel()
        await asyncio.wait({caller})
        assert not limits._threads.can_acquire("", OPERATOR)
        go_on.set()
        assert await limits.run(lambda: "next") == "next"

    run(test, threads=2)


def test_what_has_begun_goes_on_before_its_tenant_begins_more() -> None:
    async def test(limits: Limits, _: Clock) -> None:
        go_on, occupied, begun, order = threading.Event(), threading.Event(), asyncio.Event(), list[str]()

        def occupy() -> None:
            occupied.set()
            go_on.wait(10)

        async def twice() -> None:
            await limits.run(order.append, "begins")
            begun.set()
            await asyncio.to_thread(occupied.wait, 10)
            await limits.run(order.append, "goes on")

        both = asyncio.create_task(twice())
        await begun.wait()
        tasks = [asyncio.create_task(limits.run(occupy)), asyncio.create_task(limits.run(order.append, "is new"))]
        while sum(map(len, limits._threads._waiting.get(OPERATOR, {}).values())) < 2:
            await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(both, *tasks)
        assert order == ["begins", "goes on", "is new"]

    run(test, threads=2)


def test_call_and_its_thread_know_whose_work_it_is() -> None:
    async def test(limits: Limits, _: Clock) -> None:
        with limits.at_work("shop"):
            assert await limits.run(current_tenant.get) == "shop"
            async with limits.host("host", "shop"):
                assert await limits.run_at_host(current_tenant.get) == "shop"
        assert await limits.run(current_tenant.get) == OPERATOR

    run(test)


@pytest.mark.parametrize(
    ("cpus", "threads"), [(0.0, BUSY_THREADS), (0.9 * BUSY_CPUS, BUSY_THREADS), (1.1 * BUSY_CPUS, 2)]
)
def test_busy_tenants_have_few_threads_until_a_quiet_ones_work_ends(cpus: float, threads: int) -> None:
    """Fewer where they compute; a tenant is busy when it has two."""

    async def test(limits: Limits, clock: Clock) -> None:
        go_on = threading.Event()

        async def flood() -> None:
            with limits.at_work("noisy"):
                await limits.run(go_on.wait, 10)

        with limits.at_work("shop"):
            noisy = []
            for _ in range(10):
                noisy.append(asyncio.create_task(flood()))
                await asyncio.sleep(0)
                clock.now += 100
                limits._tenants.record_cpu("noisy", cpus * RECENTLY)
            assert limits._threads._in_use == threads
        assert limits._threads._in_use == 8
        go_on.set()
        await asyncio.gather(*noisy)

    run(test, threads=32)


def test_busy_tenants_have_few_places_at_databases_until_a_quiet_ones_work_ends() -> None:
    async def test(limits: Limits, clock: Clock) -> None:
        go_on = asyncio.Event()

        async def flood(number: int) -> None:
            with limits.at_work("noisy"):
                async with limits.host(f"host-{number}", "noisy"):
                    await go_on.wait()

        with limits.at_work("shop"):
            noisy = []
            for number in range(10):
                noisy.append(asyncio.create_task(flood(number)))
                await asyncio.sleep(0)
                clock.now += 100
            assert limits._hosts._in_use == BUSY_HOSTS
        assert limits._hosts._in_use == 10
        go_on.set()
        await asyncio.gather(*noisy)

    run(test, threads=32)


def test_cpu_time_of_a_call_is_its_tenants() -> None:
    def compute() -> None:
        began = time.thread_time()
        while time.thread_time() < began + 0.05:
            pass

    async def test(limits: Limits, _: Clock) -> None:
        with limits.at_work("shop"):
            await limits.run(compute)
            await limits.run(time.sleep, 0.05)
            async with limits.host("host", "shop"):
                await limits.run_at_host(compute)
        assert 0.1 <= limits._tenants._uses["shop"].cpu < 0.2
        with pytest.raises(ZeroDivisionError):
            await limits.run(lambda: 1 / 0)

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
        assert not limits._hosts._at_host
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
