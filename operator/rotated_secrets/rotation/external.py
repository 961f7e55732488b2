"""The plan for External: AWS rotates the secret; the operator requests it, waits for the result and delivers it. Pure.

Invariant: the operator never writes the secret, neither a value nor a stage, and requests one rotation for each slot or
request, even if it restarts: the claim's version is the id that AWS must give to the new version, so that a repeated
request has no second effect. The claim is served when AWSCURRENT moves, to any version and for any reason.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from rotated_secrets.api.status import Claim, Reason, Step
from rotated_secrets.rotation.actions import (
    Abandon,
    Action,
    Hold,
    NoteStatus,
    ProbeCurrent,
    RequestRotation,
    Sleep,
    WriteStatus,
)
from rotated_secrets.rotation.observation import Login, Observation, Terms
from rotated_secrets.rotation.policies import (
    BEFORE_CLAIM,
    first_verdict,
    is_ours,
    next_due,
    resync_requested,
    retry_at,
    too_many_requests,
    unsynced,
    why_rotate,
)
from rotated_secrets.rotation.rollout import roll_out
from rotated_secrets.rotation.status_updates import claimed, failed, next_id, retired, served, with_claim, with_failure
from rotated_secrets.rotation.strategies import descends_from, lineage
from rotated_secrets.rotation.working_version import find_working
from rotated_secrets.values import Arn

ROTATION_TIMEOUT = timedelta(hours=1)
"""How long AWS may take. Managed rotation takes about a minute ("Managed rotation", User Guide); each of a function's
four steps takes at most fifteen minutes (AWS Lambda quotas); retries by AWS come within the hour."""

SHORTEST_PAUSE, LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=1)
"""Pause between two checks whether AWSCURRENT has moved; it grows with the time since the request."""


def follow(seen: Observation, terms: Terms, now: datetime) -> Action:
    """Return the next action, after the target Secret has been synced as far as possible."""
    return (
        _close_claim(seen, terms, now)
        or _drop_retiring(seen)
        or _verify_login(seen, terms)
        or roll_out(seen, terms, now)
        or _wait_for_aws(seen, terms, now)
        or _begin(seen, terms, now)
        or Sleep(next_due(seen, terms))
    )


def not_configured(arn: Arn) -> str:
    """Return why AWS cannot be asked to rotate, and what to do."""
    return (
        f"no rotation is configured for this secret: run aws secretsmanager rotate-secret --secret-id {arn} "
        "--rotation-lambda-arn … --rotation-rules …, or choose another rotation.strategy; without a schedule and a "
        "request, External only follows the versions that others write"
    )


def _close_claim(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    claim = seen.claim
    if claim is None:
        return None
    if claim.from_version_id != seen.current_id:
        made = claim.model_copy(update={"version_id": seen.current_id})
        return NoteStatus(served(seen, terms, made, now))
    if seen.pending_id is not None and is_ours(seen, terms) and claim.step is Step.CREATE:
        return Abandon(seen.pending_id)  # created by the operator with another strategy, and not set anywhere
    if claim.step is not Step.CREATE:
        return Hold(
            Reason.INVALID_SPEC,
            f"held: this operator's own rotation to version {claim.version_id} is at {claim.step}, and the database "
            "may accept only the password of that version; set rotation.strategy back to its previous value until that "
            "rotation has ended",
        )
    return WriteStatus(failed(seen, terms, claim, claim.failure, now)) if claim.failure is not None else None


def _drop_retiring(seen: Observation) -> Action | None:
    """Forget an old password that another strategy left: External cannot retire it."""
    return WriteStatus(retired(seen)) if seen.status.retiring is not None and seen.claim is None else None


def _verify_login(seen: Observation, terms: Terms) -> Action | None:
    """Try the login with AWSCURRENT if it has not succeeded yet (Ready needs it), or if a resync is requested."""
    if not terms.has_database:
        return None
    if seen.login is not Login.UNTRIED:
        return find_working(seen, terms)  # where it is rejected, the conditions name the version that logs in
    return ProbeCurrent() if resync_requested(seen, terms) or not seen.proven else None


def _wait_for_aws(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Wait until AWS moves AWSCURRENT, but no longer than ROTATION_TIMEOUT."""
    claim = seen.claim
    if claim is None or claim.asked_at is None:
        return None
    until = claim.asked_at + ROTATION_TIMEOUT
    if now < until:
        pause = min(max((now - claim.asked_at) / 2, SHORTEST_PAUSE), LONGEST_PAUSE)
        return Sleep(min(now + pause, until))
    stuck = f" (version {seen.pending_id} carries AWSPENDING)" if seen.pending_id not in (None, seen.current_id) else ""
    return WriteStatus(
        with_failure(
            seen.status,
            "AWS was asked to rotate, and has not moved AWSCURRENT for "
            f"{ROTATION_TIMEOUT / timedelta(minutes=1):.0f} minutes{stuck}; "
            "read the log of the secret's rotation function for the cause, and run "
            f"aws secretsmanager describe-secret --secret-id {terms.arn} to see how far it got",
        )
    )


def _begin(seen: Observation, terms: Terms, now: datetime) -> Action | None:
    """Claim what is due, then ask AWS to rotate."""
    claim, cause = seen.claim, why_rotate(seen, terms, now)
    if claim is None and cause is None:
        return too_many_requests(seen, terms, now)
    if seen.elsewhere is not None:
        return Hold(Reason.MANAGED_ELSEWHERE, f"held: {seen.elsewhere}")
    if verdict := first_verdict((*BEFORE_CLAIM, unsynced), seen, terms):
        return Hold(verdict.reason, verdict.message)
    requested_again = claim is not None and cause is not None and cause.request not in (None, claim.request)
    if claim is None or requested_again:
        return WriteStatus(claimed(seen, terms, cause, now)) if cause is not None else None
    return _request(claim, seen, terms, now)


def _request(claim: Claim, seen: Observation, terms: Terms, now: datetime) -> Action:
    if (wait_until := retry_at(seen, terms)) is not None and now < wait_until:
        return Sleep(wait_until)
    if claim.version_id is None or not descends_from(lineage(terms), [seen.current_id], claim.version_id):
        return WriteStatus(with_claim(seen.status, version_id=next_id(seen, terms), started_at=now))
    if seen.refusal is not None:
        return WriteStatus(with_failure(seen.status, seen.refusal))
    if (
        seen.asked or seen.pending_id == claim.version_id
    ):  # the latter: a run requested it, but crashed before recording it
        message = "AWS was asked to rotate; waiting for it to move AWSCURRENT"
        return WriteStatus(with_claim(seen.status, asked_at=now, message=message))
    return RequestRotation(claim.version_id)
