"""How far the operator is with what a person asked for, by what the resource says of itself. Pure.

The operator writes a status when something has changed, and nothing when it looked and all is as it was. So a condition
that already was so when the request was made may be old, or still true: it is told apart from a new one, and whoever
waits gives it some time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rotated_secrets.cli.seen import Attempt, Claim, Condition, Seen


@dataclass(frozen=True)
class Unseen:
    """Nothing shows that the operator has picked the request up."""

    ill: str = ""
    """Why it was not Ready before the request already, and still is not; empty where it was Ready."""


@dataclass(frozen=True)
class Behind:
    """Another rotation runs, and goes first."""

    claim: Claim


@dataclass(frozen=True)
class Running:
    """The steps are being done."""

    claim: Claim
    trouble: str
    """Why a step does not succeed and is tried again; empty where it does."""


@dataclass(frozen=True)
class Retrying:
    """An attempt failed, and the next one waits for its time."""

    attempt: int
    """The one that comes."""
    failed: Attempt | None
    at: datetime | None


@dataclass(frozen=True)
class Blocked:
    """It waits on purpose until something has changed."""

    reason: str
    message: str
    new: bool
    """Found after the request was made, so that nothing is to be hoped for."""


@dataclass(frozen=True)
class Unusable:
    """Something has to be mended before anything else can be looked at."""

    reason: str
    message: str
    new: bool
    """Found after the request was made."""


@dataclass(frozen=True)
class Ill:
    """The operator looked since, and found something that it goes on trying."""

    reason: str
    message: str


@dataclass(frozen=True)
class Replaced:
    """Somebody asked again before the operator had seen this request."""


@dataclass(frozen=True)
class Rotated:
    """The request was served: by a rotation that succeeded, or that was given up."""

    attempt: Attempt
    told: bool
    """The status has caught up with it: who asks now reads of the new version."""


@dataclass(frozen=True)
class Looked:
    """Everything was looked at anew."""

    ready: Condition | None


Progress = Unseen | Behind | Running | Retrying | Blocked | Unusable | Ill | Replaced | Rotated | Looked


def of_rotation(request: str, before: Seen, now: Seen) -> Progress:
    """``before`` is the resource as it was when ``request`` was made."""
    claim = now.claim
    ours = claim is not None and claim.request == request
    if now.handled_rotate == request and not ours and now.history:
        attempt = now.history[0]
        return Rotated(attempt, told=not attempt.succeeded or now.current_version_id == attempt.version_id)
    if now.held is not None:
        blocked = _blocked(now.held, before)
        if blocked.new or claim is None or claim == before.claim:
            return blocked  # else a claim was written since, and what was said before cannot be about it
    if claim is not None and ours:
        if now.waits_to_retry:
            return Retrying(claim.attempt, now.history[0] if now.history else None, now.next_rotation)
        return Running(claim, now.trouble.message if now.trouble else "")
    if now.rotate_request != request:
        return Replaced()
    if claim is not None:
        return Behind(claim)
    return _blocked(now.unusable, before) if now.unusable else _unserved(before, now)


def of_resync(request: str, before: Seen, now: Seen) -> Progress:
    """``before`` is the resource as it was when ``request`` was made."""
    if now.handled_resync == request:
        return Looked(now.condition("Ready"))
    if now.resync_request != request:
        return Replaced()
    by = now.unusable
    return Unusable(by.reason, by.message, _is_new(by, before)) if by else _unserved(before, now)


def _unserved(before: Seen, now: Seen) -> Ill | Unseen:
    """By what Ready says, whatever its reason: a database that does not answer is a look as well."""
    ready = now.condition("Ready")
    if ready is None or ready.status != "False":
        return Unseen()
    return Ill(ready.reason, ready.message) if _is_new(ready, before) else Unseen(f"{ready.reason}: {ready.message}")


def _blocked(by: Condition, before: Seen) -> Blocked:
    return Blocked(by.reason, by.message, _is_new(by, before))


def _is_new(found: Condition, before: Seen) -> bool:
    """In other words than before, or anew in the same ones. No clock here is compared with the operator's."""
    return found not in before.conditions
