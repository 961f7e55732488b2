"""JSON objects for programs. Every key is always present, with null where there is no value. Pure.

docs/cli.md promises these keys. Times are RFC 3339; words are those of the API.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rotated_secrets.cli.kube.rotated_secret import Attempt, ConditionView, RotatedSecretView
from rotated_secrets.cli.time_format import timestamp

Record = dict[str, Any]


def summary(resource: RotatedSecretView) -> Record:
    """What ``list`` prints."""
    ready, held, claim = resource.condition("Ready"), resource.held, resource.claim
    return {
        "namespace": resource.namespace,
        "name": resource.name,
        "ready": resource.ready,
        "reason": ready.reason if ready else None,
        "message": ready.message if ready else None,
        "strategy": resource.strategy,
        "engine": resource.engine,
        "activeUser": resource.active_user,
        "lastRotationTime": timestamp(resource.last_rotation),
        "nextRotationTime": timestamp(resource.next_rotation),
        "suspended": resource.suspended,
        "held": {"reason": held.reason, "message": held.message, "since": timestamp(held.since)} if held else None,
        "rotation": {
            "trigger": claim.trigger,
            "attempt": claim.attempt,
            "step": claim.step,
            "versionId": claim.version_id,
            "startedAt": timestamp(claim.started_at),
            "message": claim.failure or claim.message,
        }
        if claim
        else None,
    }


def full(resource: RotatedSecretView, due: Sequence[datetime]) -> Record:
    """What ``describe`` prints."""
    retiring = resource.retiring
    return summary(resource) | {
        "secretId": resource.secret_id,
        "region": resource.region,
        "targetSecret": resource.target,
        "currentVersionId": resource.current_version_id,
        "syncedVersionId": resource.synced_version_id,
        "lastRotationDuration": resource.last_duration,
        "schedule": resource.schedule,
        "nextRotations": [timestamp(each) for each in due],
        "retiring": {"user": retiring.user, "versionId": retiring.version_id, "after": timestamp(retiring.after)}
        if retiring
        else None,
        "conditions": [_condition(each) for each in resource.conditions],
        "history": [attempt(each) for each in resource.history],
    }


def history(resource: RotatedSecretView) -> Record:
    """What ``history`` prints."""
    return {
        "namespace": resource.namespace,
        "name": resource.name,
        "history": [attempt(each) for each in resource.history],
    }


def attempt(of: Attempt) -> Record:
    """An attempt that has ended."""
    took = of.took
    return {
        "startedAt": timestamp(of.started_at),
        "finishedAt": timestamp(of.finished_at),
        "durationSeconds": round(took.total_seconds(), 3) if took is not None else None,
        "trigger": of.trigger,
        "attempt": of.number,
        "outcome": of.outcome,
        "step": of.step,
        "user": of.user,
        "versionId": of.version_id,
        "message": of.message,
    }


def _condition(of: ConditionView) -> Record:
    return {
        "type": of.type,
        "status": of.status,
        "reason": of.reason,
        "message": of.message,
        "lastTransitionTime": timestamp(of.since),
    }
