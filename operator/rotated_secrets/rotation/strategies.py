"""The strategies: which users there are, which version follows which, and what the next version holds. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.value_keys import key_shown
from rotated_secrets.databases.base import Users
from rotated_secrets.rotation.observation import Observation, Terms
from rotated_secrets.rotation.random_value import Draw, check_keys, difference, random_settings, with_new_values
from rotated_secrets.secretstores.base import StoredVersion
from rotated_secrets.values import Arn, Credential, InvalidSecretValue, SecretValue, VersionId

_NAMESPACE = uuid.UUID("5b1a3c1e-0c7b-5e0f-9d55-6f2f6f1c9a10")
"""Never changes: two operators that see the same secret must give its next version the same id."""

_SUCCESSORS = 256
"""Number of ids that are recognised as made from one version. Each failed attempt uses one, and AWS keeps about 100
versions without a stage (see LONGEST_BACKOFF in policies), so the first are free again when the last are used."""

MOST_BYTES = 65_536
"""Of a secret value. Source: "Secret value size", AWS Secrets Manager quotas."""


def successor(arn: Arn, version: VersionId, n: int) -> VersionId:
    """Return the id of the n-th version made from ``version``; every operator computes the same one.

    It is a UUID, which fits AWS's ClientRequestToken of 32 to 64 characters (PutSecretValue, API Reference).
    """
    return VersionId(str(uuid.uuid5(_NAMESPACE, f"{arn}|{version}|{n}")))


def descends_from(arn: Arn, versions: Iterable[VersionId], candidate: VersionId) -> bool:
    """Whether ``candidate`` is a successor of one of ``versions``."""
    return any(candidate in _successors(arn, version) for version in versions)


def next_successor(arn: Arn, version: VersionId, used: Iterable[VersionId]) -> VersionId:
    """Return the first successor of ``version`` after all that are known to be used; after the last, a free one."""
    numbers = _successors(arn, version)
    taken = {numbers[each] for each in used if each in numbers}
    following = max(taken, default=-1) + 1
    if following == _SUCCESSORS:
        following = next((n for n in range(_SUCCESSORS) if n not in taken), following)
    return successor(arn, version, following)


@lru_cache(maxsize=64)
def _successors(arn: Arn, version: VersionId) -> dict[VersionId, int]:
    return {successor(arn, version, n): n for n in range(_SUCCESSORS)}


def lineage(terms: Terms) -> Arn:
    """Return the name from which successors' ids are computed; External's differ, since AWS creates those versions."""
    return Arn(f"{terms.arn}|External") if terms.rotation.strategy is Strategy.EXTERNAL else terms.arn


def users_of(rotation: Rotation, username: str) -> Users:
    """Return the base user and, with AlternatingUsers, its clone, given the name of either."""
    if rotation.strategy is not Strategy.ALTERNATING_USERS:
        return Users(username)
    base = username.removesuffix(rotation.clone_suffix) or username
    return Users(base, base + rotation.clone_suffix)


def is_known_user(rotation: Rotation, seen: Observation, user: str) -> bool:
    """Whether a login has shown that this is a user's name: until then it may be a password in the wrong key."""
    known = seen.status.active_user
    return seen.proven or seen.attempt.tested or (known is not None and user in _names(users_of(rotation, known)))


def _names(users: Users) -> tuple[str | None, ...]:
    return users.base, users.clone


def is_clone(rotation: Rotation, username: str) -> bool:
    """Whether this user is the clone of AlternatingUsers."""
    return username == users_of(rotation, username).clone


def pending_value(terms: Terms, seen: Observation, draw: Draw) -> SecretValue:
    """Return the next version's value: a new password and, with AlternatingUsers, the other user; other keys are kept.

    With RandomValue, the configured keys are replaced. ``draw`` generates each new password or value.

    Raises:
        InvalidSecretValue: the strategy doesn't fit the value, or the next version would be too large.
    """
    check_value(terms, seen.current)
    if terms.rotation.strategy is Strategy.RANDOM_VALUE:
        value = with_new_values(terms.rotation, seen.current.value, draw)
    else:
        user = next_user(terms.rotation, seen.current_credential)
        value = seen.current.value.replacing(username=user, password=draw().reveal())
    if value.size > MOST_BYTES:
        raise InvalidSecretValue(
            f"the next version of {terms.arn} would have {value.size} bytes, and AWS takes {MOST_BYTES} at most: "
            "shorten its value, or move keys that are not rotated into another secret"
        )
    return value


def next_user(rotation: Rotation, current: Credential) -> str:
    """Return the user that the next version will hold."""
    return users_of(rotation, current.username).alternate(current.username)


def check_value(terms: Terms, current: StoredVersion) -> None:
    """Raises: InvalidSecretValue, if the strategy doesn't fit the value."""
    if terms.rotation.strategy is not Strategy.RANDOM_VALUE:
        return
    if "engine" in (current.value.fields or {}) and not terms.has_database:
        raise InvalidSecretValue(
            "the secret value names a database engine, and RandomValue would lock out its application; "
            "use SingleUser or AlternatingUsers, or remove the key engine"
        )
    check_keys(terms.rotation, current.value)


def pending_mismatch(terms: Terms, seen: Observation) -> str | None:
    """Return why the pending value is not one that the operator would make from the current one; None if it is.

    AWS's templates check this too, so that a person who can write AWSPENDING cannot redirect the admin's session.
    Unlike them, this compares every key, because engines read more keys than the templates do.
    """
    if seen.pending is None:
        return "AWSPENDING was not read"
    if terms.rotation.strategy is Strategy.RANDOM_VALUE:
        return _random_mismatch(terms, seen.current, seen.pending)
    if seen.pending_credential is None:
        return f"AWSPENDING: {seen.pending_problem}"
    expected = next_user(terms.rotation, seen.current_credential)
    if seen.pending_credential.username != expected:
        # Without its name: AWSPENDING may be another's, and nothing has logged in with it.
        return "AWSPENDING is for another user than the one whose turn it is"
    return _other_keys_mismatch(seen.current, seen.pending, ("username", "password"))


def credential_to_try(terms: Terms, seen: Observation, other: StoredVersion) -> Credential | None:
    """Return the credential of another version than AWSCURRENT, if it is for one of AWSCURRENT's users at its server.

    Only its user and password are taken: a person who can write the secret can stage any value.
    """
    try:
        theirs, ours = terms.credential(other), seen.current_credential
        if terms.rotation.strategy is Strategy.RANDOM_VALUE:
            return theirs if _random_mismatch(terms, seen.current, other) is None else None
        place = (theirs.engine, theirs.host, theirs.port, theirs.dbname)
        if place != (ours.engine, ours.host, ours.port, ours.dbname):
            return None
        if theirs.username not in _names(users_of(terms.rotation, ours.username)):
            return None
        value = seen.current.value.replacing(username=theirs.username, password=theirs.password.reveal())
        return terms.credential(replace(other, value=value))
    except InvalidSecretValue:
        return None


def _random_mismatch(terms: Terms, current: StoredVersion, pending: StoredVersion) -> str | None:
    if (current.value.fields is None) is not (pending.value.fields is None):
        return "one of AWSPENDING and AWSCURRENT is a JSON object, and the other is not"
    try:
        check_keys(terms.rotation, pending.value)
    except InvalidSecretValue as error:
        return f"AWSPENDING: {error}"
    return _other_keys_mismatch(current, pending, random_settings(terms.rotation).keys)


def _other_keys_mismatch(current: StoredVersion, pending: StoredVersion, but: Iterable[str]) -> str | None:
    key = difference(current.value, pending.value, tuple(but))
    if key is None:
        return None
    return f"AWSPENDING and AWSCURRENT differ in {key_shown(key)}"
