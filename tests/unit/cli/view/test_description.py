"""``describe`` prints all details of one RotatedSecret."""

from __future__ import annotations

import re
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


def text_of_description(resource: RotatedSecretView, width: int = UNLIMITED) -> str:
    return text_of(description(resource, due_times(resource, NOW), NOW, width=width), width)


def test_a_healthy_resource() -> None:
    output = text_of_description(view_of(status_of(history=(entry_of(),)), schedule="rate(4 days)"))
    assert output.startswith("shop/orders-db  Ready\n")
    for line in (
        "  Active user      orders",
        f"  Current version  {FIRST}",
        "  Target Secret    orders-db  ✓ holds the current version",
        "  Schedule         rate(4 days)",
        "  Last rotation    Thu 2026-11-19 12:00 UTC, 3d ago, took 1.2s",
        "  ✓  Ready    CredentialWorks    5m  AWSCURRENT works",
        "  ·  Held     NotHeld            5m  no rotation is held",
        "  ✓ 2026-11-22 10:00:00  2h ago  Succeeded  1.2s",
        "    Schedule, user orders_clone: what happened",
        "  Thu 2026-11-26 12:00 UTC  in 4d",
        "  Mon 2026-11-30 12:00 UTC  in 8d",
        "  Fri 2026-12-04 12:00 UTC  in 12d",
    ):
        assert line in output.splitlines()
    assert "Held\n" not in output


@pytest.mark.parametrize(("synced", "said"), [(None, "not known now"), (False, "not as it must be")])
def test_target_secret_is_not_said_to_be_right_by_an_earlier_look(synced: bool | None, said: str) -> None:
    """The versions in the status are of the last look that came to its end."""
    status = status_of({ConditionType.SYNCED: (synced, Reason.SYNC_FAILED, "a policy does not allow it")})
    assert status.synced_version_id == status.current_version_id
    assert f"  Target Secret    orders-db  {said}" in text_of_description(view_of(status)).splitlines()


def test_a_hold_is_shown_with_its_reason_duration_and_end() -> None:
    held = status_of({ConditionType.HELD: (True, Reason.UNSYNCED, LONG)}, rotation=claim_of(step=Step.CREATE))
    output = text_of_description(view_of(held))
    assert "held: Unsynced" in output.splitlines()[0]
    assert "Unsynced for 5m, until the cause is gone; then the rotation continues" in output
    assert output.count(LONG.strip().removeprefix("held: ")) == 1
    assert re.search(r"‖  Held +Unsynced +5m  see above$", output, re.MULTILINE)
    assert "Waiting to rotate" in output


def test_suspension_is_shown_at_the_hold_and_at_the_due_times() -> None:
    suspended = {ConditionType.HELD: (True, Reason.SUSPENDED, "held: rotation.suspend is true")}
    output = text_of_description(view_of(status_of(suspended), suspend=True, schedule="rate(4 days)"))
    assert "Suspended for 5m, until it is resumed" in output
    assert "none of them starts while the resource is suspended" in output


def test_an_attempt_that_has_not_begun_is_waited_for_and_has_no_beginning() -> None:
    failed = {ConditionType.ROTATED: (False, Reason.CREATE_FAILED, "attempt 1: no")}
    again = claim_of(attempt=2, step=Step.CREATE, version_id=None)
    output = text_of_description(view_of(status_of(failed, rotation=again))).splitlines()
    assert output[output.index("Waiting to rotate") + 1] == "  retries (2/3)  Annotation, attempt 2"


def test_a_running_rotation_shows_its_step_and_its_error() -> None:
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
    assert "in 40s, attempt 2 after a failure" in output


def test_an_old_password_and_an_outdated_secret_are_shown() -> None:
    retiring = Retiring(version_id=FIRST, user="orders", after=NOW + timedelta(hours=1))
    output = text_of_description(view_of(status_of(current_version_id=SECOND, retiring=retiring)))
    assert f"orders-db  holds version {FIRST}" in output
    assert "of user orders still works until Sun 2026-11-22 13:00 UTC" in output


def test_a_resource_that_the_operator_has_not_checked_yet() -> None:
    output = text_of_description(view_of(RotatedSecretStatus(), schedule="rate(4 days)"))
    assert "none yet: the operator has not checked it" in output
    assert "not known yet: the operator has not read the schedule" in output


@pytest.mark.parametrize("width", [40, 80, 120])
def test_lines_wrap_to_the_width_and_lose_no_word(width: int) -> None:
    held = status_of({ConditionType.HELD: (True, Reason.UNSYNCED, LONG)}, history=(entry_of(message=LONG),))
    printed = text_of_description(view_of(held, schedule="rate(4 days)"), width)
    assert max(map(len, printed.splitlines())) <= width
    assert "".join(printed.split()).count("".join(LONG.removeprefix("held: ").split())) == 1
    assert "…" not in printed


def test_an_empty_history_says_so() -> None:
    assert text_of(past_attempts((), NOW)) == "none yet"


ARN = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:shop/orders-AbCdEf"
COMMAND = f"aws secretsmanager cancel-rotate-secret --secret-id {ARN}"


@pytest.mark.parametrize("width", [40, 80, 100, 200])
def test_a_command_stands_once_and_on_a_line_of_its_own(width: int) -> None:
    """Ready, Held and the history tell the same cause, each in full."""
    message = f"AWS rotates this secret itself; run {COMMAND} to have it rotated here"
    status = status_of(
        {
            ConditionType.READY: (False, Reason.INVALID_SPEC, message),
            ConditionType.HELD: (True, Reason.MANAGED_ELSEWHERE, f"held: {message}"),
        },
        history=(entry_of(Outcome.FAILED, message=message),),
    )
    output = text_of_description(view_of(status), width)
    assert [line.strip() for line in output.splitlines()].count(COMMAND) == 1
    assert output.count("AWS rotates this secret itself") == 1
    assert all(len(line) <= width for line in output.splitlines() if COMMAND not in line)
