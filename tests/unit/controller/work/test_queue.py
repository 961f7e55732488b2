"""The work queue's invariants, checked with random histories, and its waits."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotated_secrets.api.key import Key
from rotated_secrets.controller.work.limits import Limits
from rotated_secrets.controller.work.queue import (
    CHANGES_AT_ONCE,
    PAST_IN_A_ROW,
    Reconcile,
    RetryLater,
    WorkQueue,
)
from rotated_secrets.token_buckets import TokenBuckets
from tests.support.examples import examples

KEYS = [Key("shop", name) for name in "abc"]
A, B, C = KEYS


def run(test: Coroutine[None, None, None]) -> None:
    errors: list[dict[str, Any]] = []

    async def bounded() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        async with asyncio.timeout(20):
            await test

    asyncio.run(bounded())
    assert errors == [], "a callback of the loop has failed"


def make(workers: int = 100, base: float = 0.001, cap: float = 0.002) -> WorkQueue:
    return WorkQueue(workers=workers, backoff_base=base, backoff_cap=cap)


@asynccontextmanager
async def working(queue: WorkQueue, reconcile: Reconcile) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run(reconcile))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def until_idle(queue: WorkQueue) -> None:
    # An add from elsewhere reaches the queue with the loop's next turn.
    await asyncio.sleep(0)
    while queue.depth or queue.busy or len(queue.scheduler):
        await asyncio.sleep(0.001)


@examples(60)
@given(
    adds=st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 3)), max_size=30),
    fails=st.sets(st.integers(0, 40)),
    turns=st.integers(0, 3),
    workers=st.integers(1, 4),
)
def test_no_key_is_worked_on_twice_at_once_and_none_is_lost(
    adds: list[tuple[Key, int]], fails: set[int], turns: int, workers: int
) -> None:
    """Every add is followed by a reconcile that starts after it and succeeds."""

    async def history() -> None:
        queue = make(workers)
        now: set[Key] = set()
        looks = 0
        succeeded_after: dict[Key, int] = {}
        clock = 0

        async def reconcile(key: Key) -> None:
            nonlocal looks, clock
            assert key not in now
            assert len(now) < workers
            now.add(key)
            looks, begun = looks + 1, clock
            which = looks
            for _ in range(turns):
                await asyncio.sleep(0)
            now.remove(key)
            if which in fails:
                raise RetryLater("not now")
            succeeded_after[key] = begun

        async with working(queue, reconcile):
            added: dict[Key, int] = {}
            for key, pause in adds:
                clock += 1
                added[key] = clock
                queue.add(key)
                for _ in range(pause):
                    await asyncio.sleep(0)
            await until_idle(queue)
        for key, at in added.items():
            assert succeeded_after[key] >= at

    run(history())


def test_adds_while_a_key_waits_make_one_reconcile() -> None:
    async def test() -> None:
        looks: Counter[Key] = Counter()

        async def reconcile(key: Key) -> None:
            looks[key] += 1

        queue = make()
        for _ in range(5):
            queue.add(A)
        await asyncio.sleep(0)
        assert queue.depth == 1
        async with working(queue, reconcile):
            await until_idle(queue)
        assert looks == {A: 1}

    run(test())


def test_key_added_during_its_reconcile_is_reconciled_once_more() -> None:
    async def test() -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()
        looks = 0

        async def reconcile(key: Key) -> None:
            nonlocal looks
            looks += 1
            begun.set()
            await go_on.wait()

        queue = make()
        async with working(queue, reconcile):
            queue.add(A)
            await begun.wait()
            queue.add(A)
            queue.add(A)
            await asyncio.sleep(0)
            assert (looks, queue.depth) == (1, 1)
            go_on.set()
            await until_idle(queue)
        assert looks == 2

    run(test())


def test_keys_can_be_added_from_other_threads() -> None:
    async def test() -> None:
        looked: set[Key] = set()

        async def reconcile(key: Key) -> None:
            looked.add(key)

        queue = make()
        keys = [Key("shop", str(n)) for n in range(200)]
        async with working(queue, reconcile):
            threads = [threading.Thread(target=lambda: list(map(queue.add, keys))) for _ in range(2)]
            for thread in threads:
                thread.start()
            while len(looked) < len(keys):
                await asyncio.sleep(0.001)
            for thread in threads:
                thread.join()
        assert looked == set(keys)

    run(test())


def test_namespace_whose_work_never_ends_leaves_workers_to_others() -> None:
    async def test() -> None:
        go_on, done = asyncio.Event(), list[Key]()

        async def reconcile(key: Key) -> None:
            if key.namespace == "noisy":
                await go_on.wait()
            done.append(key)

        queue = make(workers=8)
        for number in range(100):
            queue.add(Key("noisy", str(number)))
        async with working(queue, reconcile):
            await asyncio.sleep(0)
            queue.add(A)
            while A not in done:
                await asyncio.sleep(0)
            assert (queue.busy, queue.depth, done) == (4, 96, [A])
            go_on.set()
            await until_idle(queue)
        assert len(done) == 101

    run(test())


def test_key_of_another_namespace_does_not_wait_for_the_end_of_a_burst() -> None:
    async def test() -> None:
        done = list[Key]()

        async def reconcile(key: Key) -> None:
            await asyncio.sleep(0)
            done.append(key)

        queue = make(workers=8)
        for number in range(1000):
            queue.add(Key("noisy", str(number)))
        queue.add(A)
        async with working(queue, reconcile):
            await until_idle(queue)
        assert done.index(A) < 8
        assert len(done) == 1001

    run(test())


def test_reconcile_returns_when_it_is_due_again() -> None:
    async def test() -> None:
        looks = asyncio.Queue[Key]()

        async def reconcile(key: Key) -> datetime | None:
            looks.put_nowait(key)
            return datetime.now(UTC) + timedelta(milliseconds=5) if looks.qsize() < 3 else None

        queue = make()
        async with working(queue, reconcile):
            queue.add(A)
            await until_idle(queue)
        assert looks.qsize() == 3

    run(test())


def test_reconcile_replaces_the_due_time_set_before_it() -> None:
    async def test() -> None:
        async def reconcile(key: Key) -> None:
            return None

        queue = make()
        queue.add_after(A, timedelta(hours=1))
        async with working(queue, reconcile):
            queue.add(A)
            await asyncio.sleep(0)
            while queue.busy or queue.depth:
                await asyncio.sleep(0)
        assert queue.scheduler.when(A) is None

    run(test())


def test_waits_after_failures_double_up_to_the_cap_and_start_over_after_success(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ceilings: list[float] = []

    def no_wait(low: float, high: float) -> float:
        assert low == high / 2
        ceilings.append(high)
        return 0.0

    monkeypatch.setattr("random.uniform", no_wait)

    async def test() -> None:
        outcomes = iter([False, False, False, False, True, False, True])

        async def reconcile(key: Key) -> datetime | None:
            if not next(outcomes):
                raise RetryLater("not now")
            return datetime.now(UTC) if len(ceilings) == 4 else None

        queue = make(base=1, cap=6)
        async with working(queue, reconcile):
            queue.add(A)
            await until_idle(queue)

    run(test())
    assert ceilings == [1, 2, 4, 6, 1]


def test_retry_is_not_made_before_it_can_succeed() -> None:
    async def test() -> None:
        async def reconcile(key: Key) -> None:
            raise RetryLater("the host is left alone", not_before=3600)

        queue, began = make(base=1, cap=6), datetime.now(UTC)
        async with working(queue, reconcile):
            queue.add(A)
            while queue.scheduler.when(A) is None:
                await asyncio.sleep(0)
        due = queue.scheduler.when(A)
        assert due is not None
        assert due >= began + timedelta(hours=1)

    run(test())


def test_asking_for_a_look_makes_no_wait_after_failures_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    ceilings: list[float] = []

    def longest(_: float, high: float) -> float:
        ceilings.append(high)
        return high

    monkeypatch.setattr("random.uniform", longest)

    async def test() -> None:
        now = datetime(2026, 11, 22, 12, tzinfo=UTC)

        async def reconcile(key: Key) -> None:
            raise RetryLater("not now", not_before=7)

        queue = WorkQueue(workers=1, backoff_base=60, backoff_cap=300, now=lambda: now)

        async def looked(count: int) -> datetime | None:
            while len(ceilings) < count or queue.busy:
                await asyncio.sleep(0)
            return queue.scheduler.when(A)

        async with working(queue, reconcile):
            queue.add(A)
            due = await looked(1)
            assert due == now + timedelta(seconds=67)
            for count in (2, 3, 4):
                now += timedelta(seconds=10)
                queue.add_changed(A)
                assert await looked(count) == due
            queue.add(A)
            assert await looked(5) == now + timedelta(seconds=127)
        assert ceilings == [60, 60, 60, 60, 120]

    run(test())


def test_the_first_failure_after_a_change_waits_as_any_first_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda _, high: high)

    async def test() -> None:
        now = datetime(2026, 11, 22, 12, tzinfo=UTC)
        fails = False

        async def reconcile(key: Key) -> datetime | None:
            if fails:
                raise RetryLater("not now")
            return now + timedelta(days=29)

        queue = WorkQueue(workers=1, backoff_base=60, backoff_cap=300, now=lambda: now)
        async with working(queue, reconcile):
            queue.add(A)
            while queue.scheduler.when(A) is None:
                await asyncio.sleep(0)
            fails = True
            queue.add_changed(A)
            while queue.scheduler.when(A) in (None, now + timedelta(days=29)):
                await asyncio.sleep(0)
            assert queue.scheduler.when(A) == now + timedelta(seconds=60)

    run(test())


def test_known_error_is_logged_without_stack_trace_and_unknown_one_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        errors = iter([RetryLater("the store is away"), ValueError("hunter2")])

        async def reconcile(key: Key) -> None:
            if (error := next(errors, None)) is not None:
                raise error

        queue = make()
        async with working(queue, reconcile):
            queue.add(A)
            await until_idle(queue)

    run(test())
    known, unknown = caplog.records
    assert (known.levelno, known.exc_info) == (logging.WARNING, None)
    assert "the store is away" in known.getMessage()
    assert unknown.levelno == logging.ERROR
    assert unknown.exc_info
    assert "hunter2" not in unknown.getMessage()


def test_draining_waits_for_running_work_and_starts_none() -> None:
    async def test() -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()
        finished: list[Key] = []

        async def reconcile(key: Key) -> None:
            begun.set()
            await go_on.wait()
            finished.append(key)

        queue = make(workers=1)
        async with working(queue, reconcile):
            queue.add(A)
            queue.add(B)
            await begun.wait()
            draining = asyncio.create_task(queue.drain(10))
            await asyncio.sleep(0)
            queue.add(A)
            queue.add(C)
            go_on.set()
            assert await draining
        assert finished == [A]
        assert (queue.depth, queue.busy) == (0, 0)

    run(test())


def test_draining_cancels_work_at_its_timeout() -> None:
    async def test() -> None:
        begun = asyncio.Event()

        async def reconcile(key: Key) -> None:
            begun.set()
            await asyncio.Event().wait()

        queue = make()
        async with working(queue, reconcile):
            queue.add(A)
            await begun.wait()
            assert not await queue.drain(0.01)
        assert queue.busy == 0

    run(test())


def test_draining_refuses_waiting_tasks_and_lets_running_ones_finish() -> None:
    async def test() -> None:
        limits = Limits(threads=1, per_host=1, breaker_failures=5, breaker_seconds=1)
        go_on, steps = threading.Event(), list[tuple[Key, str]]()
        looked, occupied, thread_is_free = asyncio.Event(), threading.Event(), threading.Event()

        def occupy() -> None:
            occupied.set()
            thread_is_free.wait(10)

        async def reconcile(key: Key) -> None:
            await limits.run(steps.append, (key, "looks"))
            if key != C:
                async with limits.host("database", "shop"):
                    looked.set()
                    await limits.run_at_host(go_on.wait, 10)
                    steps.append((key, "rotates"))
                await limits.run(steps.append, (key, "reports"))

        queue = make()
        async with working(queue, reconcile):
            queue.add(A)
            await looked.wait()
            queue.add(B)
            while (B, "looks") not in steps:
                await asyncio.sleep(0)
            busy = asyncio.create_task(limits.run(occupy))
            while not occupied.is_set():
                await asyncio.sleep(0)
            queue.add(C)
            while queue.busy < 3:
                await asyncio.sleep(0)
            limits.drain()
            draining = asyncio.create_task(queue.drain(10))
            await asyncio.sleep(0)
            thread_is_free.set()
            go_on.set()
            assert await draining
            await busy
        limits.close()
        assert steps == [(A, "looks"), (B, "looks"), (A, "rotates"), (A, "reports")]

    run(test())


def test_changes_in_quick_succession_make_few_looks_and_the_last_one_is_looked_at() -> None:
    async def test() -> None:
        now, looks = 0.0, 0

        async def reconcile(key: Key) -> None:
            nonlocal looks
            looks += 1

        # The bucket's clock stands still: only the loop's timer, after 50 ms, makes the last look.
        changes = TokenBuckets[Key](burst=3, rate=20, most=10, clock=lambda: now)
        queue = WorkQueue(workers=1, backoff_base=0.001, backoff_cap=0.002, changes=changes)
        async with working(queue, reconcile):
            for expected in (1, 2, 3):
                queue.add_changed(A)
                await until_idle(queue)
                assert looks == expected, "a single change is looked at immediately"
            for _ in range(31):
                queue.add_changed(A)
                await until_idle(queue)
            assert looks == 3
            while looks == 3:
                await asyncio.sleep(0.001)
            await until_idle(queue)
        assert looks == 4

    run(test())


def test_many_changes_of_one_key_delay_no_other_look() -> None:
    async def test() -> None:
        looks = Counter[Key]()

        async def reconcile(key: Key) -> None:
            looks[key] += 1

        changes = TokenBuckets[Key](burst=1, rate=0.001, most=10, clock=lambda: 0.0)
        queue = WorkQueue(workers=1, backoff_base=0.001, backoff_cap=0.002, changes=changes)
        async with working(queue, reconcile):
            for _ in range(5):
                queue.add_changed(A)
                await until_idle(queue)
            queue.add_changed(B)
            await until_idle(queue)
            assert looks == {A: 1, B: 1}
            queue.add(A)
            await until_idle(queue)
        assert looks == {A: 2, B: 1}

    run(test())


def test_a_look_that_begins_for_another_reason_sees_a_change_that_waits() -> None:
    async def test() -> None:
        looks = 0

        async def reconcile(key: Key) -> None:
            nonlocal looks
            looks += 1

        changes = TokenBuckets[Key](burst=1, rate=100, most=10, clock=lambda: 0.0)
        queue = WorkQueue(workers=1, backoff_base=0.001, backoff_cap=0.002, changes=changes)
        async with working(queue, reconcile):
            queue.add_changed(A)
            await until_idle(queue)
            queue.add_changed(A)
            queue.add(A)
            await until_idle(queue)
            loop, fired = asyncio.get_running_loop(), asyncio.Event()
            loop.call_later(0.05, fired.set)  # after the timer of the change would have fired
            await fired.wait()
        assert looks == 2

    run(test())


def test_honest_changes_are_all_looked_at_immediately_by_default() -> None:
    async def test() -> None:
        looks = 0

        async def reconcile(key: Key) -> None:
            nonlocal looks
            looks += 1

        queue = make()
        async with working(queue, reconcile):
            for _ in range(CHANGES_AT_ONCE):
                queue.add_changed(A)
                await until_idle(queue)
            assert looks == CHANGES_AT_ONCE
            for _ in range(31):
                queue.add_changed(A)
                await until_idle(queue)
        assert looks == CHANGES_AT_ONCE

    run(test())


def test_key_that_is_due_again_at_once_each_time_is_looked_at_less_and_less_often_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        queue = make(base=1, cap=60)
        looks = 0
        enough = asyncio.Event()

        async def reconcile(key: Key) -> datetime:
            nonlocal looks
            looks += 1
            if looks == PAST_IN_A_ROW:
                enough.set()
            return datetime.now(UTC) - timedelta(days=1)

        async with working(queue, reconcile):
            queue.add(A)
            await enough.wait()
            before = datetime.now(UTC)
            while (when := queue.scheduler.when(A)) is None:
                await asyncio.sleep(0)
            assert when > before

    with caplog.at_level(logging.WARNING):
        run(test())
    assert f"due again at once {PAST_IN_A_ROW} times in a row" in caplog.text


def test_key_that_became_due_while_its_work_ended_is_looked_at_soon() -> None:
    async def test() -> None:
        queue = make()
        looks: list[datetime] = []

        async def reconcile(key: Key) -> datetime | None:
            looks.append(datetime.now(UTC))
            return looks[0] if len(looks) == 1 else None

        async with working(queue, reconcile):
            queue.add(A)
            await until_idle(queue)
        assert len(looks) == 2

    run(test())


def test_what_is_added_again_and_again_before_the_loops_turn_is_one_call_of_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One event may name thousands, and events come faster than the loop turns: calls that wait would add up."""

    async def test() -> None:
        loop, calls = asyncio.get_running_loop(), Counter[str]()
        ask = loop.call_soon_threadsafe
        monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *call: (calls.update(["call"]), ask(*call))[1])
        looks: Counter[Key] = Counter()

        async def reconcile(key: Key) -> None:
            looks[key] += 1

        queue = make()
        async with working(queue, reconcile):
            for _ in range(1000):
                for key in KEYS:
                    queue.add(key)
                    queue.add_changed(key)
            assert calls["call"] == 1
            await until_idle(queue)
            queue.add(A)
            assert calls["call"] == 2
            await until_idle(queue)
        assert set(looks) == set(KEYS)
        assert looks[A] >= 2

    run(test())


def test_a_key_that_is_gone_and_added_again_is_looked_at() -> None:
    async def test() -> None:
        looks: Counter[Key] = Counter()

        async def reconcile(key: Key) -> None:
            looks[key] += 1

        queue = make()
        async with working(queue, reconcile):
            for _ in range(2):
                queue.forget(A)
                queue.add_changed(A)
            await until_idle(queue)
        assert looks[A] == 1

    run(test())
