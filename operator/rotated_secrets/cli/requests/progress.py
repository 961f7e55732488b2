"""How far the operator is with a request, judged by the status of the resource. Pure.

At the end of each check the status says which requests the operator has seen (``observedRequests``): conditions are as
new as these. Of an older operator, which does not write this, a condition that is the same as before the request may be
outdated, or still true. It is marked as not new, and the waiting command gives it some time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rotated_secrets.cli.kube.rotated_secret import Attempt, ClaimView, ConditionView, RotatedSecretView


@dataclass(frozen=True)
class NotPickedUp:
    """Nothing in the status shows that the operator has seen the request."""

    not_ready_before: str = ""
    """Why the resource was not Ready before the request, and still is not; empty where it was Ready."""


@dataclass(frozen=True)
class Queued:
    """Another rotation is running and must end first."""

    claim: ClaimView


@dataclass(frozen=True)
class Running:
    """The rotation that was requested is running."""

    claim: ClaimView
    trouble: str
    """Why the step fails and is tried again; empty where it does not fail."""


@dataclass(frozen=True)
class Retrying:
    """An attempt failed, and the next one is due at ``at``."""

    attempt: int
    """Number of the next attempt."""
    failed: Attempt | None
    at: datetime | None


@dataclass(frozen=True)
class Blocked:
    """The rotation is held until something changes."""

    reason: str
    message: str
    new: bool
    """Whether it was found after the request was made. It is certain then, and waiting longer does not help."""


@dataclass(frozen=True)
class NeedsFix:
    """Something must be fixed before the operator can check anything else."""

    reason: str
    message: str
    new: bool
    """Whether it was found after the request was made."""


@dataclass(frozen=True)
class NotReadyYet:
    """The operator has checked since the request. It found the resource not Ready, and tries again."""

    reason: str
    message: str


@dataclass(frozen=True)
class TriedAgain:
    """The operator has seen the request, could not serve it yet, and tries again."""

    trouble: str
    """Why; empty where the status does not say it."""


@dataclass(frozen=True)
class Replaced:
    """Another request was written before the operator saw this one."""


@dataclass(frozen=True)
class RotationEnded:
    """The rotation that was requested has ended: it succeeded, or was given up."""

    attempt: Attempt
    status_updated: bool
    """Whether the status already shows the new version."""


@dataclass(frozen=True)
class Resynced:
    """The operator has checked everything again."""

    ready: ConditionView | None


Progress = (
    NotPickedUp
    | Queued
    | Running
    | Retrying
    | Blocked
    | NeedsFix
    | NotReadyYet
    | TriedAgain
    | Replaced
    | RotationEnded
    | Resynced
)


def rotation_progress(request: str, before: RotatedSecretView, now: RotatedSecretView) -> Progress:
    """Progress of a ``rotate`` request: ``before`` is the resource when the request was made."""
    claim = now.claim
    ours, seen = claim is not None and claim.request == request, now.observed_rotate == request
    if now.handled_rotate == request and not ours and now.history:
        attempt = now.history[0]
        return RotationEnded(
            attempt, status_updated=not attempt.succeeded or now.current_version_id == attempt.version_id
        )
    if now.held is not None:
        blocked = _blocked(now.held, before, seen)
        if blocked.new or claim is None or claim == before.claim:
            return blocked  # otherwise the claim is newer than the hold, so the hold is outdated
    if claim is not None and ours:
        if now.waits_to_retry:
            return Retrying(claim.attempt, now.history[0] if now.history else None, now.next_rotation)
        return Running(claim, now.trouble.message if now.trouble else "")
    if now.rotate_request != request:
        return Replaced()
    if claim is not None:
        return Queued(claim)
    return _blocked(now.needs_fix, before, seen) if now.needs_fix else _not_served(before, now, seen)


def resync_progress(request: str, before: RotatedSecretView, now: RotatedSecretView) -> Progress:
    """Progress of a ``resync`` request: ``before`` is the resource when the request was made."""
    if now.handled_resync == request:
        return Resynced(now.condition("Ready"))
    if now.resync_request != request:
        return Replaced()
    found, seen = now.needs_fix, now.observed_resync == request
    if found is not None:
        return NeedsFix(found.reason, found.message, seen or _is_new(found, before))
    return _not_served(before, now, seen)


def _not_served(
    before: RotatedSecretView, now: RotatedSecretView, seen: bool
) -> NotReadyYet | TriedAgain | NotPickedUp:
    """A new message or reason of Ready shows that the operator has checked, for instance that the database is down."""
    ready = now.condition("Ready")
    if ready is not None and not ready.is_true and (seen or _is_new(ready, before)):
        return NotReadyYet(ready.reason, ready.message)
    if seen:
        rotated = now.condition("Rotated")
        return TriedAgain(rotated.message if rotated and rotated.status == "False" and _is_new(rotated, before) else "")
    if ready is None or ready.status != "False":
        return NotPickedUp()
    return NotPickedUp(not_ready_before=f"{ready.reason}: {ready.message}")


def _blocked(found: ConditionView, before: RotatedSecretView, seen: bool) -> Blocked:
    return Blocked(found.reason, found.message, seen or _is_new(found, before))


def _is_new(found: ConditionView, before: RotatedSecretView) -> bool:
    """Whether the condition differs from before, by its words or its time. Compares no clock with the operator's."""
    return found not in before.conditions
