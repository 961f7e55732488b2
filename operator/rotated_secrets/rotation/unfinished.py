"""Computes what is known of a RotatedSecret after a look or an action that did not come to its end. Pure."""

from __future__ import annotations

from rotated_secrets.api.status import ConditionType, Reason, RotatedSecretStatus
from rotated_secrets.databases.base import Refused
from rotated_secrets.delivery.errors import DeliveryError
from rotated_secrets.delivery.target import TargetKind
from rotated_secrets.rotation.observation import Login, Observation, Terms
from rotated_secrets.rotation.policies import between_set_and_finish
from rotated_secrets.rotation.report import Finding, ready_finding, synced_finding
from rotated_secrets.secretstores.base import StoreError


def unknown(status: RotatedSecretStatus, reason: Reason, message: str) -> dict[ConditionType, Finding]:
    """Return Ready and Synced as unknown, except where they are false: a look did not come to them."""
    found = {kind: status.condition(kind) for kind in (ConditionType.READY, ConditionType.SYNCED)}
    return {
        kind: Finding(None, reason, message)
        for kind, condition in found.items()
        if condition is None or condition.status != "False"
    }


def without_target(
    status: RotatedSecretStatus, reason: Reason, message: str, *, is_merged: bool = False
) -> dict[ConditionType, Finding]:
    """Return Ready and Synced where there is no target Secret, and a look did not come to writing it.

    ``is_merged`` says whether someone else has to create it.
    """
    then = "creationPolicy: Merge creates none, so create it" if is_merged else "is created when this has passed"
    why = f"the target Secret does not exist, and {then}: {message}"
    return dict.fromkeys(unknown(status, reason, why), Finding(False, reason, why))


def after_failure(seen: Observation, terms: Terms, error: Exception) -> dict[ConditionType, Finding]:
    """Return Ready and Synced where an action failed: what the run has seen until then, and what that error changes.

    Without a claim Rotated too, where the store does not do what a rotation left to do.
    """
    synced = _synced_after_failure(seen, error)
    ready = ready_finding(seen, terms, synced)
    if isinstance(error, Refused):
        ready = Finding(False, Reason.INVALID_SECRET_VALUE, str(error))
    elif ready.status and terms.has_database and between_set_and_finish(seen, terms):
        why = f"the database may have the password of version {seen.pending_id}, which is not AWSCURRENT yet: {error}"
        ready = Finding(None, Reason.LOGIN_FAILED, why)
    found = {
        ConditionType.READY: _ready_between_set_and_finish(seen, terms, str(error)) or ready,
        ConditionType.SYNCED: synced,
    }
    left = seen.claim is None and seen.synced and seen.login is not Login.REJECTED
    if left and isinstance(error, StoreError):
        found[ConditionType.ROTATED] = Finding(False, Reason.FINISH_FAILED, f"{error}; it is tried again")
    return found


def _synced_after_failure(seen: Observation, error: Exception) -> Finding:
    if seen.target is not None and seen.target.kind in (TargetKind.ABSENT, TargetKind.DIFFERS):
        reason = Reason.INVALID_SECRET_VALUE if isinstance(error, Refused) else Reason.SYNC_FAILED
        return Finding(False, reason, f"the target Secret does not hold version {seen.current_id}: {error}")
    if isinstance(error, DeliveryError) and seen.synced:
        return Finding(None, error.reason, str(error))  # it could not be read again
    return synced_finding(seen)


def _ready_between_set_and_finish(seen: Observation, terms: Terms, message: str) -> Finding | None:
    """Return what Ready becomes where an action failed after the only user's password was set, and None elsewhere.

    What is delivered is AWSCURRENT, which no longer logs in: until AWSCURRENT moves, or the old password is restored.
    """
    if terms.keeps_current or not terms.has_database or not seen.attempt.password_set:
        return None
    return Finding(
        False,
        Reason.LOGIN_FAILED,
        f"what is delivered does not log in: the database has the password of version {seen.pending_id}, and "
        f"AWSCURRENT has not moved to it, which is tried again: {message}",
    )
