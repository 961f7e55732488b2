"""Schedule expressions: AWS's grammar in UTC, with a minimum interval."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from rotated_secrets.rotation.cron import parse_cron
from rotated_secrets.rotation.schedule import AWS_MINIMUM, InvalidSchedule, parse_schedule

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)  # a Sunday


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        ("rate(4 hours)", NOON + timedelta(hours=4)),
        ("rate(1 day)", NOON + timedelta(days=1)),
        ("rate(10 days)", NOON + timedelta(days=10)),
        ("cron(0 2 ? * SUN *)", datetime(2026, 11, 29, 2, tzinfo=UTC)),
        ("cron(0 8 1 * ? *)", datetime(2026, 12, 1, 8, tzinfo=UTC)),
        ("cron(0  0/8  * * ?  *)", datetime(2026, 11, 22, 16, tzinfo=UTC)),
    ],
)
def test_next_due_time_follows_awss_grammar(expression: str, due: datetime) -> None:
    assert parse_schedule(expression).next_after(NOON) == due


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("rate(3 hours)", "more often than the operator's minimum of 4:00:00"),
        ("cron(0 * * * ? *)", "more often than the operator's minimum"),
        ("cron(0 0,1 * * ? *)", "rotates every 1:00:00"),
        ("rate(0 days)", "write rate"),
        ("rate(ten days)", "write rate"),
        ("rate(5 weeks)", "write rate"),
        ("cron(0 2 * * * *)", "question mark"),
        ("cron(0 2 * * ?)", "6 required"),
        ("cron(0 2 31 2 ? *)", "is never due"),
        ("cron(0 2 1 1 ? 2020)", "write \\*"),
        ("0 2 * * *", "write rate"),
        ("", "write rate"),
    ],
)
def test_invalid_expression_is_refused_with_what_to_write(expression: str, message: str) -> None:
    with pytest.raises(InvalidSchedule, match=message):
        parse_schedule(expression)


def test_operator_may_allow_more_than_aws_does() -> None:
    assert parse_schedule("rate(1 minute)", timedelta(seconds=1)).next_after(NOON) == NOON + timedelta(minutes=1)


@pytest.mark.parametrize("expression", ["rate(6 hours)", "cron(0 2 ? * SUN *)", "cron(0 0/8 * * ? *)"])
@given(missed=st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=40)))
def test_of_several_missed_due_times_the_last_one_counts(expression: str, missed: timedelta) -> None:
    schedule, now = parse_schedule(expression, AWS_MINIMUM), NOON + missed
    due, last = schedule.next_after(NOON), None
    while due is not None and due <= now:
        last, due = due, schedule.next_after(due)
    assert schedule.last_due(NOON, now) == last


class Asked(tuple[time, ...]):
    """Times of a day that count how many of them are read."""

    reads = 0

    def __getitem__(self, index: Any) -> Any:
        Asked.reads += 1
        return super().__getitem__(index)

    def __iter__(self) -> Any:
        raise AssertionError("all are read")


def test_next_of_very_many_times_a_day_reads_few_of_them() -> None:
    """Who may write a schedule may write 1,440 times a day, and each look would read them 400 times."""
    often = parse_cron("0/1 0/1 ? * * *")
    asked = replace(often, times=Asked(often.times))
    for moment in (datetime(2026, 1, 1, 23, 58, tzinfo=UTC), datetime(2026, 1, 31, 23, 59, tzinfo=UTC)):
        Asked.reads = 0
        assert asked.next_after(moment) == moment + timedelta(minutes=1)
        assert Asked.reads < 20
