"""Everything about one RotatedSecret, in the order in which it is asked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotated_secrets.api.status import ConditionType, Outcome, Reason, Retiring, RotatedSecretStatus, Step
from rotated_secrets.cli.kube.rotated_secret import RotatedSecretView
from rotated_secrets.cli.view.description import description
from rotated_secrets.cli.view.due_times import due_times
from rotated_secrets.cli.view.history import past_attempts
from rotated_secrets.cli.view.printer import UNLIMITED
from tests.support.cli.resource_builders import FIRST, NOW, SECOND, claim_of, entry_of, status_of, text_of, view_of

LONG = "held: 3 sessions of user orders in database shop; " + "they end when pods restart, " * 8


def text_of_description(seen: RotatedSecretView, width: int = UNLIMITED) -> str:
    return text_of(description(seen, due_times(seen, NOW), NOW, width=width), width)


def test_a_resource_that_is_well() -> None:
    output = text_of_description(view_of(status_of(history=(entry_of(),)), schedule="rate(4 days)"))
    assert output.startswith("shop/orders-db  Ready\n")
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
        assert line in output.splitlines()
    assert "Held\n" not in output


def test_a_hold_says_why_for_how_long_and_what_ends_it() -> None:
    held = status_of({ConditionType.HELD: (True, Reason.UNSYNCED, LONG)}, rotation=claim_of(step=Step.CREATE))
    output = text_of_description(view_of(held))
    assert "held: Unsynced" in output.splitlines()[0]
    assert "Unsynced for 5m, until that has changed; then it goes on by itself" in output
    assert output.count(LONG.strip().removeprefix("held: ")) == 2
    assert "Waiting to rotate" in output


def test_a_suspended_resource_says_so_everywhere_it_matters() -> None:
    suspended = {ConditionType.HELD: (True, Reason.SUSPENDED, "held: rotation.suspend is true")}
    output = text_of_description(view_of(status_of(suspended), suspend=True, schedule="rate(4 days)"))
    assert "Suspended for 5m, until it is resumed" in output
    assert "none of them starts while it is suspended" in output


def test_a_running_rotation_shows_its_step_and_its_trouble() -> None:
    trouble = {ConditionType.ROTATED: (False, Reason.SET_FAILED, "the database is down; it is tried again")}
    output = text_of_description(view_of(status_of(trouble, rotation=claim_of())))
    assert f"SetFailed, retries  Annotation, attempt 1 since 2026-11-22 11:59:58 to version {SECOND}" in output
    assert "the database is down; it is tried again" in output


def test_a_failed_attempt_says_when_the_next_one_begins() -> None:
    status = status_of(
        {ConditionType.ROTATED: (False, Reason.ROLLED_BACK, "attempt 1")},
        rotation=claim_of(attempt=2, step=Step.CREATE, version_id=None),
        history=(entry_of(Outcome.ROLLED_BACK, step=Step.TEST, attempt=2, message="refused"),),
        next_rotation_time=NOW + timedelta(seconds=40),
    )
    output = text_of_description(view_of(status, schedule="rate(4 days)"))
    assert "the next attempt is in 40s" in output
    assert "✗ 2026-11-22 10:00:00  2h ago  RolledBack at TestSecret  1.2s" in output
    assert "Schedule, attempt 2, user orders_clone: refused" in output
    assert "in 40s, attempt 2 of the one that failed" in output


def test_an_old_password_and_a_secret_that_lags_are_told() -> None:
    retiring = Retiring(version_id=FIRST, user="orders", after=NOW + timedelta(hours=1))
    output = text_of_description(view_of(status_of(current_version_id=SECOND, retiring=retiring)))
    assert f"orders-db  holds version {FIRST}" in output
    assert "of user orders works beside the new one until Sun 2026-11-22 13:00 UTC" in output


def test_a_resource_that_nobody_looked_at_yet() -> None:
    output = text_of_description(view_of(RotatedSecretStatus(), schedule="rate(4 days)"))
    assert "none yet: the operator has not looked at it" in output
    assert "not known yet: the operator has not looked at the schedule" in output


@pytest.mark.parametrize("width", [40, 80, 120])
def test_words_are_broken_to_fit_and_none_is_lost(width: int) -> None:
    held = status_of({ConditionType.HELD: (True, Reason.UNSYNCED, LONG)}, history=(entry_of(message=LONG),))
    printed = text_of_description(view_of(held, schedule="rate(4 days)"), width)
    assert max(map(len, printed.splitlines())) <= width
    assert "".join(printed.split()).count("".join(LONG.split())) >= 1
    assert "…" not in printed


def test_history_without_rotations_says_so() -> None:
    assert text_of(past_attempts((), NOW)) == "none yet"
