"""The plan of a rotation: given what is seen, the one thing to do next. Pure; every decision is here or in policies.

Invariant: AWSCURRENT moves only to a version whose credential was set and tested under the base user's lock, and the
credential that pods hold is never changed while they hold it, except by strategies that have one user alone.

The functions below are asked in their order, which is the order of a rotation read backwards: what is furthest along
is brought to its end before anything new begins. So it does not matter where an earlier run stopped.
"""

from __future__ import annotations

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
    ProbeCurrent,
    ProbePending,
    ReadPending,
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
from rotated_secrets.rotation.observation import Login, Observation, Terms, version_at
from rotated_secrets.rotation.policies import (
    BEFORE_CLAIM,
    BEFORE_SET,
    first_verdict,
    is_ours,
    is_stale,
    login_rejected,
    managed_elsewhere,
    may_be_the_only_one,
    next_due,
    next_retirement,
    one_user_between,
    resync_asked,
    retry_at,
    set_began,
    too_many_requests,
    unsynced,
    was_rolled_back,
    why_rotate,
)
from rotated_secrets.rotation.rollout import note_first, roll_out
from rotated_secrets.rotation.status_updates import (
    claimed,
    failed,
    next_id,
    overtaken,
    resumed,
    retains,
    retired,
    retiring_at,
    served,
    with_claim,
    with_failure,
)
from rotated_secrets.rotation.strategies import pending_mismatch
from rotated_secrets.values import Stage, VersionId


def plan(seen: Observation, terms: Terms, now: datetime) -> Action:
    """The next action. Doing what it says, again and again, brings every rotation to its end, whoever began it."""
    if delivery := _deliver(seen, terms, now) or note_first(seen, terms):
        return delivery
    if terms.rotation.strategy is Strategy.EXTERNAL:
        return external.follow(seen, terms, now)
    for decide in (
        _take_back,
        _tidy_up,
        _conclude,
        _vouch,
        roll_out,
        _give_way,
        _note_failure,
        _roll_back,
        _proceed,
        _retire,
        _begin,
    ):
        action = decide(seen, terms, now)
        if action is not None:
            return action
    moments = (next_due(seen, terms), next_retirement(seen, now))
    return Sleep(min((moment for moment in moments if moment is not None), default=None))


def _deliver(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """The target Secret holds AWSCURRENT, unless that is known not to log in: what the Secret holds may still work."""
    target = seen.target
    if target is None or target.kind not in (TargetKind.ABSENT, TargetKind.DIFFERS):
        return None
    delivered_before = seen.current_id in (target.version_id, seen.status.synced_version_id)
    if terms.has_database and not delivered_before:
        if seen.login is Login.UNTRIED:
            return ProbeCurrent()
        if seen.login is Login.REJECTED:
            return None
    return SyncTarget()


def _take_back(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """AWSCURRENT is a version that was rolled back, and does not log in.

    Another operator was frozen just before finishSecret, lost its lock, and woke up when we had rolled back.
    """
    previous = version_at(seen.stages, Stage.PREVIOUS)
    if previous is None or seen.elsewhere is not None or not was_rolled_back(seen):
        return None
    if seen.login is Login.UNTRIED and terms.has_database:
        return ProbeCurrent()
    return TakeBack(previous) if seen.login is Login.REJECTED else None


def _tidy_up(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """AWSPENDING on AWSCURRENT's version is a finished rotation's last trace: a crash before, or a Lambda's habit."""
    return ClearPending() if seen.pending_id == seen.current_id and seen.elsewhere is None else None


def _conclude(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """A claim whose rotation has ended, well or not, is taken down in the history."""
    claim = seen.claim
    if claim is None:
        return None
    if claim.version_id == seen.current_id and (claim.failure is None or seen.proven):
        return WriteStatus(served(seen, terms, claim, now))
    if seen.pending_id is not None:
        return None
    if claim.from_version_id != seen.current_id:
        return WriteStatus(overtaken(seen, terms, claim, now))
    if lost := _pending_is_lost(seen, terms):
        return lost
    if claim.failure is not None:
        return WriteStatus(failed(seen, terms, claim, claim.failure, now))
    return None


def _pending_is_lost(seen: Observation, terms: Terms) -> Action | None:
    """Someone took AWSPENDING off a version whose password the user may have by now, and no other."""
    claim = seen.claim
    if claim is None or not (may_be_the_only_one(terms) and set_began(seen)):
        return None
    match seen.login:
        case Login.UNTRIED:
            return ProbeCurrent()
        case Login.UNREACHABLE:
            return Retry(seen.login_message)
        case Login.WORKS:
            return None
    return Hold(
        Reason.LOGIN_FAILED,
        f"held: AWSCURRENT does not log in, and AWSPENDING was removed from version {claim.version_id}, whose password "
        "the database may have now; run aws secretsmanager update-secret-version-stage --secret-id "
        f"{terms.arn} --version-stage AWSPENDING --move-to-version-id {claim.version_id}",
    )


def _give_way(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Leave alone what someone else rotates; take AWSPENDING off what we began from a version that is gone."""
    if is_ours(seen, terms) and set_began(seen):
        return None  # in the middle of setting a password there is no way back but through
    if seen.pending_id is not None and seen.elsewhere is None and is_stale(seen, terms):
        return Abandon(seen.pending_id)  # the database is left as it is: its users belong to the newer version now
    verdict = managed_elsewhere(seen, terms)
    return Hold(verdict.reason, verdict.message) if verdict else None


def _vouch(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Nobody has seen this AWSCURRENT log in yet, so Ready could not be told; or somebody asks for a look anew."""
    if not terms.has_database or seen.login is not Login.UNTRIED or one_user_between(seen, terms):
        return None
    return ProbeCurrent() if resync_asked(seen, terms) or not seen.proven else None


def _note_failure(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """This run found that the attempt cannot succeed: make the intent to roll back durable before anything else."""
    if seen.claim is None or seen.claim.failure is not None:
        return None
    if seen.refusal is not None and not set_began(seen):
        return WriteStatus(with_failure(seen.status, seen.refusal))
    return WriteStatus(with_failure(seen.status, seen.failure)) if seen.failure is not None else None


def _roll_back(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """The claim says that this attempt failed: undo what the database may know of it, then drop its version."""
    claim = seen.claim
    if claim is None or claim.failure is None or seen.pending_id is None:
        return None
    if not (terms.has_database and set_began(seen)) or seen.restored or claim.version_id != seen.pending_id:
        return Abandon(seen.pending_id)
    return _examine(seen, terms) or _prove_login(seen, terms) or _under_lock(seen) or Restore()


def _proceed(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """AWSPENDING is ours: set it, test it, and make it current."""
    pending_id, claim = seen.pending_id, seen.claim
    if pending_id is None:
        return None
    if unlike := _examine(seen, terms):
        return unlike
    if claim is None or claim.version_id != pending_id:
        return WriteStatus(resumed(seen, terms, pending_id, now))
    if claim.step in (Step.SET, Step.TEST) and not terms.has_database:
        return Hold(
            Reason.INVALID_SPEC,
            f"held: the rotation to version {pending_id} is at {claim.step}, and the database may accept only the "
            "password of that version; set rotation.strategy back to its previous value until that rotation has ended",
        )
    return (_set_and_test(seen, terms) if terms.has_database else None) or _finish(seen, pending_id)


def _examine(seen: Observation, terms: Terms) -> Action | None:
    """Read AWSPENDING's value; None where it is what we would have made of AWSCURRENT.

    Whoever can write the secret can stage any value so, and neither the admin nor a roll-back is to follow it.
    """
    claim, pending_id = seen.claim, seen.pending_id
    if seen.pending is None or pending_id is None:
        return ReadPending()
    mismatch = pending_mismatch(terms, seen)
    if mismatch is None:
        return None
    if claim is not None and claim.version_id == pending_id and set_began(seen):
        # The database may know this password and no other.
        return Hold(
            Reason.INVALID_SPEC,
            f"held: {mismatch}; set rotation.strategy and cloneSuffix back to the values they had when this rotation "
            "began",
        )
    return Abandon(pending_id)  # nothing of it was ever set


def _set_and_test(seen: Observation, terms: Terms) -> Action | None:
    waiting = _may_set(seen, terms) or _under_lock(seen)
    if waiting is not None:
        return waiting
    # A login is no proof of a finished setSecret: whatever an earlier run reached, this one sets and tests anew.
    if not seen.password_set:
        return _at_step(seen, Step.SET, retains=retains(terms)) or SetPending()
    if not seen.tested:
        return _at_step(seen, Step.TEST) or TestPending()
    return None


def _finish(seen: Observation, pending_id: VersionId) -> Action:
    return _at_step(seen, Step.FINISH) or FinishPending(pending_id)


def _retire(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """An old password has lived beside the delivered new one for long enough."""
    retiring = seen.status.retiring
    if retiring is None or seen.claim is not None:
        return None
    if seen.retired or not terms.has_database:
        return WriteStatus(retired(seen.status))
    if not seen.synced:
        return None
    if retiring.after is None:
        return WriteStatus(retiring_at(seen.status, now + terms.rotation.retire_delay))
    if now < retiring.after or retiring.user != seen.current_credential.username:
        return None  # the next rotation of that user ends it, if nothing does before
    if seen.refusal is not None and why_rotate(seen, terms, now) is not None:
        return None
    return _prove_login(seen, terms) or _under_lock(seen) or Retire()


def _begin(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Nothing is under way: claim what is due, then make the pending version."""
    claim, cause = seen.claim, why_rotate(seen, terms, now)
    asked_again = claim is not None and cause is not None and cause.request not in (None, claim.request)
    if claim is None and cause is None:
        return too_many_requests(seen, terms, now)
    if verdict := first_verdict(BEFORE_CLAIM, seen, terms):
        return Hold(verdict.reason, verdict.message)
    if claim is None or asked_again:
        return WriteStatus(claimed(seen, terms, cause, now)) if cause is not None else None
    if (wait_until := retry_at(seen, terms)) is not None and now < wait_until:
        return Sleep(wait_until)
    if claim.version_id is None or claim.version_id in seen.used_ids or claim.step is not Step.CREATE:
        began = now if claim.version_id is None else claim.started_at
        return WriteStatus(with_claim(seen.status, version_id=next_id(seen, terms), step=Step.CREATE, started_at=began))
    if waiting := _may_set(seen, terms):
        return waiting
    if terms.has_database and not seen.locked:
        return Lock()
    return CreatePending(claim.version_id)


def _may_set(seen: Observation, terms: Terms) -> Action | None:
    """The order of checks before set; None where all are passed."""
    if verdict := unsynced(seen, terms):
        return Hold(verdict.reason, verdict.message)
    if terms.has_database and (probe := _prove_login(seen, terms)):
        return probe
    verdict = first_verdict(BEFORE_SET, seen, terms)
    return Hold(verdict.reason, verdict.message) if verdict else None


def _prove_login(seen: Observation, terms: Terms) -> Action | None:
    """The secret knows its user's password; None where that is seen, or known to be not so."""
    if seen.password_set:
        return None
    if seen.login is Login.UNTRIED:
        return ProbeCurrent()
    might_be_pending = seen.pending_id is not None and set_began(seen) and may_be_the_only_one(terms)
    if seen.login is Login.REJECTED and might_be_pending and seen.pending_login is Login.UNTRIED:
        return ProbePending()
    if Login.UNREACHABLE in (seen.login, seen.pending_login):
        return Retry(seen.login_message)
    verdict = login_rejected(seen, terms)
    return Hold(verdict.reason, verdict.message) if verdict else None


def _under_lock(seen: Observation) -> Action | None:
    if seen.refusal is not None:
        return Retry(seen.refusal)
    if not seen.locked:
        return Lock()
    return None if seen.fresh else Refresh()


def _at_step(seen: Observation, step: Step, **changes: object) -> Action | None:
    """Tell the step before it begins: durable, since the roll-back depends on it."""
    if seen.claim is None or seen.claim.step is step:
        return None
    return WriteStatus(with_claim(seen.status, step=step, message=f"{step} begins", **changes))
