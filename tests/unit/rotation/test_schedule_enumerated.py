"""Due times of cron expressions, compared with a plain enumeration of all days: both directions must agree."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given

from rotated_secrets.rotation.schedule import InvalidSchedule, Schedule, parse_schedule
from tests.support.examples import examples

SEARCHED = timedelta(days=800)
NEVER_TOO_OFTEN = timedelta(0)
START = datetime(2023, 1, 1, tzinfo=UTC)
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


def members(field: str, least: int, most: int, names: list[str]) -> set[int]:
    """The numbers that a field of lists, ranges and steps means."""
    for number, name in enumerate(names, start=1):
        field = field.replace(name, str(number))
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        begin, _, end = span.partition("-")
        first = least if begin in ("*", "") else int(begin)
        last = most if begin in ("*", "") or (step and not end) else int(end or begin)
        over_the_end = [*range(first, most + 1), *range(least, last + 1)]
        found.update((range(first, last + 1) if first <= last else over_the_end)[:: int(step or 1)])
    return found


def is_last_of_its_name(day: date, name: str) -> bool:
    last = calendar.monthrange(day.year, day.month)[1]
    return day.isoweekday() % 7 + 1 in members(name, 1, 7, WEEKDAYS) and day.day + 7 > last


def is_day(day: date, of_month: str, month: str, of_week: str) -> bool:
    last = calendar.monthrange(day.year, day.month)[1]
    weekday = day.isoweekday() % 7 + 1
    if day.month not in members(month, 1, 12, MONTHS):
        return False
    if of_month == "?":
        if "#" in of_week:
            which, _, week = of_week.partition("#")
            return weekday in members(which, 1, 7, WEEKDAYS) and (day.day - 1) // 7 + 1 == int(week)
        if of_week == "L":
            return weekday == 7
        if of_week.endswith("L"):
            return is_last_of_its_name(day, of_week[:-1])
        return weekday in members(of_week, 1, 7, WEEKDAYS)
    if of_month == "LW":
        return day.day == nearest_weekday(day.year, day.month, last, last)
    if of_month.startswith("L"):
        return day.day == last - int(of_month[2:] or 0)
    if of_month.endswith("W"):
        return day.day == nearest_weekday(day.year, day.month, int(of_month[:-1]), last)
    if of_month.endswith("L"):
        return is_last_of_its_name(day, of_month[:-1])
    return day.day in members(of_month, 1, 31, [])


def nearest_weekday(year: int, month: int, day: int, last: int) -> int | None:
    """From Monday to Friday, in the same month; None if the month has no such day."""
    if day > last:
        return None
    weekdays = [each for each in range(1, last + 1) if date(year, month, each).weekday() < 5]
    return min(weekdays, key=lambda each: (abs(each - day), each))


def enumerated(expression: str, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Every due time from ``begin`` to ``end``."""
    minutes, hours, of_month, month, of_week, _ = expression.upper().removeprefix("CRON(").removesuffix(")").split()
    day = begin.date()
    while day <= end.date():
        if is_day(day, of_month, month, of_week):
            for hour in sorted(members(hours, 0, 23, [])):
                for minute in sorted(members(minutes, 0, 59, [])):
                    due = datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
                    if begin <= due <= end:
                        yield due
        day += timedelta(days=1)


def numbers(least: int, most: int, names: list[str] | None = None) -> st.SearchStrategy[str]:
    """A number or a name, a range, steps, or a list of these."""
    one = st.integers(least, most).map(str)
    if names:
        one |= st.sampled_from(names)
    span = st.tuples(one, one).map("-".join)
    # From 1 on: a step of 0 is refused.
    step = st.integers(1, most).map(str)
    stepped = st.tuples(st.sampled_from(["*", ""]) | one | span, step).map("/".join)
    part = one | span | stepped
    return st.just("*") | part | st.lists(part, min_size=2, max_size=3).map(",".join)


def of_month() -> st.SearchStrategy[str]:
    before_last = st.just("L") | st.integers(1, 30).map("L-{}".format)
    nearest = st.just("LW") | st.integers(1, 31).map("{}W".format)
    return numbers(1, 31) | before_last | nearest | st.sampled_from(WEEKDAYS).map("{}L".format)


def of_week() -> st.SearchStrategy[str]:
    one = st.integers(1, 7).map(str) | st.sampled_from(WEEKDAYS)
    weeks = st.tuples(one, st.integers(1, 5).map(str)).map("#".join)
    return numbers(1, 7, WEEKDAYS) | weeks | st.just("L") | one.map("{}L".format)


@st.composite
def expressions(draw: st.DrawFn) -> str:
    days = draw(st.tuples(of_month(), st.just("?")) | st.tuples(st.just("?"), of_week()))
    hours = draw(st.integers(0, 23).map(str) | st.sampled_from(["0/8", "/8", "2,14", "*/6", "22-4/3"]))
    written = f"cron({draw(st.integers(0, 59))} {hours} {days[0]} {draw(numbers(1, 12, MONTHS))} {days[1]} *)"
    return draw(st.sampled_from([written, written.lower()]))


def parsed(expression: str) -> Schedule | None:
    """None if it is never due: every other one of the grammar is understood."""
    try:
        return parse_schedule(expression, NEVER_TOO_OFTEN)
    except InvalidSchedule as error:
        assert "is never due" in str(error)
        return None


@examples(200)
@given(expressions(), st.integers(0, 4 * 365 * 24 * 60), st.integers(0, 500 * 24 * 60))
def test_last_and_next_due_time_are_those_of_an_enumeration(expression: str, at: int, since: int) -> None:
    schedule, now = parsed(expression), START + timedelta(minutes=at)
    after = now - timedelta(minutes=since)
    due = list(enumerated(expression, after, now + SEARCHED))
    if schedule is None:
        assert due == []
        return
    before = [each for each in due if after < each <= now]
    following = [each for each in due if each > now]
    assert schedule.last_due(after, now) == (before[-1] if before else None)
    if following:
        assert schedule.next_after(now) == following[0]


@pytest.mark.parametrize(
    ("expression", "now", "last"),
    [
        ("cron(0 2 * 4 ? *)", datetime(2026, 5, 3, tzinfo=UTC), datetime(2026, 4, 30, 2, tzinfo=UTC)),
        ("cron(0 2 1/10 SEP ? *)", datetime(2026, 10, 2, tzinfo=UTC), datetime(2026, 9, 21, 2, tzinfo=UTC)),
        ("cron(0 2 L 2 ? *)", datetime(2026, 8, 31, tzinfo=UTC), datetime(2026, 2, 28, 2, tzinfo=UTC)),
    ],
)
def test_due_time_that_was_missed_over_the_end_of_its_month_is_found(
    expression: str, now: datetime, last: datetime
) -> None:
    schedule = parse_schedule(expression)
    after = now - timedelta(days=300)
    assert schedule.last_due(after, now) == last
    assert schedule.last_due(last, now) is None
