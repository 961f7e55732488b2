"""Which reasons only a person can end: the condition Stalled is there for them, and for no others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rotated_secrets.api.status import ConditionType, Reason, RotatedSecretStatus
from rotated_secrets.rotation.report import Finding, with_findings
from rotated_secrets.rotation.stalled import with_stalled

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
READY, SYNCED, STALLED = ConditionType.READY, ConditionType.SYNCED, ConditionType.STALLED

TABLE = [
    # Ready, Synced: status and reason; and the reason of Stalled
    ((True, Reason.CREDENTIAL_WORKS), (True, Reason.UP_TO_DATE), None),
    ((False, Reason.INVALID_SPEC), None, Reason.INVALID_SPEC),
    ((False, Reason.ACCESS_DENIED), (None, Reason.ACCESS_DENIED), Reason.ACCESS_DENIED),
    ((False, Reason.SECRET_NOT_FOUND), None, Reason.SECRET_NOT_FOUND),
    ((False, Reason.INVALID_SECRET_VALUE), None, Reason.INVALID_SECRET_VALUE),
    ((False, Reason.SYNC_FAILED), (False, Reason.NOT_OURS), Reason.NOT_OURS),
    ((False, Reason.SYNC_FAILED), (False, Reason.SECRET_CONFLICT), Reason.SECRET_CONFLICT),
    ((False, Reason.SYNC_FAILED), (False, Reason.SECRET_TYPE_IMMUTABLE), Reason.SECRET_TYPE_IMMUTABLE),
    ((False, Reason.SYNC_FAILED), (False, Reason.TEMPLATE_FAILED), Reason.TEMPLATE_FAILED),
    ((False, Reason.ACCESS_DENIED), (False, Reason.NOT_OURS), Reason.ACCESS_DENIED),
    # What trying again may end.
    ((False, Reason.SYNC_FAILED), (False, Reason.SYNC_FAILED), None),
    ((False, Reason.LOGIN_FAILED), (False, Reason.LOGIN_FAILED), None),
    ((False, Reason.RIGHTS_MISSING), (True, Reason.UP_TO_DATE), None),
    ((None, Reason.STORE_UNAVAILABLE), (None, Reason.STORE_UNAVAILABLE), None),
    # What is not known is not false.
    ((None, Reason.ACCESS_DENIED), (None, Reason.NOT_OURS), None),
]
Word = tuple[bool | None, Reason] | None


def status(ready: Word, synced: Word) -> RotatedSecretStatus:
    findings = {
        kind: Finding(found[0], found[1], f"message of {kind}")
        for kind, found in ((READY, ready), (SYNCED, synced))
        if found is not None
    }
    return with_findings(RotatedSecretStatus(), findings, generation=3, now=NOON)


@pytest.mark.parametrize(("ready", "synced", "reason"), TABLE)
def test_stalled_has_the_reason_that_only_a_person_can_end(ready: Word, synced: Word, reason: Reason | None) -> None:
    found = status(ready, synced).condition(STALLED)
    assert (found.reason if found is not None else None) == reason
    if found is not None:
        source = READY if ready is not None and ready[1] is reason else SYNCED
        assert (found.status, found.message, found.observed_generation) == ("True", f"message of {source}", 3)


def test_stalled_goes_with_its_reason() -> None:
    before = status((False, Reason.INVALID_SPEC), None)
    later = NOON + timedelta(hours=1)
    still = with_stalled(before, now=later, generation=4)
    found = still.condition(STALLED)
    assert found is not None and found.last_transition_time == NOON, "it began then"
    works = {READY: Finding(True, Reason.CREDENTIAL_WORKS, "it works")}
    after = with_findings(still, works, generation=4, now=later)
    assert [each.type for each in after.conditions] == ["Ready"]


def test_held_and_failed_rotations_do_not_stall_what_is_delivered() -> None:
    works: Word = (True, Reason.CREDENTIAL_WORKS)
    findings = {
        ConditionType.ROTATED: Finding(False, Reason.ACCESS_DENIED, "PutSecretValue is denied"),
        ConditionType.HELD: Finding(True, Reason.INVALID_SPEC, "no"),
    }
    after = with_findings(status(works, (True, Reason.UP_TO_DATE)), findings, generation=3, now=NOON)
    assert after.condition(STALLED) is None
