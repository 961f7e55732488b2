"""Why rotate now, why not yet: small pure functions in chains, each answering None or (reason, message)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.status import HISTORY_LENGTH, Outcome, Reason, Step, Trigger
from rotated_secrets.rotation.actions import Hold
from rotated_secrets.rotation.observation import Login, Observation, Terms
from rotated_secrets.rotation.strategies import descends_from, is_clone

ATTEMPTS = 3
"""How often a slot or request is tried before it is given up."""

BACKOFF = timedelta(seconds=30)
"""The wait after the first failed attempt; each further one waits four times as long."""


@dataclass(frozen=True)
class Verdict:
    """Why something is held."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Cause:
    """Why a rotation is due, and what it will have served."""

    trigger: Trigger
    slot: datetime | None
    request: str | None


# ---- why rotate now


def why_rotate(seen: Observation, terms: Terms, now: datetime) -> Cause | None:
    """All that is due now, as one rotation: a request and a missed slot do not make two."""
    slot = _due_at_creation(seen, terms) or _due_by_schedule(seen, terms, now)
    request = _requested(seen, terms)
    if request is not None and too_many_requests(seen, terms, now) is None:
        return Cause(Trigger.ANNOTATION, slot, request)
    if slot is not None:
        return Cause(Trigger.CREATION if slot == terms.created_at else Trigger.SCHEDULE, slot, None)
    return None


def too_many_requests(seen: Observation, terms: Terms, now: datetime) -> Hold | None:
    """Hold what is asked for while so much was asked for lately; what is due by schedule does not wait for it."""
    interval = terms.request_interval
    # A request that fails is tried again by itself, which nobody asked for.
    begun = [each for each in seen.status.history if each.attempt == 1]
    if _requested(seen, terms) is None or interval is None or len(begun) < HISTORY_LENGTH:
        return None
    until = begun[-1].started_at + HISTORY_LENGTH * interval
    if now >= until:
        return None
    due = (until, next_due(seen, terms), next_retirement(seen, now))
    return Hold(
        Reason.TOO_MANY_REQUESTS,
        f"held: {HISTORY_LENGTH} rotations started since {begun[-1].started_at:%Y-%m-%dT%H:%M:%SZ}; this request runs "
        f"at {until:%Y-%m-%dT%H:%M:%SZ}; check who sets the annotation so often",
        min(moment for moment in due if moment is not None),
    )


def _requested(seen: Observation, terms: Terms) -> str | None:
    """A request that was not served yet."""
    return terms.request if terms.request and terms.request != seen.status.handled_requests.rotate else None


def next_due(seen: Observation, terms: Terms) -> datetime | None:
    """When the schedule comes true next, whether or not that is past."""
    if terms.schedule is None:
        return None
    return terms.schedule.next_after(_last_served(seen, terms))


def _due_at_creation(seen: Observation, terms: Terms) -> datetime | None:
    """rotateImmediately counts once: an older status knows a slot, a later change of the spec finds one."""
    first = seen.status.handled_requests.slot is None and seen.status.last_rotation_time is None
    return terms.created_at if terms.rotation.rotate_immediately and first else None


def _due_by_schedule(seen: Observation, terms: Terms, now: datetime) -> datetime | None:
    if terms.schedule is None:
        return None
    return terms.schedule.last_due(_last_served(seen, terms), now)


def _last_served(seen: Observation, terms: Terms) -> datetime:
    """The moment from which the schedule counts, from what is persisted alone, never from when the operator started."""
    status = seen.status
    moments = (
        status.schedule.since if status.schedule else None,
        status.last_rotation_time,
        status.handled_requests.slot,
        seen.current.created_at,
    )
    return max((moment for moment in moments if moment is not None), default=terms.created_at)


def retry_at(seen: Observation, terms: Terms) -> datetime | None:
    """When the claim's next attempt may begin; None where it is not waiting after a failed one."""
    claim, history = seen.claim, seen.status.history
    if claim is None or claim.attempt == 1 or not history:
        return None
    spread = random.Random(f"{terms.arn}|{claim.attempt}").uniform(1, 1.5)  # noqa: S311 - spreads load, protects nothing
    wait: timedelta = BACKOFF * 4.0 ** (claim.attempt - 2) * spread
    return history[0].finished_at + wait


def next_retirement(seen: Observation, now: datetime) -> datetime | None:
    """When an old password ends that still works. One that is overdue waits for what is in its way, not for a time."""
    after = seen.status.retiring.after if seen.status.retiring is not None else None
    return after if after is not None and after > now else None


def resync_asked(seen: Observation, terms: Terms) -> bool:
    """Whether somebody asked for a look at everything that was not taken yet."""
    return terms.resync is not None and terms.resync != seen.status.handled_requests.resync


# ---- why hold: before anything is claimed

Policy = Callable[[Observation, Terms], Verdict | None]


def suspended(seen: Observation, terms: Terms) -> Verdict | None:
    """Hold while the resource says so."""
    if not terms.rotation.suspend:
        return None
    return Verdict(Reason.SUSPENDED, "held: rotation.suspend is true; set it to false to let the due rotation run")


def obstructed(seen: Observation, terms: Terms) -> Verdict | None:
    """Hold while something about the resource has to be mended first."""
    return Verdict(seen.obstacle.reason, f"held: {seen.obstacle.message}") if seen.obstacle else None


# ---- why hold: before the pending version is made or the password is set


def unsynced(seen: Observation, terms: Terms) -> Verdict | None:
    """Hold while the target Secret holds another version: pods would go on with a user about to change."""
    if seen.synced or one_user_between(seen, terms):
        return None
    why = seen.target.message if seen.target is not None and seen.target.message else "it holds another version"
    if seen.login is Login.REJECTED:
        why = f"AWSCURRENT does not log in: {seen.login_message}"
    return Verdict(
        Reason.UNSYNCED, f"held: the target Secret does not hold AWSCURRENT ({why}); the rotation starts when it does"
    )


def login_rejected(seen: Observation, terms: Terms) -> Verdict | None:
    """Hold unless the secret proves that it knows its user's password.

    Otherwise a tenant could write any user's name into a secret and have the admin set that user's password. The claim
    is no proof: it is read from the resource.
    """
    if seen.login is not Login.REJECTED or seen.pending_login is Login.WORKS or seen.password_set:
        return None
    return Verdict(
        Reason.LOGIN_FAILED,
        f"held: AWSCURRENT does not log in ({seen.login_message}); put the user's real password into the secret",
    )


def verify_queries_fail(seen: Observation, terms: Terms) -> Verdict | None:
    """Hold while the checks fail for the current credential too: then the check is wrong, not the rotation.

    Unless the current user is a clone: what it lacks, its base user may have been given since, and a rotation is what
    brings that along. A check that is wrong all the same fails in testSecret.
    """
    if not seen.failed_checks or is_clone(terms.rotation, seen.current_credential.username):
        return None
    return Verdict(
        Reason.VERIFY_QUERIES_FAILED,
        f"held: as AWSCURRENT's user, {'; '.join(seen.failed_checks)}; "
        "correct rotation.verifyQueries or the user's rights",
    )


BEFORE_CLAIM: tuple[Policy, ...] = (suspended, obstructed)
BEFORE_SET: tuple[Policy, ...] = (unsynced, login_rejected, verify_queries_fail)


def first_verdict(policies: tuple[Policy, ...], seen: Observation, terms: Terms) -> Verdict | None:
    """The answer of the first policy that has one."""
    return next((verdict for policy in policies if (verdict := policy(seen, terms)) is not None), None)


def one_user_between(seen: Observation, terms: Terms) -> bool:
    """With one user, AWSCURRENT stops working between setSecret and finishSecret, and only going on mends that."""
    return not terms.keeps_current and seen.pending_id is not None and set_began(seen)


def may_be_the_only_one(terms: Terms) -> bool:
    """Whether a password that was set may have replaced AWSCURRENT's.

    With DualPassword too: the strategy may have been another when the rotation began.
    """
    return terms.has_database and terms.rotation.strategy is not Strategy.ALTERNATING_USERS


def set_began(seen: Observation) -> bool:
    """The claim says that setSecret may have begun, so that the database may know the pending password."""
    return seen.claim is not None and seen.claim.step is not Step.CREATE


def was_rolled_back(seen: Observation) -> bool:
    """AWSCURRENT's version is one whose attempt failed, or is being undone."""
    claim, current = seen.claim, seen.current_id
    undone = [entry.version_id for entry in seen.status.history if entry.outcome is not Outcome.SUCCEEDED]
    return current in undone or (claim is not None and claim.failure is not None and claim.version_id == current)


# ---- whose AWSPENDING


def is_ours(seen: Observation, terms: Terms) -> bool:
    """AWSPENDING's version was made from the current one, by this operator or another that reckons like it."""
    pending = seen.pending_id
    return pending is not None and descends_from(terms.arn, [seen.current_id], pending)


def is_stale(seen: Observation, terms: Terms) -> bool:
    """AWSPENDING's version was made by us, from a version that is no longer current."""
    pending, claim = seen.pending_id, seen.claim
    if pending is None or is_ours(seen, terms):
        return False
    return (claim is not None and claim.version_id == pending) or descends_from(terms.arn, seen.stages, pending)


def managed_elsewhere(seen: Observation, terms: Terms) -> Verdict | None:
    """Hold where someone else rotates this secret, or is in the middle of it."""
    if seen.elsewhere is not None:
        return Verdict(Reason.MANAGED_ELSEWHERE, f"held: {seen.elsewhere}")
    pending = seen.pending_id
    if pending is None or pending == seen.current_id or is_ours(seen, terms) or is_stale(seen, terms):
        return None
    return Verdict(
        Reason.MANAGED_ELSEWHERE,
        f"held: version {pending} carries AWSPENDING and was not created by this operator; let its rotation finish, or "
        f"run aws secretsmanager update-secret-version-stage --secret-id {terms.arn} --version-stage AWSPENDING "
        f"--remove-from-version-id {pending}",
    )
