"""Schedule expressions of AWS, in UTC: when a rotation is due.

Must not know resources or clocks: every function takes the time it needs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Protocol

from rotated_secrets.api.schedule_grammar import CRON_PATTERN, RATE_PATTERN
from rotated_secrets.rotation.cron import InvalidCron, parse_cron

AWS_MINIMUM = timedelta(hours=4)
"""AWS rotates a secret "as often as every four hours" (RotationRulesType, Secrets Manager API Reference)."""
AWS_MAXIMUM = timedelta(days=999)
"""AWS's "maximum rotation period is 999 days" ("Rotation schedules", Secrets Manager User Guide)."""

_RATE = re.compile(RATE_PATTERN)
_CRON = re.compile(CRON_PATTERN)


class InvalidSchedule(Exception):
    """The expression is not valid, never due, or due too often or too seldom; the message says what to write."""


class Schedule(Protocol):
    """A valid schedule expression, parsed."""

    def next_after(self, moment: datetime) -> datetime | None:
        """The first due time later than ``moment``; None if there is none."""

    def last_due(self, after: datetime, now: datetime) -> datetime | None:
        """The last due time after ``after`` and not after ``now``: several missed ones count as one."""

    def shortest_gap(self) -> timedelta | None:
        """The shortest time between two due times; None if there is no due time."""


@dataclass(frozen=True)
class Rate:
    """``rate(10 days)``: due this long after the last rotation."""

    interval: timedelta

    def next_after(self, moment: datetime) -> datetime | None:
        return moment + self.interval

    def last_due(self, after: datetime, now: datetime) -> datetime | None:
        missed = (now - after) // self.interval
        return after + missed * self.interval if missed > 0 else None

    def shortest_gap(self) -> timedelta | None:
        return self.interval


@lru_cache(maxsize=4096)
def parse_schedule(expression: str, minimum: timedelta = AWS_MINIMUM) -> Schedule:
    """Parse ``rate(…)`` or ``cron(…)``.

    Args:
        expression: as in AWS's RotationRulesType; docs/schedules.md says what is allowed beyond it.
        minimum: the shortest allowed time between two rotations.

    Raises:
        InvalidSchedule: see there.
    """
    schedule = _read(expression)
    shortest = schedule.shortest_gap()
    if shortest is None:
        raise InvalidSchedule(f"schedule {expression} is never due; check its day and month")
    if shortest < minimum:
        raise InvalidSchedule(
            f"schedule {expression} rotates every {shortest}, more often than the operator's minimum of {minimum}; "
            "write a longer interval, or ask the operator's administrator to lower the minimum"
        )
    return schedule


def _read(expression: str) -> Schedule:
    if _RATE.fullmatch(expression):
        count, unit = _argument(expression).split()
        rate = Rate(timedelta(**{f"{unit.removesuffix('s')}s": int(count)}))
        if rate.interval > AWS_MAXIMUM:
            raise InvalidSchedule(f"schedule {expression} is longer than AWS's maximum; write at most rate(999 days)")
        return rate
    if _CRON.fullmatch(expression):
        try:
            return parse_cron(_argument(expression))
        except InvalidCron as error:
            raise InvalidSchedule(f"schedule {expression} is not understood: {error}") from error
    raise InvalidSchedule(
        f"schedule {expression} is not understood; write rate(10 days), rate(12 hours) "
        "or six fields as in cron(0 2 ? * SUN *); a rate is at most 999 days"
    )


def _argument(expression: str) -> str:
    """Return the text between the parentheses."""
    return expression.partition("(")[2].removesuffix(")")
