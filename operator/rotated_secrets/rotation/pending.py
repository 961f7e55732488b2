"""Decides whether the version that carries AWSPENDING may be used, or has to be abandoned. Pure."""

from __future__ import annotations

from rotated_secrets.api.status import Reason
from rotated_secrets.rotation.actions import Abandon, Action, Hold, ReadPending, Retry
from rotated_secrets.rotation.observation import Login, Observation, Terms
from rotated_secrets.rotation.policies import may_replace_current_password, set_began
from rotated_secrets.rotation.strategies import pending_mismatch
from rotated_secrets.rotation.working_version import advice, find_working
from rotated_secrets.values import VersionId


def check_pending(seen: Observation, terms: Terms) -> Action | None:
    """Read AWSPENDING's value, and return None if the operator would create the same from AWSCURRENT.

    A person who can write the secret can stage any value as AWSPENDING; neither setSecret nor a rollback may use it.
    """
    claim, pending_id = seen.claim, seen.pending_id
    if seen.pending is None or pending_id is None:
        return ReadPending()
    mismatch = pending_mismatch(terms, seen)
    if mismatch is None:
        return None
    if claim is not None and claim.version_id == pending_id and set_began(seen):
        # This password may be the only one that works.
        return Hold(
            Reason.INVALID_SPEC,
            f"held: {mismatch}; set rotation.strategy and cloneSuffix back to the values they had when this rotation "
            "began",
        )
    if claim is None or claim.version_id != pending_id:
        return _abandon_unless_needed(seen, terms, pending_id, mismatch)
    return Abandon(pending_id)  # it was never set in the database


def _abandon_unless_needed(seen: Observation, terms: Terms, pending_id: VersionId, mismatch: str) -> Action:
    """Abandon a version of which it is unknown whether its password was set, once AWSCURRENT is seen to log in."""
    if probe := find_working(seen, terms):
        return probe
    match seen.login if terms.has_database else Login.WORKS:
        case Login.UNREACHABLE:
            return Retry(seen.login_message)
        case Login.WORKS:
            return Abandon(pending_id)
    return Hold(
        Reason.LOGIN_FAILED,
        f"held: AWSCURRENT does not log in, and the database may have the password of version {pending_id}, which "
        f"carries AWSPENDING and was made with other settings ({mismatch}); create this RotatedSecret again with the "
        f"rotation.strategy and cloneSuffix that the one before it had; or {advice(seen, terms)}",
    )


def abandon_stale(seen: Observation, terms: Terms, pending_id: VersionId) -> Action:
    """Abandon a version that was made from an old AWSCURRENT, unless its password is the one that the database has."""
    if may_replace_current_password(terms):
        if probe := find_working(seen, terms):
            return probe
        if seen.login is Login.UNREACHABLE:
            return Retry(seen.login_message)
        if seen.other_logins.get(pending_id) is Login.WORKS:
            return Hold(
                Reason.LOGIN_FAILED,
                f"held: AWSCURRENT does not log in ({seen.login_message}); {advice(seen, terms)}",
            )
    return Abandon(pending_id)  # with two users, the database is not changed: they belong to the newer version now


def pending_is_lost(seen: Observation, terms: Terms) -> Action | None:
    """Handle AWSPENDING being removed by others from a version whose password may be the only one that works."""
    claim = seen.claim
    if claim is None or not (may_replace_current_password(terms) and set_began(seen)):
        return None
    if probe := find_working(seen, terms):
        return probe
    match seen.login:
        case Login.UNREACHABLE:
            return Retry(seen.login_message)
        case Login.WORKS:
            return None
    return Hold(
        Reason.LOGIN_FAILED,
        f"held: AWSCURRENT does not log in, and AWSPENDING was removed from version {claim.version_id} in the middle "
        f"of its rotation; {advice(seen, terms)}",
    )
