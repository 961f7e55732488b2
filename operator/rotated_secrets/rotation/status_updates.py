"""Updates of what the status records about rotations: the claim, served slots and requests, the history. Pure.

Each function returns the status to write next; the plan decides when.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.status import (
    AppliedSchedule,
    Claim,
    HistoryEntry,
    Outcome,
    Retiring,
    RotatedSecretStatus,
    Step,
    Trigger,
)
from rotated_secrets.rotation.observation import Observation, Terms, known_ids
from rotated_secrets.rotation.policies import ATTEMPTS, Cause, retry_at, set_began, why_rotate
from rotated_secrets.rotation.strategies import is_known_user, lineage, next_successor, next_user
from rotated_secrets.values import VersionId


def initialised(status: RotatedSecretStatus, terms: Terms, now: datetime) -> RotatedSecretStatus:
    """Record since when the schedule applies, so that a later change of the spec never starts a rotation.

    Without rotateImmediately, also record the slot of the creation as served. A request that is older than the resource
    is recorded as served: one that writes the same annotation again later asks for nothing new.
    """
    schedule, handled = status.schedule, status.handled_requests
    expression = terms.rotation.schedule
    if (schedule.expression if schedule else None) != expression:
        schedule = AppliedSchedule(expression=expression, since=now) if expression else None
    if handled.slot is None and not terms.rotation.rotate_immediately:
        handled = handled.model_copy(update={"slot": terms.created_at})
    if terms.request_is_older:
        handled = handled.model_copy(update={"rotate": terms.request})
    if (schedule, handled) == (status.schedule, status.handled_requests):
        return status
    return status.model_copy(update={"schedule": schedule, "handled_requests": handled})


def claimed(seen: Observation, terms: Terms, cause: Cause, now: datetime) -> RotatedSecretStatus:
    claim = Claim(
        trigger=cause.trigger,
        slot=cause.slot,
        request=cause.request,
        from_version_id=seen.current_id,
        version_id=next_id(seen, terms),
        started_at=now,
        message="claimed",
    )
    return seen.status.model_copy(update={"rotation": claim})


def resumed(seen: Observation, terms: Terms, pending_id: VersionId, now: datetime) -> RotatedSecretStatus:
    """Claim a rotation that another operator began or whose claim was lost; it serves what is due, if anything."""
    if seen.claim is not None:
        return with_claim(seen.status, version_id=pending_id)
    cause = why_rotate(seen, terms, now) or Cause(Trigger.RESUME, None, None)
    claim = Claim(
        trigger=cause.trigger,
        slot=cause.slot,
        request=cause.request,
        from_version_id=seen.current_id,
        version_id=pending_id,
        # It is unknown how far it got, so a rollback must assume that the password was set.
        step=Step.SET if terms.has_database else Step.CREATE,
        retains=retains(terms),
        started_at=now,
        message="resumed from the store",
    )
    return seen.status.model_copy(update={"rotation": claim})


def retains(terms: Terms) -> bool:
    """Whether a rotation keeps the old password valid. Recorded before setSecret, as the strategy may change later."""
    return terms.rotation.strategy is Strategy.DUAL_PASSWORD


def with_failure(status: RotatedSecretStatus, failure: str) -> RotatedSecretStatus:
    """Mark the claim's attempt as failed: this makes the intent to roll back durable before the rollback begins."""
    return with_claim(status, failure=failure, message=failure)


def at_step(status: RotatedSecretStatus, step: Step, **changes: object) -> RotatedSecretStatus:
    return with_claim(status, step=step, message=f"{step} begins", **changes)


def with_claim(status: RotatedSecretStatus, **changes: object) -> RotatedSecretStatus:
    if status.rotation is None:
        return status
    claim = Claim.model_validate(status.rotation.model_dump() | changes)
    return status.model_copy(update={"rotation": claim})


def served(seen: Observation, terms: Terms, claim: Claim, now: datetime) -> RotatedSecretStatus:
    took = max(now - claim.started_at, timedelta())  # the clock may have been set back
    message = f"AWSCURRENT is version {claim.version_id}"
    if claim.version_id != seen.current_id:
        message = f"AWSCURRENT was version {claim.version_id}; someone else has moved it to {seen.current_id} since"
    entry = _entry(seen, terms, claim, now, Outcome.SUCCEEDED, message)
    status = _without_claim(seen.status, claim).with_history(entry)
    changes: dict[str, object] = {
        "retiring": _retiring(seen, terms, claim),
        "last_rotation_time": now.replace(microsecond=0),
        "last_rotation_duration": f"{took / timedelta(seconds=1):.1f}s",
    }
    return status.model_copy(update=changes)


def _retiring(seen: Observation, terms: Terms, claim: Claim) -> Retiring | None:
    """The old password that stays valid beside the new one: left by this rotation, or by an earlier one."""
    user, before = _user_of(seen, terms, claim), seen.status.retiring
    if claim.retains and user is not None:
        return Retiring(version_id=claim.from_version_id, user=user)
    return before if before is not None and before.user != user else None


def retiring_after(status: RotatedSecretStatus, delay: timedelta, now: datetime) -> RotatedSecretStatus:
    """Record when the old password must stop working, now that the target Secret holds the new one."""
    if status.retiring is None:
        return status
    times = {"since": now, "after": now + delay}
    return status.model_copy(update={"retiring": status.retiring.model_copy(update=times)})


def retired(seen: Observation) -> RotatedSecretStatus:
    """Forget the old password, and record that there is none beside AWSCURRENT's if this run took it away."""
    alone = seen.current_id if seen.retired else seen.status.alone_version_id
    return seen.status.model_copy(update={"retiring": None, "alone_version_id": alone})


def overtaken(seen: Observation, terms: Terms, claim: Claim, now: datetime) -> RotatedSecretStatus:
    """Drop the claim because AWSCURRENT was moved by others. Its slot or request remains due, from the new version."""
    message = f"AWSCURRENT was moved to version {seen.current_id} by someone else"
    entry = _entry(seen, terms, claim, now, Outcome.ABANDONED, message)
    return seen.status.model_copy(update={"rotation": None}).with_history(entry)


def ended(seen: Observation, terms: Terms, claim: Claim, now: datetime) -> RotatedSecretStatus:
    """Drop the claim of a RotatedSecret that was deleted. Nothing is left of the attempt."""
    entry = _entry(seen, terms, claim, now, Outcome.ABANDONED, "the RotatedSecret was deleted")
    return seen.status.model_copy(update={"rotation": None}).with_history(entry)


def failed(seen: Observation, terms: Terms, claim: Claim, failure: str, now: datetime) -> RotatedSecretStatus:
    outcome = Outcome.ROLLED_BACK if set_began(seen) else Outcome.FAILED
    if seen.attempt.restored and seen.refusal is not None and seen.refusal not in failure:
        failure = f"{failure}; the changes of setSecret were not undone: {seen.refusal}"
    if terms.deleted:
        return _without_claim(seen.status, claim).with_history(_entry(seen, terms, claim, now, outcome, failure))
    status, request = seen.status, claim.request
    if claim.attempt >= ATTEMPTS:
        failure = f"{failure}; failed {claim.attempt} times; it is tried again until it succeeds, with growing pauses"
        if request is not None:  # answered: who asked may have a new try at once by a new request
            handled = status.handled_requests.model_copy(update={"rotate": request})
            status, request = status.model_copy(update={"handled_requests": handled}), None
    status = status.with_history(_entry(seen, terms, claim, now, outcome, failure))
    # The version and the start time of the next attempt are set when it begins.
    again = claim.model_copy(
        update={
            "attempt": claim.attempt + 1,
            "request": request,
            "version_id": None,
            "step": Step.CREATE,
            "asked_at": None,
            "failure": None,
            "retains": False,
        }
    )
    status = status.model_copy(update={"rotation": again})
    # Written at once: until the run ends, people would read the schedule's next time as that of the next attempt.
    begins = retry_at(replace(seen, status=status), terms)
    return status.model_copy(update={"next_rotation_time": begins.replace(microsecond=0) if begins else None})


def _without_claim(status: RotatedSecretStatus, claim: Claim) -> RotatedSecretStatus:
    """Remove the claim and record its slot and request as served."""
    before = status.handled_requests
    handled = before.model_copy(update={"rotate": claim.request or before.rotate, "slot": claim.slot or before.slot})
    return status.model_copy(update={"rotation": None, "handled_requests": handled})


def _entry(
    seen: Observation, terms: Terms, claim: Claim, now: datetime, outcome: Outcome, message: str
) -> HistoryEntry:
    user = _user_of(seen, terms, claim)
    return HistoryEntry(
        version_id=claim.version_id,
        user=user if user and is_known_user(terms.rotation, seen, user) else None,
        trigger=claim.trigger,
        started_at=claim.started_at,
        finished_at=now,
        outcome=outcome,
        step=claim.step,
        message=message,
        attempt=claim.attempt,
    )


def _user_of(seen: Observation, terms: Terms, claim: Claim) -> str | None:
    current = seen.credential
    if current is None:
        return None
    user = current.username if claim.version_id == seen.current_id else next_user(terms.rotation, current)
    return user or None


def next_id(seen: Observation, terms: Terms) -> VersionId:
    return next_successor(lineage(terms), seen.current_id, known_ids(seen))
