"""The plan of a rotation: decides from an observation what to do next. Pure; every decision is here or in policies.

Invariant: AWSCURRENT moves only to a version whose credential was set and tested under the base user's lock, and the
credential that pods use is never changed while they use it, except by strategies that have only one user.

The functions below are called in the reverse order of a rotation: the step that is furthest along is completed before
anything new begins. So it does not matter where an earlier run stopped.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.status import Reason, Step
from rotated_secrets.delivery.target import TargetKind
from rotated_secrets.rotation import external
from rotated_secrets.rotation.actions import (
    Abandon,
    Action,
    ClearPending,
    CreatePending,
    FinishPending,
    Hold,
    Lock,
    NoteStatus,
    ProbeCurrent,
    ProbePending,
    Refresh,
    Restore,
    Retire,
    Retry,
    SetPending,
    Sleep,
    SyncTarget,
    TakeBack,
    TestPending,
    WriteStatus,
)
from rotated_secrets.rotation.deletion import undo_if_deleted
from rotated_secrets.rotation.observation import Login, Observation, Terms, version_at
from rotated_secrets.rotation.pending import abandon_stale, check_pending, pending_is_lost
from rotated_secrets.rotation.policies import (
    BEFORE_CLAIM,
    BEFORE_SET,
    attempt_runs,
    between_set_and_finish,
    first_verdict,
    is_ours,
    is_stale,
    login_rejected,
    managed_elsewhere,
    may_replace_current_password,
    next_moment,
    next_verification,
    resync_requested,
    retry_at,
    set_began,
    too_many_requests,
    too_many_unfinished,
    unsynced,
    was_finished,
    was_rolled_back,
    why_rotate,
)
from rotated_secrets.rotation.retirement import find_old_password
from rotated_secrets.rotation.rollout import record_first_delivery, roll_out
from rotated_secrets.rotation.status_updates import (
    at_step,
    claimed,
    ended,
    failed,
    next_id,
    overtaken,
    resumed,
    retains,
    retired,
    retiring_after,
    served,
    with_claim,
    with_failure,
)
from rotated_secrets.rotation.working_version import find_working
from rotated_secrets.values import Stage, VersionId


def plan(seen: Observation, terms: Terms, now: datetime) -> Action:
    """Return the next action. Repeating plan and action completes every rotation, also one that another run began."""
    if seen.claim is not None and was_finished(seen):
        return WriteStatus(served(seen, terms, seen.claim, now))  # first: what is delivered may be all that shows it
    if delivery := _deliver(seen, terms, now) or record_first_delivery(seen, terms):
        return delivery
    if terms.rotation.strategy is Strategy.EXTERNAL:
        return external.follow(seen, terms, now)
    for decide in (
        _undo_late_finish,
        _clear_pending,
        _close_claim,
        _verify_login,
        roll_out,
        undo_if_deleted,
        _leave_to_others,
        _record_failure,
        _roll_back,
        _continue_pending,
        _find_working,
        find_old_password,
        _retire,
        _begin,
    ):
        if action := decide(seen, terms, now):
            return action
    return Sleep(next_moment(seen, terms, now))


def _deliver(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Write AWSCURRENT into the target Secret, unless its login fails: the credential in the Secret may still work.

    A database that does not answer stops no delivery, except of a version that was rolled back: a late finishSecret
    made it AWSCURRENT, and its login is expected to fail.
    """
    target = seen.target
    if target is None or target.kind not in (TargetKind.ABSENT, TargetKind.DIFFERS):
        return None
    delivered_before = seen.current_id in (target.version_id, seen.status.synced_version_id)
    if terms.has_database and not delivered_before:
        if seen.login is Login.UNTRIED:
            return ProbeCurrent()
        if seen.login is Login.REJECTED or (seen.login is Login.UNREACHABLE and was_rolled_back(seen)):
            return None
    return SyncTarget()


def _undo_late_finish(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Move AWSCURRENT back if its version was rolled back and does not log in.

    This happens when another operator freezes just before finishSecret, loses its lock, and continues after the
    rollback.
    """
    previous = version_at(seen.stages, Stage.PREVIOUS)
    if previous is None or seen.elsewhere is not None or not was_rolled_back(seen):
        return None
    if seen.login is Login.UNTRIED and terms.has_database:
        return ProbeCurrent()
    return TakeBack(previous) if seen.login is Login.REJECTED else None


def _clear_pending(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Remove AWSPENDING from AWSCURRENT's version: left by a crash, or by a Lambda that does not remove it.

    Also from our own version that is AWSPREVIOUS: it was finished and served, and a person moved AWSCURRENT back.
    """
    if seen.pending_id is None or seen.elsewhere is not None:
        return None
    if seen.pending_id == seen.current_id:
        return _verify_login(seen, terms, now) or ClearPending()  # known also where AWS does not let it be removed
    moved_back = seen.pending_id == version_at(seen.stages, Stage.PREVIOUS) and is_ours(seen, terms)
    return Abandon(seen.pending_id) if moved_back and seen.claim is None else None


def _close_claim(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Move the claim of a rotation that has ended, successfully or not, into the history."""
    claim = seen.claim
    if claim is None:
        return None
    if claim.version_id == seen.current_id and (claim.failure is None or seen.proven):
        return NoteStatus(served(seen, terms, claim, now))
    if seen.pending_id is not None:
        return None
    if claim.from_version_id != seen.current_id:
        return WriteStatus(overtaken(seen, terms, claim, now))
    if lost := pending_is_lost(seen, terms):
        return lost
    if claim.failure is not None:
        return WriteStatus(failed(seen, terms, claim, claim.failure, now))
    return None


def _leave_to_others(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Hold if something else rotates the secret; abandon a pending version that was made from an old AWSCURRENT."""
    if is_ours(seen, terms) and set_began(seen):
        return None  # the database may have the pending password: the rotation must continue
    if seen.pending_id is not None and seen.elsewhere is None and is_stale(seen, terms):
        return abandon_stale(seen, terms, seen.pending_id)
    verdict = managed_elsewhere(seen, terms)
    if verdict is None:
        return None
    advises = seen.elsewhere is None  # about stages, so it has to be known which version logs in
    return (find_working(seen, terms) if advises else None) or Hold(verdict.reason, verdict.message)


def _verify_login(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Try the login with AWSCURRENT if it has not succeeded yet (Ready needs it), or is to be tried again."""
    if not terms.has_database or seen.login is not Login.UNTRIED or between_set_and_finish(seen, terms):
        return None
    again = next_verification(seen, terms, now)
    due = resync_requested(seen, terms) or (again is not None and again <= now)
    return ProbeCurrent() if due or not seen.proven else None


def _find_working(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Find out which version logs in where AWSCURRENT does not: the conditions name it."""
    return find_working(seen, terms) if seen.login is Login.REJECTED else None


def _record_failure(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Record that the attempt cannot succeed: the intent to roll back must be durable before the rollback begins."""
    if seen.claim is None or seen.claim.failure is not None or not attempt_runs(seen):
        return None
    if seen.refusal is not None and not set_began(seen):
        return WriteStatus(with_failure(seen.status, seen.refusal))
    return WriteStatus(with_failure(seen.status, seen.attempt.failure)) if seen.attempt.failure is not None else None


def _roll_back(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Roll back an attempt that the claim marks as failed: restore the database, then drop the pending version."""
    claim = seen.claim
    if claim is None or claim.failure is None or seen.pending_id is None:
        return None
    if terms.deleted and seen.attempt.unrestorable:
        return Retry(seen.attempt.failure) if seen.attempt.failure is not None else None  # completed instead
    if terms.deleted and not may_replace_current_password(terms) and seen.login is Login.REJECTED:
        return Abandon(seen.pending_id)  # AWSCURRENT's user was not changed, so its password is not to be corrected
    if not (terms.has_database and set_began(seen)) or seen.attempt.restored or claim.version_id != seen.pending_id:
        return Abandon(seen.pending_id)
    return check_pending(seen, terms) or _prove_login(seen, terms) or _under_lock(seen) or Restore()


def _continue_pending(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Set, test and finish an AWSPENDING that an operator created."""
    pending_id, claim = seen.pending_id, seen.claim
    if pending_id is None:
        return None
    if wrong := check_pending(seen, terms):
        return wrong
    if verdict := too_many_unfinished(seen, terms):
        return Hold(verdict.reason, verdict.message)  # what is resumed gets a claim too
    if claim is None or claim.version_id != pending_id:
        return WriteStatus(resumed(seen, terms, pending_id, now))
    if claim.step in (Step.SET, Step.TEST) and not terms.has_database:
        return Hold(
            Reason.INVALID_SPEC,
            f"held: the rotation to version {pending_id} is at {claim.step}, and the database may accept only the "
            "password of that version; set rotation.strategy back to its previous value until that rotation has ended",
        )
    return (_set_and_test(seen, terms) if terms.has_database else None) or _finish(seen, pending_id)


def _set_and_test(seen: Observation, terms: Terms) -> Action | None:
    waiting = _may_set(seen, terms) or _under_lock(replace(seen, refusal=None) if seen.attempt.unrestorable else seen)
    if waiting is not None:
        return waiting
    # A login does not prove that setSecret finished (rights may be missing), so each run sets and tests again.
    if not seen.attempt.password_set:
        if seen.claim is not None and seen.claim.step is not Step.SET:
            # Durable before it begins: what is rolled back depends on whether the password may be set.
            return WriteStatus(at_step(seen.status, Step.SET, retains=retains(terms)))
        return SetPending()
    if not seen.attempt.tested:
        return _note_step(seen, Step.TEST) or TestPending()
    return None


def _finish(seen: Observation, pending_id: VersionId) -> Action:
    return _note_step(seen, Step.FINISH) or FinishPending(pending_id)


def _retire(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Retire the old password after the new one has been delivered for long enough."""
    retiring = seen.status.retiring
    if retiring is None or attempt_runs(seen):
        return None
    if seen.retired or not terms.has_database:
        return WriteStatus(retired(seen))
    if not seen.synced:
        return None
    if retiring.after is None:
        return WriteStatus(retiring_after(seen.status, terms.rotation.retire_delay, now))
    if now < retiring.after or retiring.user != seen.current_credential.username:
        return None  # at the latest the next rotation of that user retires it
    if seen.refusal is not None and (seen.claim is not None or why_rotate(seen, terms, now) is not None):
        return None
    return _prove_login(seen, terms) or _under_lock(seen) or Retire()


def _begin(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Start a rotation: claim what is due, then create the pending version."""
    claim, cause = seen.claim, why_rotate(seen, terms, now)
    if terms.deleted:
        return WriteStatus(ended(seen, terms, claim, now)) if claim is not None else None
    requested_again = claim is not None and cause is not None and cause.request not in (None, claim.request)
    if claim is None and cause is None:
        return too_many_requests(seen, terms, now)
    if verdict := first_verdict(BEFORE_CLAIM, seen, terms):
        return Hold(verdict.reason, verdict.message)
    if claim is None or requested_again:
        return WriteStatus(claimed(seen, terms, cause, now)) if cause is not None else None
    if (wait_until := retry_at(seen, terms)) is not None and now < wait_until:
        return None
    if claim.version_id is None or claim.version_id in seen.used_ids or claim.step is not Step.CREATE:
        began = now if claim.version_id is None else claim.started_at
        return WriteStatus(with_claim(seen.status, version_id=next_id(seen, terms), step=Step.CREATE, started_at=began))
    if waiting := _may_set(seen, terms):
        return waiting
    if terms.has_database and not seen.locked:
        return Lock()
    return CreatePending(claim.version_id)


def _may_set(seen: Observation, terms: Terms) -> Action | None:
    """Run the checks before setSecret in their order; None if all pass."""
    if verdict := unsynced(seen, terms):
        return Hold(verdict.reason, verdict.message)
    if terms.has_database and (probe := _prove_login(seen, terms)):
        return probe
    verdict = first_verdict(BEFORE_SET, seen, terms)
    return Hold(verdict.reason, verdict.message) if verdict else None


def _prove_login(seen: Observation, terms: Terms) -> Action | None:
    """Prove by a login that the secret has its user's password; None if this is proven or cannot be."""
    if seen.attempt.password_set:
        return None
    if seen.login is Login.UNTRIED:
        return ProbeCurrent()
    might_be_pending = seen.pending_id is not None and set_began(seen) and may_replace_current_password(terms)
    if seen.login is Login.REJECTED and might_be_pending and seen.attempt.pending_login is Login.UNTRIED:
        return ProbePending()
    if Login.UNREACHABLE in (seen.login, seen.attempt.pending_login):
        return Retry(seen.login_message)
    verdict = login_rejected(seen, terms)
    if verdict is None:
        return None
    return find_working(seen, terms) or Hold(verdict.reason, verdict.message)


def _under_lock(seen: Observation) -> Action | None:
    if seen.refusal is not None:
        return Retry(seen.refusal)
    if not seen.locked:
        return Lock()
    return None if seen.fresh else Refresh()


def _note_step(seen: Observation, step: Step) -> Action | None:
    """Note a step after setSecret, so that what is said of it names it. A run that resumes sets and tests again."""
    if seen.claim is None or seen.claim.step is step:
        return None
    return NoteStatus(at_step(seen.status, step))
