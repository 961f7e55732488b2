"""A table of schedule expressions with their next due times after Sunday, 2026-11-22, 12:00 UTC.

The due times were not computed by the product: each line was made from a rule that was written by hand from the words
of the source, asked of every day and hour in turn.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rotated_secrets.rotation.schedule import InvalidSchedule, parse_schedule

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NEVER_TOO_OFTEN = timedelta(0)

SECRETS_MANAGER = """
cron(0 /8 * * ? *) = 2026-11-22T16:00 2026-11-23T00:00 2026-11-23T08:00
cron(0 8/8 * * ? *) = 2026-11-22T16:00 2026-11-23T08:00 2026-11-23T16:00
cron(0 2/10 * * ? *) = 2026-11-22T22:00 2026-11-23T02:00 2026-11-23T12:00
cron(0 4/12 * * ? *) = 2026-11-22T16:00 2026-11-23T04:00 2026-11-23T16:00
cron(0 10 * * ? *) = 2026-11-23T10:00 2026-11-24T10:00 2026-11-25T10:00
cron(0 18 ? * SAT *) = 2026-11-28T18:00 2026-12-05T18:00 2026-12-12T18:00
cron(0 8 1 * ? *) = 2026-12-01T08:00 2027-01-01T08:00 2027-02-01T08:00
cron(0 1 ? 1/3 SUN#1 *) = 2027-01-03T01:00 2027-04-04T01:00 2027-07-04T01:00
cron(0 17 L * ? *) = 2026-11-30T17:00 2026-12-31T17:00 2027-01-31T17:00
cron(0 8 ? * MON-FRI *) = 2026-11-23T08:00 2026-11-24T08:00 2026-11-25T08:00
cron(0 16 1,15 * ? *) = 2026-12-01T16:00 2026-12-15T16:00 2027-01-01T16:00
cron(0 0 ? * SUN#1 *) = 2026-12-06T00:00 2027-01-03T00:00 2027-02-07T00:00
cron(0 0 ? 1/11 2#1 *) = 2026-12-07T00:00 2027-01-04T00:00 2027-12-06T00:00
cron(0 21 L * ? *) = 2026-11-30T21:00 2026-12-31T21:00 2027-01-31T21:00
cron(0 0 1-15 * ? *) = 2026-12-01T00:00 2026-12-02T00:00 2026-12-03T00:00
cron(0 0 1/2 * ? *) = 2026-11-23T00:00 2026-11-25T00:00 2026-11-27T00:00
cron(0 0 1/10 * ? *) = 2026-12-01T00:00 2026-12-11T00:00 2026-12-21T00:00
cron(0 0 SUNL * ? *) = 2026-11-29T00:00 2026-12-27T00:00 2027-01-31T00:00
cron(0 0 ? * SUNL *) = 2026-11-29T00:00 2026-12-27T00:00 2027-01-31T00:00
cron(0 0 1 JAN,APR,JUL,OCT ? *) = 2027-01-01T00:00 2027-04-01T00:00 2027-07-01T00:00
cron(0 0 1 1-3 ? *) = 2027-01-01T00:00 2027-02-01T00:00 2027-03-01T00:00
cron(0 0 1 1/3 ? *) = 2027-01-01T00:00 2027-04-01T00:00 2027-07-01T00:00
cron(0 0 ? * TUE#3 *) = 2026-12-15T00:00 2027-01-19T00:00 2027-02-16T00:00
cron(0 0 ? * 1,4 *) = 2026-11-25T00:00 2026-11-29T00:00 2026-12-02T00:00
cron(0 0 ? * 1-4 *) = 2026-11-23T00:00 2026-11-24T00:00 2026-11-25T00:00
cron(0 0 ? * 1/2 *) = 2026-11-24T00:00 2026-11-26T00:00 2026-11-28T00:00
cron(0 0 ? * L *) = 2026-11-28T00:00 2026-12-05T00:00 2026-12-12T00:00
cron(0 0 ? * * *) = 2026-11-23T00:00 2026-11-24T00:00 2026-11-25T00:00
cron(0 0 * * ? *) = 2026-11-23T00:00 2026-11-24T00:00 2026-11-25T00:00
cron(0 2 ? * SUN *) = 2026-11-29T02:00 2026-12-06T02:00 2026-12-13T02:00
cron(0 2 ? * MON-FRI/2 *) = 2026-11-23T02:00 2026-11-25T02:00 2026-11-27T02:00
cron(0 2 ? * 2-6/2 *) = 2026-11-23T02:00 2026-11-25T02:00 2026-11-27T02:00
cron(0 2 ? * 1/3 *) = 2026-11-25T02:00 2026-11-28T02:00 2026-11-29T02:00
cron(0 2 ? * MON/3 *) = 2026-11-23T02:00 2026-11-26T02:00 2026-11-30T02:00
cron(0 2 ? * /2 *) = 2026-11-24T02:00 2026-11-26T02:00 2026-11-28T02:00
cron(0 2 ? * */3 *) = 2026-11-25T02:00 2026-11-28T02:00 2026-11-29T02:00
cron(0 2 ? * MON,WED,FRI *) = 2026-11-23T02:00 2026-11-25T02:00 2026-11-27T02:00
cron(0 2 ? * MON-TUE,SAT *) = 2026-11-23T02:00 2026-11-24T02:00 2026-11-28T02:00
cron(0 2 ? * MON-TUE,THU-FRI *) = 2026-11-23T02:00 2026-11-24T02:00 2026-11-26T02:00
cron(0 2 ? * 7 *) = 2026-11-28T02:00 2026-12-05T02:00 2026-12-12T02:00
cron(0 2 ? * 1L *) = 2026-11-29T02:00 2026-12-27T02:00 2027-01-31T02:00
cron(0 2 ? * 6L *) = 2026-11-27T02:00 2026-12-25T02:00 2027-01-29T02:00
cron(0 2 ? * SATL *) = 2026-11-28T02:00 2026-12-26T02:00 2027-01-30T02:00
cron(0 2 MONL * ? *) = 2026-11-30T02:00 2026-12-28T02:00 2027-01-25T02:00
cron(0 10 ? FEB,MAY,AUG,NOV TUE#2 *) = 2027-02-09T10:00 2027-05-11T10:00 2027-08-10T10:00
cron(0 2 ? 12 MON *) = 2026-12-07T02:00 2026-12-14T02:00 2026-12-21T02:00
cron(0 2 31 * ? *) = 2026-12-31T02:00 2027-01-31T02:00 2027-03-31T02:00
cron(0 2 30 * ? *) = 2026-11-30T02:00 2026-12-30T02:00 2027-01-30T02:00
cron(0 2 29 2 ? *) = 2028-02-29T02:00 2032-02-29T02:00 2036-02-29T02:00
cron(0 2 29-31 * ? *) = 2026-11-29T02:00 2026-11-30T02:00 2026-12-29T02:00
cron(0 2 */5 * ? *) = 2026-11-26T02:00 2026-12-01T02:00 2026-12-06T02:00
cron(0 2 /5 * ? *) = 2026-11-26T02:00 2026-12-01T02:00 2026-12-06T02:00
cron(0 2 5/7 * ? *) = 2026-11-26T02:00 2026-12-05T02:00 2026-12-12T02:00
cron(0 2 5-20/7 * ? *) = 2026-12-05T02:00 2026-12-12T02:00 2026-12-19T02:00
cron(0 2 1,10-12,20/5 * ? *) = 2026-11-25T02:00 2026-11-30T02:00 2026-12-01T02:00
cron(0 2 1-5,25-31/3 * ? *) = 2026-11-25T02:00 2026-11-28T02:00 2026-12-01T02:00
cron(0 2 15,15,1 * ? *) = 2026-12-01T02:00 2026-12-15T02:00 2027-01-01T02:00
cron(0 2 L 2 ? *) = 2027-02-28T02:00 2028-02-29T02:00 2029-02-28T02:00
cron(0 2 1 DEC ? *) = 2026-12-01T02:00 2027-12-01T02:00 2028-12-01T02:00
cron(0 2 1 */6 ? *) = 2027-01-01T02:00 2027-07-01T02:00 2028-01-01T02:00
cron(0 2 1 /6 ? *) = 2027-01-01T02:00 2027-07-01T02:00 2028-01-01T02:00
cron(0 2 1 FEB/3 ? *) = 2027-02-01T02:00 2027-05-01T02:00 2027-08-01T02:00
cron(0 2 1 1-3,SEP ? *) = 2027-01-01T02:00 2027-02-01T02:00 2027-03-01T02:00
cron(0 2 31 2-4 ? *) = 2027-03-31T02:00 2028-03-31T02:00 2029-03-31T02:00
cron(0 2 31 4,6,8 ? *) = 2027-08-31T02:00 2028-08-31T02:00 2029-08-31T02:00
cron(0 2 * 4 ? *) = 2027-04-01T02:00 2027-04-02T02:00 2027-04-03T02:00
cron(0 0 ? * 1 *) = 2026-11-29T00:00 2026-12-06T00:00 2026-12-13T00:00
cron(0 23 * * ? *) = 2026-11-22T23:00 2026-11-23T23:00 2026-11-24T23:00
cron(0 */6 * * ? *) = 2026-11-22T18:00 2026-11-23T00:00 2026-11-23T06:00
cron(0 0/6 * * ? *) = 2026-11-22T18:00 2026-11-23T00:00 2026-11-23T06:00
cron(0 3/5 * * ? *) = 2026-11-22T13:00 2026-11-22T18:00 2026-11-22T23:00
cron(0 20/12 * * ? *) = 2026-11-22T20:00 2026-11-23T20:00 2026-11-24T20:00
cron(0 /23 ? * TUE *) = 2026-11-24T00:00 2026-11-24T23:00 2026-12-01T00:00
"""
"""Source: examples and fields of "Rotation schedules", Secrets Manager User Guide. `0 0 ? * L *` is "the last day of
the week"; `SUNL`, "the last Sunday of the month", is in its row for Day-of-month, and in EventBridge's for Day-of-week.
"""

EVENTBRIDGE = """
cron(0 2 ? * 3#2 *) = 2026-12-08T02:00 2027-01-12T02:00 2027-02-09T02:00
cron(0 2 ? * 5#3 *) = 2026-12-17T02:00 2027-01-21T02:00 2027-02-18T02:00
cron(0 2 ? * FRI#5 *) = 2027-01-29T02:00 2027-04-30T02:00 2027-07-30T02:00
cron(0 2 ? 2 1#5 *) = 2032-02-29T02:00 2060-02-29T02:00 2088-02-29T02:00
cron(0 2 3W * ? *) = 2026-12-03T02:00 2027-01-04T02:00 2027-02-03T02:00
cron(0 2 1W * ? *) = 2026-12-01T02:00 2027-01-01T02:00 2027-02-01T02:00
cron(0 2 15W * ? *) = 2026-12-15T02:00 2027-01-15T02:00 2027-02-15T02:00
cron(0 2 31W * ? *) = 2026-12-31T02:00 2027-01-29T02:00 2027-03-31T02:00
cron(0 2,14 * * ? *) = 2026-11-22T14:00 2026-11-23T02:00 2026-11-23T14:00
cron(0 14,2 * * ? *) = 2026-11-22T14:00 2026-11-23T02:00 2026-11-23T14:00
cron(0 08-20/6 * * ? *) = 2026-11-22T14:00 2026-11-22T20:00 2026-11-23T08:00
cron(30 2 * * ? *) = 2026-11-23T02:30 2026-11-24T02:30 2026-11-25T02:30
cron(15,45 2 ? * TUE *) = 2026-11-24T02:15 2026-11-24T02:45 2026-12-01T02:15
cron(/20 2 ? * TUE *) = 2026-11-24T02:00 2026-11-24T02:20 2026-11-24T02:40
cron(1/10 2 ? * TUE *) = 2026-11-24T02:01 2026-11-24T02:11 2026-11-24T02:21
cron(59 23 L * ? *) = 2026-11-30T23:59 2026-12-31T23:59 2027-01-31T23:59
"""
"""Source: "Cron expressions reference", Amazon EventBridge User Guide: minutes, lists of hours, W, numbers with #."""

QUARTZ = """
cron(0 2 ? * sun *) = 2026-11-29T02:00 2026-12-06T02:00 2026-12-13T02:00
cron(0 2 ? * Mon-Fri *) = 2026-11-23T02:00 2026-11-24T02:00 2026-11-25T02:00
cron(0 2 ? * FRI-MON *) = 2026-11-23T02:00 2026-11-27T02:00 2026-11-28T02:00
cron(0 2 ? * 6-2 *) = 2026-11-23T02:00 2026-11-27T02:00 2026-11-28T02:00
cron(0 2 ? * FRI-MON/2 *) = 2026-11-27T02:00 2026-11-29T02:00 2026-12-04T02:00
cron(0 2 ? * MON-4 *) = 2026-11-23T02:00 2026-11-24T02:00 2026-11-25T02:00
cron(0 2 ? * l *) = 2026-11-28T02:00 2026-12-05T02:00 2026-12-12T02:00
cron(0 2 ? * friL *) = 2026-11-27T02:00 2026-12-25T02:00 2027-01-29T02:00
cron(0 2 ? * sat#1 *) = 2026-12-05T02:00 2027-01-02T02:00 2027-02-06T02:00
cron(0 2 28-3 * ? *) = 2026-11-28T02:00 2026-11-29T02:00 2026-11-30T02:00
cron(0 2 01,07 * ? *) = 2026-12-01T02:00 2026-12-07T02:00 2027-01-01T02:00
cron(0 2 l * ? *) = 2026-11-30T02:00 2026-12-31T02:00 2027-01-31T02:00
cron(0 2 L-1 * ? *) = 2026-11-29T02:00 2026-12-30T02:00 2027-01-30T02:00
cron(0 2 L-3 * ? *) = 2026-11-27T02:00 2026-12-28T02:00 2027-01-28T02:00
cron(0 2 L-30 * ? *) = 2026-12-01T02:00 2027-01-01T02:00 2027-03-01T02:00
cron(0 2 LW * ? *) = 2026-11-30T02:00 2026-12-31T02:00 2027-01-29T02:00
cron(0 2 lw 1/3 ? *) = 2027-01-29T02:00 2027-04-30T02:00 2027-07-30T02:00
cron(0 2 30w * ? *) = 2026-11-30T02:00 2026-12-30T02:00 2027-01-29T02:00
cron(0 2 1 dec-feb ? *) = 2026-12-01T02:00 2027-01-01T02:00 2027-02-01T02:00
cron(0 2 1 11-2 ? *) = 2026-12-01T02:00 2027-01-01T02:00 2027-02-01T02:00
cron(0 2 1 jan-Jun/2 ? *) = 2027-01-01T02:00 2027-03-01T02:00 2027-05-01T02:00
cron(0 22-2/4 ? * TUE *) = 2026-11-24T02:00 2026-11-24T22:00 2026-12-01T02:00
"""
"""Source: CronExpression of Quartz, whose syntax AWS has: either case, ranges over the end of a field, LW and L-3."""

TABLE = [line.split(" = ") for table in (SECRETS_MANAGER, EVENTBRIDGE, QUARTZ) for line in table.strip().splitlines()]


def test_the_table_has_a_hundred_expressions() -> None:
    assert len({expression for expression, _ in TABLE}) == len(TABLE) > 100


@pytest.mark.parametrize(("expression", "due"), TABLE)
def test_due_times_are_those_of_aws(expression: str, due: str) -> None:
    schedule = parse_schedule(expression, NEVER_TOO_OFTEN)
    found, moment = [], NOON
    for _ in range(3):
        following = schedule.next_after(moment)
        assert following is not None
        found.append(following)
        moment = following
    assert [f"{each:%Y-%m-%dT%H:%M}" for each in found] == due.split()
    assert schedule.last_due(NOON, found[2]) == found[2]
    assert schedule.last_due(NOON, found[2] - timedelta(microseconds=1)) == found[1]
    assert schedule.last_due(NOON, found[0] - timedelta(microseconds=1)) is None


@pytest.mark.parametrize(
    "fields",
    [
        # minutes and hours
        *("60 2 * * ? *", "-1 2 * * ? *", "? 2 * * ? *", "0 24 * * ? *", "0 /24 * * ? *", "0 2/0 * * ? *"),
        *("0 L * * ? *", "0 1,,2 * * ? *", "0 , * * ? *", "0 *-5 * * ? *", "0 5-* * * ? *", "0 002 * * ? *"),
        # day of month
        *("0 2 0 * ? *", "0 2 32 * ? *", "0 2 W * ? *", "0 2 32W * ? *", "0 2 0W * ? *", "0 2 L,15 * ? *"),
        *("0 2 15W,20 * ? *", "0 2 L-32 * ? *", "0 2 SUN * ? *", "0 2 1L * ? *", "0 2 LW-3 * ? *", "0 2 1#1 * ? *"),
        # month
        *("0 2 1 0 ? *", "0 2 1 13 ? *", "0 2 1 /13 ? *", "0 2 1 MONDAY ? *", "0 2 1 SUN ? *", "0 2 1 ? ? *"),
        # day of week
        *("0 2 ? * 0 *", "0 2 ? * 8 *", "0 2 ? * JAN *", "0 2 ? * SUNDAY *", "0 2 ? * 1/8 *", "0 2 ? * SUN-/2 *"),
        *("0 2 ? * FRI#6 *", "0 2 ? * FRI#0 *", "0 2 ? * MON#1,WED#3 *", "0 2 ? * L-3 *", "0 2 ? * SUNL,MON *"),
        *("0 2 ? * FRI#L *", "0 2 ? * 3W *", "0 2 ? * MON--TUE *", "0 2 ? * -MON *", "0 2 ? * 8L *"),
    ],
)
def test_field_that_aws_does_not_know_is_refused_by_its_name(fields: str) -> None:
    with pytest.raises(InvalidSchedule, match=r"(minutes|hours|day-of-month|month|day-of-week) \S+ is not understood"):
        parse_schedule(f"cron({fields})", NEVER_TOO_OFTEN)


@pytest.mark.parametrize("year", ["2020", "2026", "2027", "2027-2030", "1970-2199", "*/2", "?"])
def test_year_is_refused_because_the_schedule_would_end(year: str) -> None:
    with pytest.raises(InvalidSchedule, match=r"year \S+ is not allowed; write \*"):
        parse_schedule(f"cron(0 2 ? * SUN {year})")


@pytest.mark.parametrize("fields", ["0 2 ? * ? *", "0 2 * * * *", "0 2 1 * SUN *"])
def test_one_of_the_days_must_be_a_question_mark(fields: str) -> None:
    with pytest.raises(InvalidSchedule, match="question mark"):
        parse_schedule(f"cron({fields})")


@pytest.mark.parametrize("fields", ["0 2 30 2 ? *", "0 2 31 2,4,6,9,11 ? *", "0 2 L-31 * ? *", "0 2 31W FEB ? *"])
def test_day_that_no_month_has_is_refused(fields: str) -> None:
    with pytest.raises(InvalidSchedule, match="is never due"):
        parse_schedule(f"cron({fields})")


@pytest.mark.parametrize("rate", ["999999 days", "1000 days", "23977 hours", "1438561 minutes", "1000000 days"])
def test_rate_beyond_awss_maximum_is_refused(rate: str) -> None:
    with pytest.raises(InvalidSchedule, match="999 days"):
        parse_schedule(f"rate({rate})")


@pytest.mark.parametrize("rate", ["999 days", "23976 hours", "1438560 minutes"])
def test_rate_of_awss_maximum_is_taken(rate: str) -> None:
    assert parse_schedule(f"rate({rate})").next_after(NOON) == NOON + timedelta(days=999)
