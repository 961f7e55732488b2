"""The heap of due times, compared with the simplest model of it: a dictionary."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rotated_secrets.api.key import Key
from rotated_secrets.controller.work.scheduler import JUMP, Scheduler
from tests.support.examples import examples

START = datetime(2026, 11, 22, tzinfo=UTC)
keys = st.sampled_from([Key("shop", str(n)) for n in range(5)])


class DueTimes(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.scheduler = Scheduler(lambda key: None, lambda: self.now)
        self.model: dict[Key, datetime] = {}

    @rule(key=keys, seconds=st.integers(-5, 50))
    def set(self, key: Key, seconds: int) -> None:
        when = self.now + timedelta(seconds=seconds)
        self.scheduler.set(key, when)
        self.model[key] = when

    @rule(key=keys)
    def clear(self, key: Key) -> None:
        self.scheduler.clear(key)
        self.model.pop(key, None)

    @rule(seconds=st.integers(0, 30))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def what_is_due_comes_out_once_in_order(self) -> None:
        due = [key for key, when in self.model.items() if when <= self.now]
        popped = self.scheduler.pop_due()
        assert sorted(popped) == sorted(due)
        assert [self.model[key] for key in popped] == sorted(self.model[key] for key in due)
        for key in due:
            del self.model[key]

    @rule(key=keys)
    def many_changes_of_one_key_leave_no_trail(self, key: Key) -> None:
        for n in range(200):
            self.scheduler.set(key, self.now + timedelta(seconds=n))
        self.model[key] = self.now + timedelta(seconds=199)
        assert len(self.scheduler._heap) < 100

    @invariant()
    def the_latest_due_time_counts(self) -> None:
        assert {key: self.scheduler.when(key) for key in self.model} == self.model
        assert len(self.scheduler) == len(self.model)


DueTimes.TestCase.settings = examples(50, stateful_step_count=30)
TestDueTimes = DueTimes.TestCase


def test_an_earlier_due_time_wakes_the_sleeping_task() -> None:
    async def test() -> None:
        handed: asyncio.Queue[Key] = asyncio.Queue()
        scheduler = Scheduler(handed.put_nowait)
        now = datetime.now(UTC)
        scheduler.set(Key("shop", "late"), now + timedelta(hours=1))
        task = asyncio.create_task(scheduler.run())
        await asyncio.sleep(0)
        scheduler.set(Key("shop", "soon"), now + timedelta(milliseconds=20))
        async with asyncio.timeout(10):
            assert await handed.get() == Key("shop", "soon")
        task.cancel()

    asyncio.run(test())


def test_what_was_planned_by_another_clock_is_due() -> None:
    """A clock was a year ahead for a second, and something was planned in that second."""
    offset = 0.0
    scheduler = Scheduler(lambda key: None, lambda: START, lambda: offset)
    before, within, after = (Key("shop", name) for name in ("before", "within", "after"))
    scheduler.set(before, START + timedelta(hours=1))
    offset = 31_536_000.0
    scheduler.set(within, START + timedelta(days=365))
    offset = 0.0
    scheduler.set(after, START + timedelta(hours=1))
    assert scheduler.pop_due() == [within]
    assert scheduler.pop_due() == []
    offset = JUMP + 1
    assert scheduler.pop_due() == [before, after]
    assert len(scheduler) == 0


def test_time_that_was_cleared_is_not_due_after_the_clock_was_set() -> None:
    offset = 0.0
    scheduler = Scheduler(lambda key: None, lambda: START, lambda: offset)
    scheduler.set(Key("shop", "orders"), START)
    scheduler.clear(Key("shop", "orders"))
    offset = JUMP + 1
    assert scheduler.pop_due() == []
