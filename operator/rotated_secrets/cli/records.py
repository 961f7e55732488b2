"""What programs read of a RotatedSecret: every key is always there, null where there is nothing to tell. Pure.

docs/cli.md promises these keys. Moments are RFC 3339, words are the API's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rotated_secrets.cli.moments import written
from rotated_secrets.cli.seen import Attempt, Condition, Seen

Record = dict[str, Any]


def summary(seen: Seen) -> Record:
    """What ``list`` tells."""
    ready, held, claim = seen.condition("Ready"), seen.held, seen.claim
    return {
        "namespace": seen.namespace,
        "name": seen.name,
        "ready": seen.ready,
        "reason": ready.reason if ready else None,
        "message": ready.message if ready else None,
        "strategy": seen.strategy,
        "engine": seen.engine,
        "activeUser": seen.active_user,
        "lastRotationTime": written(seen.last_rotation),
        "nextRotationTime": written(seen.next_rotation),
        "suspended": seen.suspended,
        "held": {"reason": held.reason, "message": held.message, "since": written(held.since)} if held else None,
        "rotation": {
            "trigger": claim.trigger,
            "attempt": claim.attempt,
            "step": claim.step,
            "versionId": claim.version_id,
            "startedAt": written(claim.started_at),
            "message": claim.failure or claim.message,
        }
        if claim
        else None,
    }


def full(seen: Seen, due: Sequence[datetime]) -> Record:
    """What ``describe`` tells."""
    retiring = seen.retiring
    return summary(seen) | {
        "secretId": seen.secret_id,
        "region": seen.region,
        "targetSecret": seen.target,
        "currentVersionId": seen.current_version_id,
        "syncedVersionId": seen.synced_version_id,
        "lastRotationDuration": seen.last_duration,
        "schedule": seen.schedule,
        "nextRotations": [written(each) for each in due],
        "retiring": {"user": retiring.user, "versionId": retiring.version_id, "after": written(retiring.after)}
        if retiring
        else None,
        "conditions": [_condition(each) for each in seen.conditions],
        "history": [attempt(each) for each in seen.history],
    }


def history(seen: Seen) -> Record:
    """What ``history`` tells."""
    return {"namespace": seen.namespace, "name": seen.name, "history": [attempt(each) for each in seen.history]}


def attempt(of: Attempt) -> Record:
    """One attempt that has ended."""
    took = of.took
    return {
        "startedAt": written(of.started_at),
        "finishedAt": written(of.finished_at),
        "durationSeconds": round(took.total_seconds(), 3) if took is not None else None,
        "trigger": of.trigger,
        "attempt": of.number,
        "outcome": of.outcome,
        "step": of.step,
        "user": of.user,
        "versionId": of.version_id,
        "message": of.message,
    }


def _condition(of: Condition) -> Record:
    return {
        "type": of.type,
        "status": of.status,
        "reason": of.reason,
        "message": of.message,
        "lastTransitionTime": written(of.since),
    }
