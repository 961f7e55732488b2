"""Why a rotation is due, and why it has to wait: small pure functions, each returns None or (reason, message)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.status import HISTORY_LENGTH, Outcome, Reason, Step, Trigger
from rotated_secrets.rotation.actions import Hold
from rotated_secrets.rotation.observation import Login, Observation, Terms, version_at
from rotated_secrets.rotation.strategies import descends_from, is_clone
from rotated_secrets.rotation.working_version import advice, advice_about_pending
from rotated_secrets.values import Stage

ATTEMPTS = 3
"""Number of attempts after which a request is answered as failed. The rotation is tried again until it succeeds."""

MOST_UNFINISHED = 100
"""Rotations of deleted RotatedSecrets that a namespace may leave unfinished before no other one begins in it."""

BACKOFF = timedelta(seconds=30)
"""Wait after the first failed attempt; each further wait is four times as long, up to LONGEST_BACKOFF."""

LONGEST_BACKOFF = timedelta(hours=1)
"""Each attempt may create a version, and AWS removes no more of them than are created "once every 10 minutes" ("AWS
Secrets Manager quotas", User Guide). This leaves place for what people and schedules ask for."""

VERIFY_EVERY = timedelta(hours=6)
"""Most time between two logins that see whether a clone still has its base user's rights."""


@dataclass(frozen=True)
class Verdict:
    """Why a rotation is held."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Cause:
    """Why a rotation is due, and which slot and request it serves."""

    trigger: Trigger
    slot: datetime | None
    request: str | None


# ---- why rotate now


def why_rotate(seen: Observation, terms: Terms, now: datetime) -> Cause | None:
    """Return everything that is due now as one rotation: a request and a missed slot do not cause two."""
    slot = _due_at_creation(seen, terms) or _due_by_schedule(seen, terms, now)
    request = _requested(seen, terms)
    if request is not None and too_many_requests(seen, terms, now) is None:
        return Cause(Trigger.ANNOTATION, slot, request)
    if slot is not None:
        return Cause(Trigger.CREATION if slot == terms.created_at else Trigger.SCHEDULE, slot, None)
    return None


def too_many_requests(seen: Observation, terms: Terms, now: datetime) -> Hold | None:
    """Limit the rate of requested rotations; scheduled rotations do not wait for it."""
    interval = terms.request_interval
    # Later attempts are retries by the operator, not requests.
    started = [each for each in seen.status.history if each.attempt == 1]
    if _requested(seen, terms) is None or interval is None or len(started) < HISTORY_LENGTH:
        return None
    until = started[-1].started_at + HISTORY_LENGTH * interval
    if now >= until:
        return None
    due = (until, next_due(seen, terms), next_retirement(seen, now))
    return Hold(
        Reason.TOO_MANY_REQUESTS,
        f"held: {HISTORY_LENGTH} rotations started since {started[-1].started_at:%Y-%m-%dT%H:%M:%SZ}; this request "
        f"runs at {until:%Y-%m-%dT%H:%M:%SZ}; check who sets the annotation so often",
        min(moment for moment in due if moment is not None),
    )


def _requested(seen: Observation, terms: Terms) -> str | None:
    """The request that has not been served yet, if there is one."""
    return terms.request if terms.request and terms.request != seen.status.handled_requests.rotate else None


def next_due(seen: Observation, terms: Terms) -> datetime | None:
    """The next due time of the schedule after the last rotation; it may be in the past."""
    if terms.schedule is None:
        return None
    return terms.schedule.next_after(_last_served(seen, terms))


def _due_at_creation(seen: Observation, terms: Terms) -> datetime | None:
    """Apply rotateImmediately only once: the status records its slot, so a later change of the spec has no effect."""
    first = seen.status.handled_requests.slot is None and seen.status.last_rotation_time is None
    return terms.created_at if terms.rotation.rotate_immediately and first else None


def _due_by_schedule(seen: Observation, terms: Terms, now: datetime) -> datetime | None:
    if terms.schedule is None:
        return None
    return terms.schedule.last_due(_last_served(seen, terms), now)


def _last_served(seen: Observation, terms: Terms) -> datetime:
    """The time from which the schedule counts. It comes from persisted state only, never from the operator's start."""
    status = seen.status
    moments = (
        status.schedule.since if status.schedule else None,
        status.last_rotation_time,
        status.handled_requests.slot,
        seen.current.created_at,
    )
    return max((moment for moment in moments if moment is not None), default=terms.created_at)


def retry_at(seen: Observation, terms: Terms) -> datetime | None:
    """When the claim's next attempt may begin; None unless the previous attempt failed."""
    claim, history = seen.claim, seen.status.history
    if claim is None or claim.attempt == 1 or not history:
        return None
    spread = random.Random(f"{terms.arn}|{claim.attempt}").uniform(1, 1.5)  # noqa: S311 - spreads load, protects nothing
    grown = 4.0 ** min(claim.attempt - 2, 10)  # no overflow, however often it is tried
    wait: timedelta = min(BACKOFF * grown, LONGEST_BACKOFF) * spread
    return history[0].finished_at + wait


def next_attempt(seen: Observation, terms: Terms) -> datetime | None:
    """When a rotation is tried next: one that failed, or the next one of the schedule."""
    return retry_at(seen, terms) or next_due(seen, terms)


def attempt_runs(seen: Observation) -> bool:
    """Whether an attempt of a rotation has begun: between two of them nothing is half done."""
    return seen.claim is not None and (seen.claim.attempt == 1 or seen.claim.version_id is not None)


def next_retirement(seen: Observation, now: datetime) -> datetime | None:
    """When the old password must stop working; None if this is overdue, because then it waits for an obstacle."""
    after = seen.status.retiring.after if seen.status.retiring is not None else None
    return after if after is not None and after > now else None


def resync_requested(seen: Observation, terms: Terms) -> bool:
    """Whether a resync was requested and has not been done yet."""
    return terms.resync is not None and terms.resync != seen.status.handled_requests.resync


def next_verification(seen: Observation, terms: Terms, now: datetime) -> datetime | None:
    """When AWSCURRENT logs in again although it has worked; None where nothing but its password decides that it works.

    A clone has its rights from others, and may lose them while its login still works: with the admin that granted them,
    for example. Other users are left alone, because logins that are not needed may lock an account.
    """
    if not terms.has_database or terms.deleted or not is_clone(terms.rotation, seen.current_credential.username):
        return None
    if seen.login in (Login.REJECTED, Login.UNREACHABLE):
        return None  # tried again for that reason
    last = now if seen.login is Login.WORKS else seen.status.last_login_time
    spread: float = random.Random(str(terms.arn)).uniform(0.5, 1)  # noqa: S311 - spreads load, protects nothing
    return last + VERIFY_EVERY * spread if last is not None else now


def next_moment(seen: Observation, terms: Terms, now: datetime) -> datetime | None:
    """When the next of these is due, if nothing else happens: an attempt, a retirement, a verification."""
    moments = (next_attempt(seen, terms), next_retirement(seen, now), next_verification(seen, terms, now))
    return min((moment for moment in moments if moment is not None), default=None)


# ---- why hold: before anything is claimed

Policy = Callable[[Observation, Terms], Verdict | None]


def suspended(seen: Observation, terms: Terms) -> Verdict | None:
    """Hold while rotation.suspend is true."""
    if not terms.rotation.suspend:
        return None
    return Verdict(Reason.SUSPENDED, "held: rotation.suspend is true; set it to false to let the due rotation run")


def has_obstacle(seen: Observation, terms: Terms) -> Verdict | None:
    """Hold while a person has to correct something first."""
    return Verdict(seen.obstacle.reason, f"held: {seen.obstacle.message}") if seen.obstacle else None


def too_many_unfinished(seen: Observation, terms: Terms) -> Verdict | None:
    """Hold before a claim while too many rotations of the namespace cannot be ended whose RotatedSecrets were deleted.

    Each of them is in the journal, in the operator's own namespace, where no quota of the tenant counts it.
    """
    # With External, AWS itself rotates, and the journal has no entry. A claim has its entry already.
    if terms.rotation.strategy is Strategy.EXTERNAL or seen.claim is not None or seen.left_unfinished < MOST_UNFINISHED:
        return None
    return Verdict(
        Reason.TOO_MANY_REQUESTS,
        f"held: {seen.left_unfinished} rotations of this namespace whose RotatedSecrets were deleted cannot be ended, "
        "because their databases or AWS do not answer or refuse it; this one begins when there are fewer than "
        f"{MOST_UNFINISHED}: let their databases accept logins again, or wait until they are given up, a day after "
        "their beginning",
    )


# ---- why hold: before the pending version is created or the password is set


def unsynced(seen: Observation, terms: Terms) -> Verdict | None:
    """Hold while the target Secret has another version: pods would use a credential that is about to change."""
    if seen.synced or between_set_and_finish(seen, terms):
        return None
    why = seen.target.message if seen.target is not None and seen.target.message else "it holds another version"
    if seen.login is Login.REJECTED:
        why = f"AWSCURRENT does not log in: {seen.login_message}"
    return Verdict(
        Reason.UNSYNCED, f"held: the target Secret does not hold AWSCURRENT ({why}); the rotation starts when it does"
    )


def login_rejected(seen: Observation, terms: Terms) -> Verdict | None:
    """Hold unless a login proves that the secret has its user's password.

    Otherwise a tenant could write any user's name into a secret, and the admin would set that user's password. The
    claim is no proof, because it is read from the resource.
    """
    if seen.login is not Login.REJECTED or seen.attempt.pending_login is Login.WORKS or seen.attempt.password_set:
        return None
    return Verdict(
        Reason.LOGIN_FAILED,
        f"held: AWSCURRENT does not log in ({seen.login_message}); {advice(seen, terms)}",
    )


def verify_queries_fail(seen: Observation, terms: Terms) -> Verdict | None:
    """Hold while the checks fail for the current credential too: then the check is wrong, not the rotation.

    Does not hold if the current user is a clone: it may lack rights that its base user received later, and the rotation
    copies them. If the check itself is wrong, it fails in testSecret.
    """
    if not seen.failed_checks or is_clone(terms.rotation, seen.current_credential.username):
        return None
    return Verdict(
        Reason.VERIFY_QUERIES_FAILED,
        f"held: as AWSCURRENT's user, {'; '.join(seen.failed_checks)}; "
        "correct rotation.verifyQueries or the user's rights",
    )


BEFORE_CLAIM: tuple[Policy, ...] = (suspended, has_obstacle, too_many_unfinished)
BEFORE_SET: tuple[Policy, ...] = (unsynced, login_rejected, verify_queries_fail)


def first_verdict(policies: tuple[Policy, ...], seen: Observation, terms: Terms) -> Verdict | None:
    """The first verdict in the order of the policies."""
    return next((verdict for policy in policies if (verdict := policy(seen, terms)) is not None), None)


def between_set_and_finish(seen: Observation, terms: Terms) -> bool:
    """Whether AWSCURRENT may not work now: with one user it fails between setSecret and finishSecret.

    Only finishing the rotation (or rolling it back) ends this state.
    """
    return not terms.keeps_current and seen.pending_id not in (None, seen.current_id) and set_began(seen)


def may_replace_current_password(terms: Terms) -> bool:
    """Whether setting the pending password may replace the password of AWSCURRENT.

    True for DualPassword too, because the strategy may have been different when the rotation began.
    """
    return terms.has_database and terms.rotation.strategy is not Strategy.ALTERNATING_USERS


def set_began(seen: Observation) -> bool:
    """Whether setSecret may have started, according to the claim: then the database may know the pending password."""
    return seen.claim is not None and seen.claim.step is not Step.CREATE


def was_finished(seen: Observation) -> bool:
    """Whether the claim's version was AWSCURRENT already, and another rotator has moved on since.

    Shown by AWSPREVIOUS, or by the target Secret, which gets no version before it is AWSCURRENT.
    """
    claim = seen.claim
    if claim is None or claim.version_id in (None, seen.current_id) or claim.failure is not None:
        return False
    delivered = seen.target.version_id if seen.target is not None else None
    return claim.version_id in (version_at(seen.stages, Stage.PREVIOUS), delivered)


def was_rolled_back(seen: Observation) -> bool:
    """Whether the attempt that created AWSCURRENT's version failed, or is being rolled back."""
    claim, current = seen.claim, seen.current_id
    undone = [entry.version_id for entry in seen.status.history if entry.outcome is not Outcome.SUCCEEDED]
    return current in undone or (claim is not None and claim.failure is not None and claim.version_id == current)


# ---- who created AWSPENDING


def is_ours(seen: Observation, terms: Terms) -> bool:
    """Whether an operator created AWSPENDING's version from the current one (each operator computes the same ids)."""
    pending = seen.pending_id
    return pending is not None and descends_from(terms.arn, [seen.current_id], pending)


def is_stale(seen: Observation, terms: Terms) -> bool:
    """Whether an operator created AWSPENDING's version from a version that is no longer current."""
    pending, claim = seen.pending_id, seen.claim
    if pending is None or is_ours(seen, terms):
        return False
    known = {entry.version_id for entry in seen.status.history} | {claim.version_id if claim is not None else None}
    return pending in known or descends_from(terms.arn, seen.stages, pending)


def managed_elsewhere(seen: Observation, terms: Terms) -> Verdict | None:
    """Hold if something else rotates this secret, or is in the middle of a rotation."""
    if seen.elsewhere is not None:
        return Verdict(Reason.MANAGED_ELSEWHERE, f"held: {seen.elsewhere}")
    pending = seen.pending_id
    if pending is None or pending == seen.current_id or is_ours(seen, terms) or is_stale(seen, terms):
        return None
    return Verdict(
        Reason.MANAGED_ELSEWHERE,
        f"held: version {pending} carries AWSPENDING and was not created by this operator; "
        f"{advice_about_pending(seen, terms, pending)}",
    )
