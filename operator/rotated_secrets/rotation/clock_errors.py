"""Corrects times that a wrong clock, or a person, has written into the status. Pure.

A time in the future stops what is counted from it until then, and nothing shows it: after a clock was a year ahead for
a second, no rotation would be due for a year. So such times are replaced before each decision, and told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from rotated_secrets.api.status import Claim, Condition, HistoryEntry, Retiring, RotatedSecretStatus
from rotated_secrets.rotation.observation import Observation

TOLERANCE: Final = timedelta(minutes=5)
"""By how much the clocks of replicas, AWS and the API server may differ. AWS refuses requests of a clock that is more
than that off ("Signature Version 4", IAM User Guide)."""

_Part = TypeVar("_Part", Claim, HistoryEntry, Condition)
_InPast = Callable[[str, datetime, datetime], datetime]


def without_future_times(seen: Observation, now: datetime) -> Observation:
    """Replace each time in the future: by when AWS made AWSCURRENT, where that is known, else by ``now``."""
    current = seen.current
    if current.created_at > now + TOLERANCE:
        # As of `now` at each look, no slot of a schedule would ever be after it.
        last = seen.status.last_rotation_time
        current = replace(current, created_at=now if last is None or last > now + TOLERANCE else last)
    status, ignored = _corrected(seen.status, min(current.created_at, now), now)
    if current is seen.current and not ignored:
        return seen
    told = tuple(dict.fromkeys((*seen.ignored_times, *ignored)))
    return replace(seen, current=current, status=status, ignored_times=told)


def _corrected(status: RotatedSecretStatus, made: datetime, now: datetime) -> tuple[RotatedSecretStatus, list[str]]:
    """Return the corrected status, and the fields that were in the future, each with its time."""
    ignored: list[str] = []

    def in_past(field: str, moment: datetime, instead: datetime) -> datetime:
        if moment <= now + TOLERANCE:
            return moment
        ignored.append(f"{field} {moment:%Y-%m-%dT%H:%M:%SZ}")
        return instead

    second = now.replace(microsecond=0)
    changes: dict[str, object] = {
        "conditions": tuple(
            _part(f"conditions[{each.type}]", each, {"last_transition_time": "lastTransitionTime"}, in_past, second)
            for each in status.conditions
        ),
        "history": tuple(
            _part("history", each, {"started_at": "startedAt", "finished_at": "finishedAt"}, in_past, now)
            for each in status.history
        ),
    }
    if (last := status.last_rotation_time) is not None:
        changes["last_rotation_time"] = in_past("lastRotationTime", last, made.replace(microsecond=0))
    if (login := status.last_login_time) is not None:
        changes["last_login_time"] = in_past("lastLoginTime", login, second)
    if (slot := status.handled_requests.slot) is not None:
        slot = in_past("handledRequests.slot", slot, made)
        changes["handled_requests"] = status.handled_requests.model_copy(update={"slot": slot})
    if status.schedule is not None:
        since = in_past("schedule.since", status.schedule.since, now)
        changes["schedule"] = status.schedule.model_copy(update={"since": since})
    if status.rotation is not None:
        of_claim = {"slot": "slot", "started_at": "startedAt", "asked_at": "askedAt"}
        changes["rotation"] = _part("rotation", status.rotation, of_claim, in_past, now)
    if status.retiring is not None:
        changes["retiring"] = _retiring(status.retiring, made, now, ignored)
    return (status.model_copy(update=changes), ignored) if ignored else (status, [])


def _part(where: str, part: _Part, fields: Mapping[str, str], in_past: _InPast, instead: datetime) -> _Part:
    times = {field: getattr(part, field) for field in fields}
    changes = {
        field: in_past(f"{where}.{fields[field]}", moment, instead)
        for field, moment in times.items()
        if moment is not None
    }
    return part if changes == times else part.model_copy(update=changes)


def _retiring(old: Retiring, made: datetime, now: datetime, ignored: list[str]) -> Retiring:
    """Move the end of an old password with its beginning, if that lies before AWSCURRENT was made, or in the future.

    Where it would be moved out of the calendar, it is not known.
    """
    if old.since is None or old.after is None or made - TOLERANCE <= old.since <= now + TOLERANCE:
        return old
    ignored.append(f"retiring.since {old.since:%Y-%m-%dT%H:%M:%SZ}")
    length = max(old.after - old.since, timedelta())
    after = now + length if length < datetime.max.replace(tzinfo=UTC) - now else None
    return old.model_copy(update={"since": now, "after": after})
