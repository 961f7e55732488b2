"""External: AWS rotates the secret, by a function or a service of its own. We ask, wait, look and deliver. Pure.

Invariant: nothing is ever written into the secret, neither a value nor a stage, and AWS is asked once for each slot or
request, however often the operator restarts: the claim's version is the name that AWS is to give to the new one, so
that asking a second time is asking for the same. Whoever moves AWSCURRENT, to whichever version, has served the claim.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from rotated_secrets.api.status import Claim, Reason, Step
from rotated_secrets.rotation.actions import Abandon, Action, Hold, ProbeCurrent, RequestRotation, Sleep, WriteStatus
from rotated_secrets.rotation.observation import Login, Observation, Terms
from rotated_secrets.rotation.policies import (
    BEFORE_CLAIM,
    first_verdict,
    is_ours,
    next_due,
    resync_asked,
    retry_at,
    too_many_requests,
    unsynced,
    why_rotate,
)
from rotated_secrets.rotation.rollout import roll_out
from rotated_secrets.rotation.status_updates import claimed, failed, next_id, retired, served, with_claim, with_failure
from rotated_secrets.rotation.strategies import descends_from, lineage
from rotated_secrets.values import Arn

PATIENCE = timedelta(hours=1)
"""How long AWS may take. A service's own rotation takes about a minute ("Managed rotation", User Guide), a function's
four steps at most fifteen each (AWS Lambda quotas), and what AWS repeats by itself comes within the hour."""

SOONEST, LATEST = timedelta(seconds=5), timedelta(minutes=1)
"""Between two looks whether AWSCURRENT has moved: the longer it takes, the longer."""


def follow(seen: Observation, terms: Terms, now: datetime) -> Action:
    """The next action, once AWSCURRENT is delivered as far as it may be."""
    return (
        _conclude(seen, terms, now)
        or _leave(seen)
        or _vouch(seen, terms)
        or roll_out(seen, terms, now)
        or _await(seen, terms, now)
        or _ask(seen, terms, now)
        or Sleep(next_due(seen, terms))
    )


def not_configured(arn: Arn) -> str:
    """Why AWS is not asked, and what to do."""
    return (
        f"no rotation is configured for this secret: run aws secretsmanager rotate-secret --secret-id {arn} "
        "--rotation-lambda-arn … --rotation-rules …, or choose another rotation.strategy; without a schedule and a "
        "request, External only follows the versions that others write"
    )


def _conclude(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    claim = seen.claim
    if claim is None:
        return None
    if claim.from_version_id != seen.current_id:
        made = claim.model_copy(update={"version_id": seen.current_id})
        return WriteStatus(served(seen, terms, made, now))
    if seen.pending_id is not None and is_ours(seen, terms) and claim.step is Step.CREATE:
        return Abandon(seen.pending_id)  # this operator made it, by another strategy, and set nothing
    if claim.step is not Step.CREATE:
        return Hold(
            Reason.INVALID_SPEC,
            f"held: this operator's own rotation to version {claim.version_id} is at {claim.step}, and the database "
            "may accept only the password of that version; set rotation.strategy back to its previous value until that "
            "rotation has ended",
        )
    return WriteStatus(failed(seen, terms, claim, claim.failure, now)) if claim.failure is not None else None


def _leave(seen: Observation) -> Action | None:
    """An old password that another strategy left is no longer ours to end."""
    return WriteStatus(retired(seen.status)) if seen.status.retiring is not None and seen.claim is None else None


def _vouch(seen: Observation, terms: Terms) -> Action | None:
    """Nobody has seen this AWSCURRENT log in yet, so Ready could not be told; or somebody asks for a look anew."""
    if not terms.has_database or seen.login is not Login.UNTRIED:
        return None
    return ProbeCurrent() if resync_asked(seen, terms) or not seen.proven else None


def _await(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """AWS was asked, and AWSCURRENT has not moved yet."""
    claim = seen.claim
    if claim is None or claim.asked_at is None:
        return None
    until = claim.asked_at + PATIENCE
    if now < until:
        pause = min(max((now - claim.asked_at) / 2, SOONEST), LATEST)
        return Sleep(min(now + pause, until))
    stuck = f" (version {seen.pending_id} carries AWSPENDING)" if seen.pending_id not in (None, seen.current_id) else ""
    return WriteStatus(
        with_failure(
            seen.status,
            f"AWS was asked to rotate, and has not moved AWSCURRENT for {PATIENCE / timedelta(minutes=1):.0f} minutes"
            f"{stuck}; read the log of the secret's rotation function for the cause, and run "
            f"aws secretsmanager describe-secret --secret-id {terms.arn} to see how far it got",
        )
    )


def _ask(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Claim what is due, then have AWS rotate."""
    claim, cause = seen.claim, why_rotate(seen, terms, now)
    if claim is None and cause is None:
        return too_many_requests(seen, terms, now)
    if seen.elsewhere is not None:
        return Hold(Reason.MANAGED_ELSEWHERE, f"held: {seen.elsewhere}")
    if verdict := first_verdict((*BEFORE_CLAIM, unsynced), seen, terms):
        return Hold(verdict.reason, verdict.message)
    asked_for_anew = claim is not None and cause is not None and cause.request not in (None, claim.request)
    if claim is None or asked_for_anew:
        return WriteStatus(claimed(seen, terms, cause, now)) if cause is not None else None
    return _ask_for(claim, seen, terms, now)


def _ask_for(claim: Claim, seen: Observation, terms: Terms, now: datetime) -> Action:
    if (wait_until := retry_at(seen, terms)) is not None and now < wait_until:
        return Sleep(wait_until)
    if claim.version_id is None or not descends_from(lineage(terms), [seen.current_id], claim.version_id):
        return WriteStatus(with_claim(seen.status, version_id=next_id(seen, terms), started_at=now))
    if seen.refusal is not None:
        return WriteStatus(with_failure(seen.status, seen.refusal))
    if seen.asked or seen.pending_id == claim.version_id:  # the latter: asked by a run that died before it could say so
        message = "AWS was asked to rotate; waiting for it to move AWSCURRENT"
        return WriteStatus(with_claim(seen.status, asked_at=now, message=message))
    return RequestRotation(claim.version_id)
