"""The status as it is written: times, conditions, history and patches."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from rotated_secrets.api.status import (
    AppliedSchedule,
    Claim,
    ConditionType,
    HandledRequests,
    HistoryEntry,
    Outcome,
    Reason,
    RotatedSecretStatus,
    Step,
    Trigger,
)
from rotated_secrets.values import VersionId

NOON = datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=UTC)


def _merged(stored: Any, patch: Any) -> Any:
    """JSON merge patch, RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(stored) if isinstance(stored, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _claim(**changes: Any) -> Claim:
    return Claim(trigger=Trigger.SCHEDULE, from_version_id=VersionId("v1"), started_at=NOON, **changes)


def _entry(attempt: int) -> HistoryEntry:
    return HistoryEntry(
        trigger=Trigger.CREATION,
        started_at=NOON,
        finished_at=NOON,
        outcome=Outcome.FAILED,
        step=Step.SET,
        attempt=attempt,
    )


def test_a_patch_removes_what_is_gone() -> None:
    claimed = RotatedSecretStatus(
        engine="postgres",
        rotation=_claim(failure="the test failed", slot=NOON),
        handled_requests=HandledRequests(rotate="1"),
        history=(_entry(1),),
    )
    stored = _merged({}, claimed.to_patch())
    assert RotatedSecretStatus.model_validate(stored) == claimed
    served = RotatedSecretStatus(rotation=_claim(), handled_requests=HandledRequests(slot=NOON))
    after = _merged(stored, served.to_patch())
    assert RotatedSecretStatus.model_validate(after) == served
    assert "engine" not in after
    assert "failure" not in after["rotation"]
    idle = _merged(after, RotatedSecretStatus().to_patch())
    assert "rotation" not in idle


def test_no_null_is_left_inside_a_list() -> None:
    status = RotatedSecretStatus(history=(_entry(1),)).with_condition(
        ConditionType.READY, True, Reason.CREDENTIAL_WORKS, "", now=NOON, generation=1
    )
    lists = {key: value for key, value in status.to_patch().items() if isinstance(value, list)}
    assert "null" not in json.dumps(lists)


def test_what_a_newer_operator_wrote_survives_a_patch() -> None:
    stored = {"shard": 3, "handledRequests": {"undo": "a"}}
    after = _merged(stored, RotatedSecretStatus(handled_requests=HandledRequests(rotate="b")).to_patch())
    assert after["shard"] == 3
    assert after["handledRequests"] == {"undo": "a", "rotate": "b"}


def test_times_are_utc_and_keep_their_fraction_where_they_are_compared() -> None:
    local = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    written = RotatedSecretStatus(
        rotation=_claim(slot=local),
        schedule=AppliedSchedule(expression="rate(1 day)", since=local),
        next_rotation_time=local,
    ).to_patch()
    assert written["rotation"]["slot"] == "2026-11-22T12:00:00.250000Z"
    assert written["schedule"]["since"] == "2026-11-22T12:00:00.250000Z"
    assert written["nextRotationTime"] == "2026-11-22T12:00:00Z"


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValidationError):
        RotatedSecretStatus(last_rotation_time=NOON.replace(tzinfo=None))


def test_transition_time_moves_only_when_the_status_does() -> None:
    later = NOON + timedelta(hours=1)
    first = RotatedSecretStatus().with_condition(
        ConditionType.READY, False, Reason.LOGIN_FAILED, "no", now=NOON, generation=1
    )
    second = first.with_condition(ConditionType.READY, False, Reason.SYNC_FAILED, "still", now=later, generation=2)
    third = second.with_condition(ConditionType.READY, None, Reason.SYNC_FAILED, "?", now=later, generation=2)
    conditions = [status.condition(ConditionType.READY) for status in (first, second, third)]
    assert [found.last_transition_time for found in conditions if found] == [
        NOON.replace(microsecond=0),
        NOON.replace(microsecond=0),
        later.replace(microsecond=0),
    ]
    assert [found.status for found in conditions if found] == ["False", "False", "Unknown"]
    assert len(third.conditions) == 1


def test_each_condition_is_there_once_and_in_its_place() -> None:
    status = RotatedSecretStatus()
    for kind in (ConditionType.READY, ConditionType.HELD, ConditionType.READY):
        status = status.with_condition(kind, True, Reason.SUSPENDED, "", now=NOON, generation=1)
    assert [condition.type for condition in status.conditions] == ["Ready", "Held"]


def test_history_keeps_the_last_ten_newest_first() -> None:
    status = RotatedSecretStatus()
    for attempt in range(1, 13):
        status = status.with_history(_entry(attempt))
    assert [entry.attempt for entry in status.history] == list(range(12, 2, -1))
    assert RotatedSecretStatus.model_validate(status.to_patch()) == status


def test_what_is_too_long_for_the_api_server_is_cut() -> None:
    status = RotatedSecretStatus(engine="e" * 10_000, rotation=_claim(message="m" * 10_000))
    assert status.engine is not None
    assert len(status.engine) == 512
    assert status.rotation is not None
    assert len(status.rotation.message) == 4096
