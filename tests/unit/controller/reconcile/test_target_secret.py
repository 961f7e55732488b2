"""The target Secret of a run: what was read is dropped while the run waits, and read again when it is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from rotated_secrets.controller.reconcile.target_secret import DeliveredSecret
from tests.support.fake_databases import HOST, PORT
from tests.support.fake_operator import KEY, SPEC, FakeOperator, fake_operator, with_admin

SECRET = "/api/v1/namespaces/shop/secrets/orders"


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOperator]:
    with fake_operator(monkeypatch) as made:
        with_admin(made).apply(SPEC)
        made.settle()
        yield made


def reads_of_the_secret(operator: FakeOperator) -> int:
    return operator.cluster.requests.count(("GET", SECRET))


def rotate(operator: FakeOperator, places: int) -> None:
    """Rotate while another namespace has so many of the host's places, until this run waits for one."""
    limits = operator.services.limits

    async def run() -> None:
        free = asyncio.Event()

        async def hold(tenant: str) -> None:
            async with limits.host(f"{HOST}:{PORT}", tenant):
                await free.wait()

        holders = [asyncio.create_task(hold(f"other-{number}")) for number in range(places)]
        while not limits.must_wait(f"{HOST}:{PORT}", KEY.namespace):
            await asyncio.sleep(0)
        work = asyncio.ensure_future(operator._reconcile(KEY))
        while not (work.done() or limits._hosts._waiting.get(KEY.namespace)):
            await asyncio.sleep(0.001)
        free.set()
        await asyncio.gather(work, *holders)

    operator.ask("now")
    asyncio.run(run())


def test_a_run_that_waits_for_a_host_reads_the_secret_again(operator: FakeOperator) -> None:
    before = reads_of_the_secret(operator)
    rotate(operator, places=4)
    waited = reads_of_the_secret(operator) - before
    assert operator.condition("Rotated")[0] == "True"
    before = reads_of_the_secret(operator)
    operator.ask("again")
    operator.reconcile()
    assert waited > reads_of_the_secret(operator) - before


def test_what_was_let_go_is_not_taken_for_a_secret_that_is_not_there(operator: FakeOperator, monkeypatch: Any) -> None:
    kept: list[DeliveredSecret] = []
    monkeypatch.setattr(DeliveredSecret, "let_go", _noting(DeliveredSecret.let_go, kept))
    rotate(operator, places=4)
    (delivered,) = kept
    assert delivered.version == operator.cluster.objects[SECRET]["metadata"]["resourceVersion"]
    assert ("POST", SECRET.rsplit("/", 1)[0]) not in operator.cluster.writes[-3:]


def _noting(let_go: Any, kept: list[DeliveredSecret]) -> Any:
    def noted(self: DeliveredSecret) -> None:
        kept.append(self)
        let_go(self)

    return noted
