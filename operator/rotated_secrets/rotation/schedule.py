"""Schedule expressions of AWS, in UTC: when a rotation is due.

Must not know resources or clocks: every function takes the time it needs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Protocol

from aws_croniter import AwsCroniter
from aws_croniter.exceptions import AwsCroniterExpressionError

from rotated_secrets.api.schedule_grammar import CRON_PATTERN, RATE_PATTERN

AWS_MINIMUM = timedelta(hours=4)
"""AWS rotates a secret "as often as every four hours" (RotationRulesType, Secrets Manager API Reference)."""

_RATE = re.compile(RATE_PATTERN)
_CRON = re.compile(CRON_PATTERN)
_FIRST_LOOK_BACK = timedelta(days=2)
"""How far back the last due time is looked for first."""
_CHECKED_OCCURRENCES = 400
"""Number of due times of a cron expression that are checked for the shortest gap: a year of daily ones."""


class InvalidSchedule(Exception):
    """The expression is not valid, is never due or is due too often; the message says what to write instead."""


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


@dataclass(frozen=True)
class Cron:
    """``cron(0 2 ? * SUN *)``: AWS's six fields, in UTC."""

    fields: str

    def next_after(self, moment: datetime) -> datetime | None:
        following: datetime | None = _croniter(self.fields).get_next(moment.astimezone(UTC))[0]
        return following

    def last_due(self, after: datetime, now: datetime) -> datetime | None:
        # The library's own search for the previous one skips months, and then disagrees with that for the next one.
        back = _FIRST_LOOK_BACK
        while True:
            begin = max(after, now - back)
            latest = None
            following = self.next_after(begin)
            while following is not None and following <= now:
                latest, following = following, self.next_after(following)
            if latest is not None or begin == after:
                return latest
            back *= 4

    def shortest_gap(self) -> timedelta | None:
        start = datetime(2024, 1, 1, tzinfo=UTC)  # fixed, so that an expression is always judged the same way
        due = [time for time in _croniter(self.fields).get_next(start, _CHECKED_OCCURRENCES) if time is not None]
        return min((later - earlier for earlier, later in pairwise(due)), default=timedelta.max) if due else None


@lru_cache(maxsize=4096)
def parse_schedule(expression: str, minimum: timedelta = AWS_MINIMUM) -> Schedule:
    """Parse ``rate(…)`` or ``cron(…)``.

    Args:
        expression: as in AWS's RotationRulesType; minutes are allowed in addition to AWS's hours and days.
        minimum: the shortest allowed time between two rotations.

    Raises:
        InvalidSchedule: see there.
    """
    schedule = _read(expression)
    shortest = schedule.shortest_gap()
    if shortest is None:
        raise InvalidSchedule(f"schedule {expression} is never due; check its day, month and year")
    if shortest < minimum:
        raise InvalidSchedule(
            f"schedule {expression} rotates every {shortest}, more often than the operator's minimum of {minimum}; "
            "write a longer interval, or ask the operator's administrator to lower the minimum"
        )
    return schedule


def _read(expression: str) -> Schedule:
    if _RATE.fullmatch(expression):
        count, unit = _argument(expression).split()
        return Rate(timedelta(**{f"{unit.removesuffix('s')}s": int(count)}))
    if _CRON.fullmatch(expression):
        fields = " ".join(_argument(expression).split())
        try:
            AwsCroniter(fields)
        except (AwsCroniterExpressionError, ValueError) as error:
            raise InvalidSchedule(f"schedule {expression} is not understood: {error}") from error
        return Cron(fields)
    raise InvalidSchedule(
        f"schedule {expression} is not understood; write rate(10 days), rate(12 hours) "
        "or six fields as in cron(0 2 ? * SUN *)"
    )


def _argument(expression: str) -> str:
    """Return the text between the parentheses."""
    return expression.partition("(")[2].removesuffix(")")


@lru_cache(maxsize=4096)
def _croniter(fields: str) -> AwsCroniter:
    return AwsCroniter(fields)
