"""When workloads are restarted: once for each version, after their Secret holds it. Pure.

Invariant: no workload is restarted for a version that the target Secret does not hold, that was not seen to log in, or
whose rotation has not ended; nor for the version that it began with. Which version that is, the status remembers.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from rotated_secrets.api.rollout import Workload
from rotated_secrets.api.status import RotatedSecretStatus
from rotated_secrets.delivery.restart import Restart, RestartKind
from rotated_secrets.rotation.actions import Action, RestartWorkload, WriteStatus
from rotated_secrets.rotation.observation import Observation, Terms
from rotated_secrets.rotation.policies import is_ours
from rotated_secrets.values import VersionId

MISSING_FOR = timedelta(minutes=2)
"""How long after a version was made a workload is looked for that isn't there: one that is deleted without its pods,
to be created anew with them, is away for a moment. What is created later begins with the new value anyway."""

SOON, LATER = timedelta(seconds=30), timedelta(minutes=5)
"""When to try again what will pass, and what somebody has to mend."""


def note_first(seen: Observation, terms: Terms) -> Action | None:
    """The first delivery: all that runs begins with this version. Told at once, for a rotation may follow at once."""
    if not terms.restart or not _is_delivered(seen) or seen.status.rolled_out_version_id is not None:
        return None
    return WriteStatus(_rolled_out(seen.status, seen.current_id))


def roll_out(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Restart what has not been restarted for AWSCURRENT. What cannot be keeps nothing else from going on."""
    status, current = seen.status, seen.current_id
    if not terms.restart or not _is_delivered(seen) or _is_rolled_out(status, current):
        return None
    if (terms.has_database and not seen.proven) or seen.claim is not None or is_ours(seen, terms):
        return None
    if status.rolling_out_version_id != current:
        # Durable, since what was restarted is no longer what the status says, should AWSCURRENT go back meanwhile.
        return WriteStatus(status.model_copy(update={"rolling_out_version_id": current}))
    for workload in terms.restart:
        if workload not in seen.restarts:
            return RestartWorkload(workload, current)
    return None if any(_moments(seen, now)) else WriteStatus(_rolled_out(status, current))


def _is_delivered(seen: Observation) -> bool:
    """The target Secret, if there is one, holds AWSCURRENT."""
    return seen.target is not None and seen.synced


def _is_rolled_out(status: RotatedSecretStatus, version_id: VersionId) -> bool:
    return status.rolled_out_version_id == version_id and status.rolling_out_version_id is None


def _rolled_out(status: RotatedSecretStatus, version_id: VersionId) -> RotatedSecretStatus:
    return status.model_copy(update={"rolled_out_version_id": version_id, "rolling_out_version_id": None})


def tried_again_at(seen: Observation, now: datetime) -> datetime | None:
    """When to ask again for restarts that were asked for in vain."""
    return min(_moments(seen, now), default=None)


def _moments(seen: Observation, now: datetime) -> Iterator[datetime]:
    if _is_rolled_out(seen.status, seen.current_id):
        return
    for restart in seen.restarts.values():
        match restart.kind:
            case RestartKind.REFUSED:
                yield now + LATER
            case RestartKind.UNAVAILABLE:
                yield now + SOON
            case RestartKind.MISSING if now < seen.current.created_at + MISSING_FOR:
                yield now + SOON


def remembering_rollout(status: RotatedSecretStatus, seen: Observation, terms: Terms) -> RotatedSecretStatus:
    """The status at the end of a run, where there is nothing to restart: what is delivered is what everybody has.

    So a workload that is added later is not restarted for it.
    """
    if terms.restart or not _is_delivered(seen):
        return status
    return _rolled_out(status, seen.current_id)


def not_restarted(seen: Observation) -> Iterator[tuple[Workload, Restart]]:
    """What this run could not restart."""
    for workload, restart in seen.restarts.items():
        if restart.kind not in (RestartKind.RESTARTED, RestartKind.UNCHANGED):
            yield workload, restart
