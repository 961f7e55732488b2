"""Undoes what a rotation has done: restores the old password, moves stages back, removes the second password.

Called by the steps, with their admin session; each function has one side effect. Decides nothing: the result of a call
goes into the observation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

from rotated_secrets.api.rotation import Rights, Strategy
from rotated_secrets.databases.base import AdminSession, AuthenticationFailed, Refused, Unavailable, Users
from rotated_secrets.rotation.observation import Login, Observation, Terms, with_stage_moved
from rotated_secrets.rotation.ports import Database, LookAgain
from rotated_secrets.rotation.stage_moves import move_stage
from rotated_secrets.rotation.strategies import users_of
from rotated_secrets.secretstores.base import SecretNotFound, SecretStore
from rotated_secrets.values import Credential, InvalidSecretValue, Stage, VersionId


def restore(
    seen: Observation, terms: Terms, store: SecretStore, database: Database, admin: AdminSession
) -> Observation:
    """Restore the password that the pending user had before; disable the login of a clone that had none.

    A user that is in neither AWSCURRENT nor AWSPREVIOUS is not changed: its old password is stored nowhere.
    """
    pending = pending_credential(seen)
    users = users_of(terms.rotation, pending.username)
    earlier = _earlier_credential(seen, pending, terms, store)
    refused = None
    restored = seen.in_attempt(restored=True, password_set=False)
    try:
        if earlier is not None:
            # Rights are not changed: pods use the other user.
            admin.set_password(users, earlier, Rights.IGNORE)
        elif pending.username == users.clone:
            admin.disable_login(pending.username)
    except Refused as error:
        refused = str(error)
    if earlier is not None and terms.rotation.strategy is not Strategy.ALTERNATING_USERS:
        # With one user, AWSPENDING may be the only password that works; with two, pods use the other user's.
        try:
            database.verify(earlier, users, ())
        except AuthenticationFailed as error:
            return replace(seen.in_attempt(unrestorable=True), refusal=refused or str(error))
        return replace(restored, login=Login.WORKS)
    if refused is not None and _is_as_before(database, users, pending, earlier):
        refused = None  # what refused setSecret refuses this as well, most often, and then there is nothing to undo
    return replace(restored, login=Login.UNTRIED, refusal=refused)


def _is_as_before(database: Database, users: Users, pending: Credential, earlier: Credential | None) -> bool:
    """Whether a login shows that setSecret changed nothing: the earlier password works, or the pending one does not."""
    try:
        database.verify(earlier or pending, users, ())
    except AuthenticationFailed:
        return earlier is None
    except (Refused, Unavailable):
        return False
    return earlier is not None


def _earlier_credential(seen: Observation, pending: Credential, terms: Terms, store: SecretStore) -> Credential | None:
    """Return this user's last credential before AWSPENDING.

    Only the password is taken from AWSPREVIOUS: its other keys have not been checked, and a person who can write the
    secret could redirect the admin's session with them.
    """
    current = seen.current_credential
    if current.username == pending.username:
        return current
    try:
        stored = store.get(terms.arn, stage=Stage.PREVIOUS)
        previous = terms.credential(stored)
    except (SecretNotFound, InvalidSecretValue):
        return None
    if previous.username != pending.username or pending.value is None:
        return None
    value = pending.value.replacing(password=previous.password.reveal())
    return terms.credential(replace(stored, value=value))


def drop_pending(seen: Observation, version_id: VersionId, terms: Terms, store: SecretStore) -> Observation:
    """Remove AWSPENDING from a version."""
    move_stage(store, terms.arn, Stage.PENDING, remove_from=version_id)
    return replace(
        seen,
        stages=with_stage_moved(seen.stages, Stage.PENDING, remove_from=version_id),
        pending=None,
        pending_credential=None,
    )


def take_back(seen: Observation, version_id: VersionId, terms: Terms, store: SecretStore) -> NoReturn:
    """Move AWSCURRENT back to ``version_id``. Always raises LookAgain: the observation is outdated afterwards."""
    move_stage(store, terms.arn, Stage.CURRENT, to=version_id, remove_from=seen.current_id)
    raise LookAgain(
        f"AWSCURRENT was version {seen.current_id}, which had been rolled back; it was moved back to {version_id}"
    )


def retire(seen: Observation, terms: Terms, admin: AdminSession) -> Observation:
    """Make AWSCURRENT's password the only one of its user."""
    current = seen.current_credential
    try:
        admin.set_password(users_of(terms.rotation, current.username), current, Rights.IGNORE)
    except Refused as error:
        return replace(seen, refusal=str(error))
    return replace(seen, retired=True)


def pending_credential(seen: Observation) -> Credential:
    """Return AWSPENDING's credential. Raises: LookAgain, if it was not read."""
    if seen.pending_credential is None:
        raise LookAgain("AWSPENDING was not read")
    return seen.pending_credential
