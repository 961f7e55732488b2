"""Decides when workloads are restarted: once for each version, after their Secret holds it. Pure.

Invariant: no workload is restarted for a version that the target Secret does not hold, whose login has not succeeded,
or whose rotation has not ended; nor for the version with which it started. The status records which version that is.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from rotated_secrets.api.rollout import Workload
from rotated_secrets.api.status import RotatedSecretStatus
from rotated_secrets.delivery.restart import Restart, RestartKind
from rotated_secrets.rotation.actions import Action, RestartWorkload, WriteStatus
from rotated_secrets.rotation.observation import Observation, Terms
from rotated_secrets.rotation.policies import attempt_runs, is_ours
from rotated_secrets.values import VersionId

MISSING_GRACE = timedelta(minutes=2)
"""How long after the creation of a version a missing workload is tried again: one that is deleted without its pods and
recreated is missing for a moment. A workload that is created later starts with the new value anyway."""

RETRY_SOON, RETRY_LATER = timedelta(seconds=30), timedelta(minutes=5)
"""When to retry a restart after a transient failure, and after one that a person has to correct."""


def record_first_delivery(seen: Observation, terms: Terms) -> Action | None:
    """Record the first delivered version, with which all workloads start; at once, since a rotation may follow."""
    if not terms.restart or not _is_delivered(seen) or seen.status.rolled_out_version_id is not None:
        return None
    return WriteStatus(_rolled_out(seen.status, seen.current_id))


def roll_out(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Restart the workloads that have not been restarted for AWSCURRENT. A failure does not block other actions."""
    status, current = seen.status, seen.current_id
    if not terms.restart or not _is_delivered(seen) or _is_rolled_out(status, current):
        return None
    if (terms.has_database and not seen.proven) or attempt_runs(seen) or is_ours(seen, terms):
        return None
    if status.rolling_out_version_id != current:
        # Recorded first: if AWSCURRENT moves back meanwhile, some workloads no longer run with the recorded version.
        return WriteStatus(status.model_copy(update={"rolling_out_version_id": current}))
    for workload in terms.restart:
        if workload not in seen.restarts:
            return RestartWorkload(workload, current)
    return None if any(_retry_times(seen, now)) else WriteStatus(_rolled_out(status, current))


def _is_delivered(seen: Observation) -> bool:
    """The target Secret, if there is one, holds AWSCURRENT."""
    return seen.target is not None and seen.synced


def _is_rolled_out(status: RotatedSecretStatus, version_id: VersionId) -> bool:
    return status.rolled_out_version_id == version_id and status.rolling_out_version_id is None


def _rolled_out(status: RotatedSecretStatus, version_id: VersionId) -> RotatedSecretStatus:
    return status.model_copy(update={"rolled_out_version_id": version_id, "rolling_out_version_id": None})


def restarts_retried_at(seen: Observation, now: datetime) -> datetime | None:
    """Return when to retry the restarts that failed; None if there is nothing to retry."""
    return min(_retry_times(seen, now), default=None)


def _retry_times(seen: Observation, now: datetime) -> Iterator[datetime]:
    if _is_rolled_out(seen.status, seen.current_id):
        return
    for restart in seen.restarts.values():
        match restart.kind:
            case RestartKind.REFUSED:
                yield now + RETRY_LATER
            case RestartKind.UNAVAILABLE:
                yield now + RETRY_SOON
            case RestartKind.MISSING if now < seen.current.created_at + MISSING_GRACE:
                yield now + RETRY_SOON


def with_rollout_recorded(status: RotatedSecretStatus, seen: Observation, terms: Terms) -> RotatedSecretStatus:
    """Record the delivered version as rolled out if the spec names no workload.

    So a workload that is added to the spec later is not restarted for this version.
    """
    if terms.restart or not _is_delivered(seen):
        return status
    return _rolled_out(status, seen.current_id)


def failed_restarts(seen: Observation) -> Iterator[tuple[Workload, Restart]]:
    """The workloads that this run could not restart."""
    for workload, restart in seen.restarts.items():
        if restart.kind not in (RestartKind.RESTARTED, RestartKind.UNCHANGED):
            yield workload, restart
