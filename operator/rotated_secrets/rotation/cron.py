"""Cron expressions of AWS: six fields, in UTC.

The grammar is that of "Cron expressions" in "Rotation schedules" (Secrets Manager User Guide), and what the "Cron
expressions reference" of EventBridge has beside it: minutes, lists and ranges of hours, and `W`. What neither of them
says is as in Quartz, whose syntax both have: a range may go over the end of its field (`FRI-MON`), and a month without
the day that is named has no due time.
"""

from __future__ import annotations

import calendar
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Final

Days = Callable[[int, int], Sequence[int]]
"""The due days of a month of a year, in their order."""

_SEARCHED_YEARS: Final = 41
"""A fifth Sunday of February comes every 28 years, and after 40 over a year like 2100, which is no leap year."""
_CHECKED_OCCURRENCES: Final = 400
"""Number of due times that are checked for the shortest gap: a year of daily ones."""


class InvalidCron(ValueError):
    """The fields are not understood; the message says what to write instead."""


@dataclass(frozen=True)
class Cron:
    """``0 2 ? * SUN *``: due at some times of some days of some months."""

    fields: str
    times: tuple[time, ...] = field(compare=False)
    months: tuple[int, ...] = field(compare=False)
    days: Days = field(compare=False)

    def next_after(self, moment: datetime) -> datetime | None:
        """The first due time later than ``moment``; None if there is none."""
        moment = moment.astimezone(UTC)
        today = moment.date()
        for year in range(today.year, min(today.year + _SEARCHED_YEARS, MAXYEAR) + 1):
            for month in self.months:
                if (year, month) < (today.year, today.month):  # saves time, as all that is skipped here
                    continue
                for day in self.days(year, month):
                    if date(year, month, day) < today:
                        continue
                    due_on = date(year, month, day)
                    # Of 1,440 times a day all but some are past; a check for the shortest gap asks 400 times.
                    passed = bisect_right(self.times, moment.timetz()) if due_on == today else 0
                    if passed < len(self.times):
                        return datetime.combine(due_on, self.times[passed])
        return None

    def last_due(self, after: datetime, now: datetime) -> datetime | None:
        """The last due time after ``after`` and not after ``now``."""
        now = now.astimezone(UTC)
        today = now.date()
        for year in range(today.year, after.astimezone(UTC).year - 1, -1):
            for month in reversed(self.months):
                if (year, month) > (today.year, today.month):
                    continue
                for day in reversed(self.days(year, month)):
                    if date(year, month, day) > today:
                        continue
                    for at in reversed(self.times):
                        due = datetime.combine(date(year, month, day), at)
                        if due <= now:
                            return due if due > after else None
        return None

    def shortest_gap(self) -> timedelta | None:
        """The shortest time between two due times; None if there is no due time."""
        # From a fixed moment, so that an expression is always judged the same way.
        following = self.next_after(datetime(2024, 1, 1, tzinfo=UTC))
        due: list[datetime] = []
        while following is not None and len(due) < _CHECKED_OCCURRENCES:
            due.append(following)
            following = self.next_after(following)
        return min((later - earlier for earlier, later in pairwise(due)), default=timedelta.max) if due else None


@dataclass(frozen=True)
class _Field:
    """One of the fields: its numbers, their names, and what may be written."""

    name: str
    least: int
    most: int
    hint: str
    names: tuple[str, ...] = ()

    def members(self, text: str) -> list[int]:
        """The numbers that lists, ranges and steps mean, in their order."""
        found: set[int] = set()
        for part in text.split(","):
            read = self._part.fullmatch(part)
            if read is None:
                raise self.not_understood(text)
            every, first, last, step = read.groups()
            begin = self.least if first is None else self.number(first, text)
            # 1/3 means from 1 to the end, and /8 is */8: "every eight hours starting at midnight".
            end = begin if first and not step else self.most
            end = self.number(last, text) if last else end
            if not (every or first or step):
                raise self.not_understood(text)
            by = int(step or 1)
            if not 1 <= by <= self.most:
                raise self.not_understood(text)
            size = self.most - self.least + 1
            found |= {
                self.least + (begin - self.least + passed) % size for passed in range(0, (end - begin) % size + 1, by)
            }
        return sorted(found)

    def number(self, text: str, of: str) -> int:
        number = self.names.index(text) + 1 if text in self.names else int(text)
        if not self.least <= number <= self.most:
            raise self.not_understood(of)
        return number

    def not_understood(self, text: str) -> InvalidCron:
        return InvalidCron(f"{self.name} {text} is not understood; write {self.hint}")

    @property
    def one(self) -> str:
        """A regular expression of one number or name."""
        return "|".join(("[0-9]{1,2}", *self.names))

    @property
    def _part(self) -> re.Pattern[str]:
        return re.compile(rf"(?:([*])|({self.one})(?:-({self.one}))?)?(?:/([0-9]{{1,2}}))?")


_MINUTES = _Field("minutes", 0, 59, "0 to 59, lists, ranges or steps; AWS itself takes 0 alone")
_HOURS = _Field("hours", 0, 23, "0 to 23, lists, ranges or steps, for example 2/8")
_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTHS = _Field("month", 1, 12, "1 to 12 or JAN to DEC, lists, ranges or steps, for example 1/3", _MONTH_NAMES)
_OF_MONTH = _Field(
    "day-of-month", 1, 31, "1 to 31, lists, ranges or steps, or one of L, L-3, LW, 15W and SUNL, or ? for any day"
)
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_OF_WEEK = _Field(
    "day-of-week",
    1,
    7,
    "1 to 7 or SUN to SAT, lists, ranges or steps, or one of L, SUNL and TUE#3, or ? for any day",
    _WEEKDAYS,
)

_BEFORE_LAST = re.compile("L(?:-([0-9]{1,2}))?")
_NEAREST = re.compile("([0-9]{1,2}|L)W")
_LAST_OF_ITS_NAME = re.compile(f"({'|'.join(_WEEKDAYS)})L")
_LAST_WEEKDAY = re.compile(f"({_OF_WEEK.one})L")
_NTH = re.compile(f"({_OF_WEEK.one})#([1-5])")


def parse_cron(text: str) -> Cron:
    """Parse six fields, separated by spaces. Names and letters may have either case.

    Raises:
        InvalidCron: see there.
    """
    fields = text.upper().split()
    if len(fields) != 6:
        raise InvalidCron(
            f"6 required, {len(fields)} provided; write minutes, hours, day-of-month, month, day-of-week and year"
        )
    minutes, hours, of_month, month, of_week, year = fields
    if (of_month == "?") == (of_week == "?"):
        raise InvalidCron("one of day-of-month and day-of-week must be a question mark (?), and only one")
    if year != "*":
        # As in AWS, and a schedule that ends would leave a password unchanged for ever, without a word.
        raise InvalidCron(f"year {year} is not allowed; write *, as AWS requires it for rotations")
    return Cron(
        " ".join(fields),
        tuple(time(hour, minute, tzinfo=UTC) for hour in _HOURS.members(hours) for minute in _MINUTES.members(minutes)),
        tuple(_MONTHS.members(month)),
        _days_of_week(of_week) if of_month == "?" else _days_of_month(of_month),
    )


def _days_of_month(text: str) -> Days:
    if read := _BEFORE_LAST.fullmatch(text):
        before = _OF_MONTH.number(read[1], text) if read[1] else 0
        return lambda year, month: _existing([_last_day(year, month) - before])
    if read := _NEAREST.fullmatch(text):
        wanted = None if read[1] == "L" else _OF_MONTH.number(read[1], text)
        return lambda year, month: _nearest_weekday(year, month, wanted)
    if read := _LAST_OF_ITS_NAME.fullmatch(text):  # AWS's table has DAYL in this row
        return _days_of_week(text)
    listed = _OF_MONTH.members(text)
    return lambda year, month: [day for day in listed if day <= _last_day(year, month)]


def _days_of_week(text: str) -> Days:
    if text == "L":
        text = "SAT"
    if read := _LAST_WEEKDAY.fullmatch(text):
        last = _OF_WEEK.number(read[1], text)
        return lambda year, month: _weekdays(year, month, [last])[-1:]
    if read := _NTH.fullmatch(text):
        weekday, nth = _OF_WEEK.number(read[1], text), int(read[2])
        return lambda year, month: _weekdays(year, month, [weekday])[nth - 1 : nth]
    listed = _OF_WEEK.members(text)
    return lambda year, month: _weekdays(year, month, listed)


def _weekdays(year: int, month: int, wanted: Sequence[int]) -> list[int]:
    """The days of a month that are one of these weekdays, with 1 for Sunday."""
    first = _weekday(year, month, 1)
    return [day for day in range(1, _last_day(year, month) + 1) if (first + day - 2) % 7 + 1 in wanted]


def _nearest_weekday(year: int, month: int, wanted: int | None) -> list[int]:
    """The day from Monday to Friday that is nearest to the wanted (or the last) one, in the same month."""
    last = _last_day(year, month)
    day = last if wanted is None else wanted
    if day > last:
        return []
    weekday = _weekday(year, month, day)
    if weekday == 7:
        return [day - 1 if day > 1 else day + 2]
    if weekday == 1:
        return [day + 1 if day < last else day - 2]
    return [day]


def _existing(days: Sequence[int]) -> list[int]:
    return [day for day in days if day >= 1]


def _weekday(year: int, month: int, day: int) -> int:
    """The weekday as AWS counts: 1 is Sunday."""
    return date(year, month, day).isoweekday() % 7 + 1


def _last_day(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]
