"""The one word that `kubectl get rsec` shows, and when a rotation fails."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rotated_secrets.api.status import (
    ConditionType,
    HistoryEntry,
    Outcome,
    Reason,
    RotatedSecretStatus,
    Step,
    Trigger,
)
from rotated_secrets.rotation.state import OK, rotation_fails, state_of

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
Found = dict[ConditionType, tuple[bool | None, Reason]]
GOOD: Found = {
    ConditionType.READY: (True, Reason.CREDENTIAL_WORKS),
    ConditionType.SYNCED: (True, Reason.UP_TO_DATE),
    ConditionType.ROTATED: (True, Reason.ROTATION_SUCCEEDED),
    ConditionType.HELD: (False, Reason.NOT_HELD),
}
NOT_READY: Found = {ConditionType.READY: (False, Reason.LOGIN_FAILED)}
UNKNOWN: Found = {ConditionType.READY: (None, Reason.STORE_UNAVAILABLE)}
NOT_SYNCED: Found = {ConditionType.SYNCED: (False, Reason.NOT_OURS)}
FAILED: Found = {ConditionType.ROTATED: (False, Reason.SET_FAILED)}
HELD: Found = {ConditionType.HELD: (True, Reason.SUSPENDED)}
ROTATING: Found = {ConditionType.ROTATED: (None, Reason.ROTATING)}
NEVER: Found = {ConditionType.ROTATED: (None, Reason.NEVER_ROTATED)}
ABANDONED: Found = {ConditionType.ROTATED: (False, Reason.ABANDONED)}


def status_of(*changes: Found) -> RotatedSecretStatus:
    status = RotatedSecretStatus()
    found = dict(GOOD)
    for change in changes:
        found |= change
    for kind, (word, reason) in found.items():
        status = status.with_condition(kind, word, reason, "", now=NOON, generation=1)
    return status


def with_last(status: RotatedSecretStatus, outcome: Outcome) -> RotatedSecretStatus:
    entry = HistoryEntry(
        trigger=Trigger.SCHEDULE, started_at=NOON, finished_at=NOON, outcome=outcome, step=Step.SET, message=""
    )
    return status.with_history(entry)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ((), OK),
        ((NEVER,), OK),
        ((ABANDONED,), OK),
        ((ROTATING,), Reason.ROTATING),
        ((HELD,), Reason.SUSPENDED),
        ((HELD, ROTATING), Reason.SUSPENDED),
        ((FAILED,), Reason.SET_FAILED),
        ((FAILED, HELD), Reason.SET_FAILED),
        ((NOT_SYNCED, FAILED, HELD), Reason.NOT_OURS),
        ((NOT_READY, NOT_SYNCED, FAILED, HELD), Reason.LOGIN_FAILED),
        ((UNKNOWN, FAILED), Reason.STORE_UNAVAILABLE),
    ],
)
def test_the_state_is_the_reason_of_what_is_worst(changes: tuple[Found, ...], state: str) -> None:
    assert state_of(status_of(*changes)) == state


def test_what_was_not_looked_at_yet_is_not_called_wrong() -> None:
    assert state_of(RotatedSecretStatus()) == OK
    assert not rotation_fails(RotatedSecretStatus())


@pytest.mark.parametrize(
    ("status", "fails"),
    [
        (status_of(), False),
        (status_of(NEVER), False),
        (status_of(FAILED), True),
        (status_of({ConditionType.ROTATED: (False, Reason.RETIRE_FAILED)}), True),
        (with_last(status_of(ROTATING), Outcome.FAILED), True),
        (with_last(status_of(ROTATING, HELD), Outcome.ROLLED_BACK), True),
        (with_last(status_of(ROTATING), Outcome.SUCCEEDED), False),
        (with_last(status_of(ABANDONED), Outcome.ABANDONED), False),
    ],
)
def test_a_rotation_fails_from_its_first_failure_until_a_success(status: RotatedSecretStatus, fails: bool) -> None:
    assert rotation_fails(status) is fails
