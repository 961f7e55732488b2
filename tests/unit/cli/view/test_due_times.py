"""The next due times follow from the status and the schedule."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotated_secrets.api.status import RotatedSecretStatus
from rotated_secrets.cli.view.due_times import due_times
from tests.support.cli.resource_builders import NOW, status_of, view_of


def test_later_due_times_follow_from_the_schedule() -> None:
    resource = view_of(status_of(next_rotation_time=NOW + timedelta(hours=14)), schedule="cron(0 2 ? * MON,THU *)")
    assert [f"{each:%a %d %H:%M}" for each in due_times(resource, NOW)] == [
        "Mon 23 02:00",
        "Thu 26 02:00",
        "Mon 30 02:00",
    ]


def test_an_overdue_time_is_listed_and_the_following_ones_are_in_the_future() -> None:
    resource = view_of(status_of(next_rotation_time=NOW - timedelta(days=30)), schedule="cron(0 2 ? * MON *)")
    overdue, *following = due_times(resource, NOW)
    assert overdue < NOW
    assert [each.day for each in following] == [23, 30]


@pytest.mark.parametrize("schedule", [None, "rate(often)", "cron(0 2 30 2 ? *)"])
def test_without_a_readable_schedule_only_the_next_time_is_listed(schedule: str | None) -> None:
    resource = view_of(status_of(), schedule=schedule)
    assert due_times(resource, NOW) == [NOW + timedelta(days=4)]
    assert due_times(view_of(RotatedSecretStatus(), schedule=schedule), NOW) == []
