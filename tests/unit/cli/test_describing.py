"""Everything about one RotatedSecret, in the order in which it is asked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotated_secrets.api.status import ConditionType, Outcome, Reason, Retiring, RotatedSecretStatus, Step
from rotated_secrets.cli import describing, timeline
from rotated_secrets.cli.due import due_times
from rotated_secrets.cli.screen import UNLIMITED
from rotated_secrets.cli.seen import Seen
from tests.unit.cli.objects import FIRST, NOW, SECOND, claim_of, entry_of, seen_of, status_of, text_of

LONG = "held: 3 sessions of user orders in database shop; " + "they end when pods restart, " * 8


def told_of(seen: Seen, width: int = UNLIMITED) -> str:
    return text_of(describing.description(seen, due_times(seen, NOW), NOW, width=width), width)


def test_a_resource_that_is_well() -> None:
    told = told_of(seen_of(status_of(history=(entry_of(),)), schedule="rate(4 days)"))
    assert told.startswith("shop/orders-db  Ready\n")
    for line in (
        "  Active user      orders",
        f"  Current version  {FIRST}",
        "  Target Secret    orders-db  ✓ holds the current version",
        "  Schedule         rate(4 days)",
        "  Last rotation    Thu 2026-11-19 12:00 UTC, 3d ago, took 1.2s",
        "  ✓  Ready    CredentialWorks    5m  AWSCURRENT works",
        "  ·  Held     NotHeld            5m  no due rotation waits",
        "  ✓ 2026-11-22 10:00:00  2h ago  Succeeded  1.2s",
        "    Schedule, user orders_clone: what happened",
        "  Thu 2026-11-26 12:00 UTC  in 4d",
        "  Mon 2026-11-30 12:00 UTC  in 8d",
        "  Fri 2026-12-04 12:00 UTC  in 12d",
    ):
        assert line in told.splitlines()
    assert "Held\n" not in told


def test_a_hold_says_why_for_how_long_and_what_ends_it() -> None:
    held = status_of({ConditionType.HELD: (True, Reason.UNSYNCED, LONG)}, rotation=claim_of(step=Step.CREATE))
    told = told_of(seen_of(held))
    assert "held: Unsynced" in told.splitlines()[0]
    assert "Unsynced for 5m, until that has changed; then it goes on by itself" in told
    assert told.count(LONG.strip().removeprefix("held: ")) == 2
    assert "Waiting to rotate" in told


def test_a_suspended_resource_says_so_everywhere_it_matters() -> None:
    suspended = {ConditionType.HELD: (True, Reason.SUSPENDED, "held: rotation.suspend is true")}
    told = told_of(seen_of(status_of(suspended), suspend=True, schedule="rate(4 days)"))
    assert "Suspended for 5m, until it is resumed" in told
    assert "none of them starts while it is suspended" in told


def test_a_running_rotation_shows_its_step_and_its_trouble() -> None:
    trouble = {ConditionType.ROTATED: (False, Reason.SET_FAILED, "the database is down; it is tried again")}
    told = told_of(seen_of(status_of(trouble, rotation=claim_of())))
    assert f"SetFailed, retries  Annotation, attempt 1 since 2026-11-22 11:59:58 to version {SECOND}" in told
    assert "the database is down; it is tried again" in told


def test_a_failed_attempt_says_when_the_next_one_begins() -> None:
    status = status_of(
        {ConditionType.ROTATED: (False, Reason.ROLLED_BACK, "attempt 1")},
        rotation=claim_of(attempt=2, step=Step.CREATE, version_id=None),
        history=(entry_of(Outcome.ROLLED_BACK, step=Step.TEST, attempt=2, message="refused"),),
        next_rotation_time=NOW + timedelta(seconds=40),
    )
    told = told_of(seen_of(status, schedule="rate(4 days)"))
    assert "the next attempt is in 40s" in told
    assert "✗ 2026-11-22 10:00:00  2h ago  RolledBack at TestSecret  1.2s" in told
    assert "Schedule, attempt 2, user orders_clone: refused" in told
    assert "in 40s, attempt 2 of the one that failed" in told


def test_an_old_password_and_a_secret_that_lags_are_told() -> None:
    retiring = Retiring(version_id=FIRST, user="orders", after=NOW + timedelta(hours=1))
    told = told_of(seen_of(status_of(current_version_id=SECOND, retiring=retiring)))
    assert f"orders-db  holds version {FIRST}" in told
    assert "of user orders works beside the new one until Sun 2026-11-22 13:00 UTC" in told


def test_a_resource_that_nobody_looked_at_yet() -> None:
    told = told_of(seen_of(RotatedSecretStatus(), schedule="rate(4 days)"))
    assert "none yet: the operator has not looked at it" in told
    assert "not known yet: the operator has not looked at the schedule" in told


@pytest.mark.parametrize("width", [40, 80, 120])
def test_words_are_broken_to_fit_and_none_is_lost(width: int) -> None:
    held = status_of({ConditionType.HELD: (True, Reason.UNSYNCED, LONG)}, history=(entry_of(message=LONG),))
    printed = told_of(seen_of(held, schedule="rate(4 days)"), width)
    assert max(map(len, printed.splitlines())) <= width
    assert "".join(printed.split()).count("".join(LONG.split())) >= 1
    assert "…" not in printed


def test_a_schedule_says_what_comes_after_the_next_time() -> None:
    seen = seen_of(status_of(next_rotation_time=NOW + timedelta(hours=14)), schedule="cron(0 2 ? * MON,THU *)")
    assert [f"{each:%a %d %H:%M}" for each in due_times(seen, NOW)] == ["Mon 23 02:00", "Thu 26 02:00", "Mon 30 02:00"]


def test_what_is_overdue_counts_and_the_following_ones_are_still_to_come() -> None:
    seen = seen_of(status_of(next_rotation_time=NOW - timedelta(days=30)), schedule="cron(0 2 ? * MON *)")
    overdue, *following = due_times(seen, NOW)
    assert overdue < NOW
    assert [each.day for each in following] == [23, 30]


@pytest.mark.parametrize("schedule", [None, "rate(often)", "cron(0 2 30 2 ? *)"])
def test_no_schedule_that_can_be_read_makes_no_times_up(schedule: str | None) -> None:
    seen = seen_of(status_of(), schedule=schedule)
    assert due_times(seen, NOW) == [NOW + timedelta(days=4)]
    assert due_times(seen_of(RotatedSecretStatus(), schedule=schedule), NOW) == []


def test_history_without_rotations_says_so() -> None:
    assert text_of(timeline.past((), NOW)) == "none yet"
