"""A tenant has fewer places than are left for others, the one with the fewest is next, and busy ones yield."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotated_secrets.controller.work.fair_share import FairShare
from rotated_secrets.controller.work.limits import Limits
from rotated_secrets.controller.work.tenants import Tenants


def run(test: Callable[[FairShare], Coroutine[None, None, None]], total: int = 8, per_host: int = 2) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test(FairShare(Tenants(), total=total, per_host=per_host))

    asyncio.run(bounded())


class Run:
    """Acquires a place and holds it until :meth:`end`."""

    def __init__(self, fair_share: FairShare, host: str, tenant: str) -> None:
        self._fair_share, self._host, self._tenant = fair_share, host, tenant
        self._go = asyncio.Event()
        self.is_admitted = False
        self.task = asyncio.create_task(self._live())

    async def _live(self) -> None:
        await self._fair_share.acquire(self._host, self._tenant)
        self.is_admitted = True
        try:
            await self._go.wait()
        finally:
            self.is_admitted = False
            self._fair_share.release(self._host, self._tenant)

    def go(self) -> None:
        """Let it end, once it is admitted."""
        self._go.set()

    async def end(self) -> None:
        self.go()
        await self.task


async def settled() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def test_a_tenant_whose_hosts_hang_leaves_threads_to_others() -> None:
    async def test(fair_share: FairShare) -> None:
        hanging = [Run(fair_share, f"hangs-{number}", "noisy") for number in range(100)]
        await settled()
        assert sum(each.is_admitted for each in hanging) == 4
        other = Run(fair_share, "fine", "shop")
        await settled()
        assert other.is_admitted

    run(test)


@pytest.mark.parametrize("attackers", range(1, 6))
def test_tenants_whose_hosts_hang_leave_a_thread_for_one_more(attackers: int) -> None:
    """Each takes half of what those before it have left."""

    async def test(fair_share: FairShare) -> None:
        for number in range(50 * attackers):
            Run(fair_share, f"hangs-{number}", f"noisy-{number // 50}")
        await settled()
        assert fair_share.can_acquire("fine", "shop")

    run(test, total=32)


@pytest.mark.parametrize("attackers", range(1, 20))
def test_places_that_come_back_leave_one_for_any_number_of_tenants(attackers: int) -> None:
    async def test(fair_share: FairShare) -> None:
        held = [Run(fair_share, f"hangs-{number}", f"noisy-{number // 50}") for number in range(50 * attackers)]
        await settled()
        for _ in range(5):
            for each in [each for each in held if each.is_admitted]:
                await each.end()
                await settled()
        assert fair_share.can_acquire("fine", "shop")

    run(test, total=32)


@pytest.mark.parametrize("attackers", [1, 2, 3])
def test_tenants_at_a_shared_host_leave_a_place_for_one_more(attackers: int) -> None:
    async def test(fair_share: FairShare) -> None:
        for number in range(20 * attackers):
            Run(fair_share, "shared", f"noisy-{number // 20}")
        await settled()
        assert fair_share.can_acquire("shared", "shop")

    run(test, total=100, per_host=8)


def test_the_only_place_of_a_host_can_be_taken() -> None:
    async def test(fair_share: FairShare) -> None:
        assert fair_share.can_acquire("host", "shop")

    run(test, total=1, per_host=1)


def test_next_place_goes_to_the_tenant_with_the_fewest() -> None:
    async def test(fair_share: FairShare) -> None:
        noisy = [Run(fair_share, f"host-{number}", "noisy") for number in range(100)]
        shop = [Run(fair_share, f"shop-{number}", "shop") for number in range(4)]
        await settled()
        assert [each.is_admitted for each in shop] == [True, True, False, False]
        for number in range(2):
            await noisy[number].end()
            await settled()
            assert sum(each.is_admitted for each in shop) == 3
        assert sum(each.is_admitted for each in noisy) == 3

    run(test)


def test_of_tenants_with_equally_many_places_the_one_that_waits_for_longest_is_next() -> None:
    async def test(fair_share: FairShare) -> None:
        held = Run(fair_share, "host", "first")
        await settled()
        order = []

        async def wait(tenant: str) -> None:
            await fair_share.acquire("host", tenant)
            order.append(tenant)
            fair_share.release("host", tenant)

        waiting = [asyncio.create_task(wait(tenant)) for tenant in ("noisy", "noisy", "noisy", "shop", "noisy", "shop")]
        await settled()
        await held.end()
        await asyncio.gather(*waiting)
        assert order == ["noisy", "shop", "noisy", "shop", "noisy", "noisy"]

    run(test, total=1, per_host=1)


def test_what_has_begun_is_served_before_what_its_tenant_asked_for_earlier() -> None:
    async def test(fair_share: FairShare) -> None:
        held = Run(fair_share, "host", "shop")
        await settled()
        new = Run(fair_share, "host", "shop")
        await settled()
        begun = asyncio.create_task(fair_share.acquire("host", "shop", first=True))
        await settled()
        await held.end()
        await asyncio.wait_for(begun, 1)
        assert not new.is_admitted

    run(test, total=1, per_host=1)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_busy_tenants_yield_while_a_quiet_one_is_at_work_and_no_longer() -> None:
    async def test() -> None:
        clock = Clock()
        tenants = Tenants(clock)
        fair_share = FairShare(tenants, total=12, busy=lambda: 2)
        noisy = [Run(fair_share, f"host-{number}", f"noisy-{number % 2}") for number in range(50)]
        await settled()
        assert sum(each.is_admitted for each in noisy) == 8
        clock.now += 60
        with tenants.at_work("shop"):
            for each in noisy[:6]:
                await each.end()
            await settled()
            assert sum(each.is_admitted for each in noisy) == 2
            await noisy[6].end()
            await settled()
            assert sum(each.is_admitted for each in noisy) == 2, "they have their two in turns"
            assert fair_share.can_acquire("fine", "shop")
        fair_share.grant_waiting()
        await settled()
        assert sum(each.is_admitted for each in noisy) == 8

    asyncio.run(test())


def test_quiet_tenants_do_not_yield_to_each_other() -> None:
    async def test() -> None:
        tenants = Tenants(Clock())
        fair_share = FairShare(tenants, total=12, busy=lambda: 2)
        with tenants.at_work("shop"):
            others = [Run(fair_share, f"host-{number}", f"other-{number}") for number in range(6)]
            await settled()
            assert all(each.is_admitted for each in others)

    asyncio.run(test())


class Counted(FairShare):
    """Holds each grant against the places that were granted and not returned, counted here."""

    def __init__(self, tenants: Tenants, *, total: int, per_host: int, busy: int) -> None:
        super().__init__(tenants, total=total, per_host=per_host, busy=lambda: busy)
        self.held = list[tuple[str, str]]()
        self._limits = total, per_host, busy

    def _grant(self, host: str, tenant: str) -> None:
        total, per_host, busy = self._limits
        at_host = [each for each, where in self.held if where == host]
        assert at_host.count(tenant) < per_host - len(at_host)
        assert sum(each == tenant for each, _ in self.held) < total - len(self.held)
        if self._tenants.is_busy(tenant) and self._tenants.is_quiet_one_at_work():
            assert sum(self._tenants.is_busy(each) for each, _ in self.held) < busy
        self.held.append((tenant, host))
        super()._grant(host, tenant)

    def release(self, host: str, tenant: str) -> None:
        self.held.remove((tenant, host))
        super().release(host, tenant)


TENANTS, HOSTS = ("a", "b", "c", "d"), ("x", "y", "z")
STEPS = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from(TENANTS), st.sampled_from(HOSTS)),
    st.tuples(st.sampled_from(["end", "cancel"]), st.integers(0, 40), st.none()),
    st.tuples(st.sampled_from(["works", "rests"]), st.sampled_from(TENANTS), st.none()),
    st.tuples(st.just("time"), st.floats(0.1, 20), st.none()),
)


@given(st.lists(STEPS, max_size=60), st.integers(1, 7), st.integers(1, 3), st.integers(1, 3))
def test_no_waiter_is_lost_and_no_limit_exceeded(
    steps: list[tuple[str, Any, Any]], total: int, per_host: int, busy: int
) -> None:
    """Whatever ends, is cancelled, begins or stops to work, or passes in time: all that waits is served in the end."""

    async def history() -> None:
        clock = Clock()
        tenants = Tenants(clock)
        fair_share = Counted(tenants, total=total, per_host=per_host, busy=busy)
        runs, at_work = list[Run](), dict[str, ExitStack]()

        for what, which, host in steps:
            match what:
                case "ask":
                    runs.append(Run(fair_share, host, which))
                case "end" if which < len(runs):
                    runs[which].go()
                case "cancel" if which < len(runs):
                    runs[which].task.cancel()
                case "works" if which not in at_work:
                    at_work[which] = ExitStack()
                    at_work[which].enter_context(tenants.at_work(which))
                case "rests" if which in at_work:
                    at_work.pop(which).close()
                    fair_share.grant_waiting()
                case "time":
                    clock.now += which
            await settled()
        for stack in at_work.values():
            stack.close()
        fair_share.grant_waiting()
        while any(not each.task.done() for each in runs):
            now = [each for each in runs if each.is_admitted]
            assert now, "something waits, and nothing is held that could end"
            now[0].go()
            await settled()
        assert not fair_share._waiting
        assert not fair_share._at_host
        assert not fair_share._by_tenant
        assert not fair_share._by_tenant_at_host

    asyncio.run(history())


def test_tenant_with_no_place_is_next_at_a_shared_host() -> None:
    async def test(fair_share: FairShare) -> None:
        noisy = [Run(fair_share, "shared", "noisy") for _ in range(50)]
        others = [Run(fair_share, "shared", f"other-{number}") for number in range(2)]
        await settled()
        assert sum(each.is_admitted for each in (*noisy, *others)) == 4
        shop = Run(fair_share, "shared", "shop")
        await settled()
        assert not shop.is_admitted
        await noisy[0].end()
        await settled()
        assert shop.is_admitted
        assert sum(each.is_admitted for each in noisy) == 1

    run(test, total=100, per_host=4)


def test_waiting_for_a_host_holds_no_thread() -> None:
    async def test(fair_share: FairShare) -> None:
        waiting = [Run(fair_share, "slow", "shop") for _ in range(50)]
        await settled()
        others = [Run(fair_share, f"fast-{number}", "shop") for number in range(5)]
        await settled()
        assert sum(each.is_admitted for each in waiting) == 2
        assert all(each.is_admitted for each in others)

    run(test, total=16, per_host=4)


@pytest.mark.parametrize("when", ["while it waits", "when its turn has just come", "when its turn comes at once"])
def test_cancelled_waiter_leaves_the_queue_and_holds_nothing(when: str) -> None:
    async def test(fair_share: FairShare) -> None:
        await fair_share.acquire("host", "one")
        await fair_share.acquire("host", "two")
        cancelled, other = (Run(fair_share, "host", "shop") for _ in range(2))
        await settled()
        if when == "when its turn has just come":
            fair_share.release("host", "one")
        cancelled.task.cancel()
        if when == "while it waits":
            await settled()
        if when != "when its turn has just come":
            fair_share.release("host", "one")
        await settled()
        assert not cancelled.is_admitted
        assert other.is_admitted
        await other.end()
        fair_share.release("host", "two")
        assert not fair_share._waiting
        assert not fair_share._at_host
        assert not fair_share._by_tenant

    run(test)


def test_limits_serve_a_namespace_while_another_hangs_at_many_hosts() -> None:
    async def bounded() -> None:
        limits = Limits(threads=8, per_host=4, breaker_failures=5, breaker_seconds=30)
        go_on = asyncio.Event()

        async def hang(number: int) -> None:
            async with limits.host(f"hangs-{number}", "noisy"):
                await go_on.wait()

        hanging = [asyncio.create_task(hang(number)) for number in range(50)]
        await asyncio.sleep(0)
        async with asyncio.timeout(10), limits.host("fine", "shop"):
            assert await limits.run_at_host(lambda: "done") == "done"
        go_on.set()
        await asyncio.gather(*hanging)
        limits.close()

    asyncio.run(bounded())
