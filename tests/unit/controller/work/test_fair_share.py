"""The tenant with the fewest places is next, and no tenant waits for a free place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from rotated_secrets.controller.work.fair_share import FairShare
from rotated_secrets.controller.work.limits import Limits


def run(test: Callable[[FairShare], Coroutine[None, None, None]], total: int = 8, per_host: int = 2) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test(FairShare(total=total, per_host=per_host))

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

    async def end(self) -> None:
        self._go.set()
        await self.task


async def settled() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def test_a_tenant_whose_hosts_hang_leaves_threads_to_others() -> None:
    async def test(fair_share: FairShare) -> None:
        hanging = [Run(fair_share, f"hangs-{number}", "noisy") for number in range(100)]
        await settled()
        assert sum(each.is_admitted for each in hanging) == 7
        other = Run(fair_share, "fine", "shop")
        await settled()
        assert other.is_admitted

    run(test)


def test_next_place_goes_to_the_tenant_with_the_fewest() -> None:
    async def test(fair_share: FairShare) -> None:
        noisy = [Run(fair_share, f"host-{number}", "noisy") for number in range(100)]
        shop = [Run(fair_share, f"shop-{number}", "shop") for number in range(3)]
        await settled()
        assert [each.is_admitted for each in shop] == [True, False, False]
        for number in range(2):
            await noisy[number].end()
            await settled()
            assert sum(each.is_admitted for each in shop) == number + 2

    run(test)


def test_tenant_with_no_place_is_next_at_a_shared_host() -> None:
    async def test(fair_share: FairShare) -> None:
        noisy = [Run(fair_share, "shared", "noisy") for _ in range(50)]
        await settled()
        shop = Run(fair_share, "shared", "shop")
        await settled()
        assert not shop.is_admitted
        await noisy[0].end()
        await settled()
        assert shop.is_admitted
        assert sum(each.is_admitted for each in noisy) == 1

    run(test)


def test_waiting_for_a_host_holds_no_thread() -> None:
    async def test(fair_share: FairShare) -> None:
        waiting = [Run(fair_share, "slow", "shop") for _ in range(50)]
        await settled()
        others = [Run(fair_share, f"fast-{number}", "shop") for number in range(5)]
        await settled()
        assert sum(each.is_admitted for each in waiting) == 2
        assert all(each.is_admitted for each in others)

    run(test)


@pytest.mark.parametrize("when", ["while it waits", "when its turn has just come", "when its turn comes at once"])
def test_cancelled_waiter_leaves_the_queue_and_holds_nothing(when: str) -> None:
    async def test(fair_share: FairShare) -> None:
        await fair_share.acquire("host", "shop")
        await fair_share.acquire("host", "shop")
        cancelled, other = (Run(fair_share, "host", "shop") for _ in range(2))
        await settled()
        if when == "when its turn has just come":
            fair_share.release("host", "shop")
        cancelled.task.cancel()
        if when == "while it waits":
            await settled()
        if when != "when its turn has just come":
            fair_share.release("host", "shop")
        await settled()
        assert not cancelled.is_admitted
        assert other.is_admitted
        await other.end()
        fair_share.release("host", "shop")
        assert not fair_share._waiting
        assert not fair_share._in_use_at_host
        assert not fair_share._in_use_by_tenant

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
