"""Checks before a user is changed, and the refusals that follow from them. The same for all engines. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rotated_secrets.databases.base import Refused, Server, Users
from rotated_secrets.values import Credential

_WITH_SUFFIX = "delete this RotatedSecret and create it again with rotation.cloneSuffix:"
"""The suffix of a RotatedSecret cannot be changed."""


def check_names(users: Users, unusable_name: Callable[[str], str | None]) -> None:
    """Check both names; ``unusable_name`` returns why the engine cannot use a name.

    Raises: Refused.
    """
    for name in (users.base, users.clone):
        unusable = unusable_name(name) if name is not None else None
        if unusable:
            raise Refused(unusable)


def check_is_base_or_clone(users: Users, user: str) -> None:
    """Check that a session changes only the two users of its credential.

    Raises: Refused.
    """
    if user not in (users.base, users.clone):
        raise Refused(f"user {user} is neither {users.base} nor its clone, so its password is not set")


def check_keeps_nothing(product: str, user: str, keep: Credential | None) -> None:
    """Check that no second password is asked for, at a database whose users have one password each.

    Raises: Refused.
    """
    if keep is not None:
        raise Refused(f"{product} has one password a user, so none of {user} can be kept beside the new one")


def check_keeps_own(user: str, keep: Credential | None) -> None:
    """Check that the password to keep is one of the same user.

    Raises: Refused.
    """
    if keep is not None and keep.username != user:
        raise Refused(f"a password of user {keep.username} cannot be kept for user {user}")


def no_such_user(user: str, server: Server) -> Refused:
    """The refusal to change a user that does not exist."""
    return Refused(f"user {user} does not exist at {server}; create it, or correct the secret value")


def not_provably_the_clone(clone: str | None, base: str, place: object, why: str) -> Refused:
    """The refusal to change a user that has the clone's name; ``place`` is a server, or a database at one."""
    return Refused(f"user {clone} {place} is not provably the clone of {base}: {why}")


def check_is_only_clone(base: str, others: Iterable[str], place: str) -> None:
    """Check, before a clone is made, that its base user has none; ``others`` are the users marked as its clones.

    A second one would be a third user, whose password no rotation would ever change again.

    Raises: Refused.
    """
    other = min((each for each in others if each != base), default=None)
    if other is None:
        return
    suffix = other.removeprefix(base)
    how = f"{_WITH_SUFFIX} {suffix}, or drop user {other}" if suffix != other else f"drop user {other}"
    raise Refused(
        f"user {base} {place} has a clone already, {other}, made for another rotation.cloneSuffix; another clone would "
        f"leave it with a password that is never changed again: {how}"
    )


def check_is_no_clone(base: str, original: str | None, place: str) -> None:
    """Check that a base user is not itself a clone; ``original`` is the user that its mark names.

    Raises: Refused.
    """
    if original in (None, base):
        return  # a rotator that copies all roles of a clone copies its mark as well
    suffix = base.removeprefix(original)
    next_step = f"{_WITH_SUFFIX} {suffix}" if suffix != base else "correct the secret value"
    raise Refused(f"user {base} {place} gets no clone: it is itself the clone of {original}; {next_step}")
