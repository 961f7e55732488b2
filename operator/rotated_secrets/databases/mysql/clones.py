"""Decide whether an account is the clone of another: this must be proven, not guessed. Pure.

A clone that the operator made carries a mark, which only a user with CREATE USER can write. One that AWS's rotation
template made carries none: it counts as the clone if it has exactly its base user's rights. With fewer it may be
another person's user, which would get the missing rights and a password like the base user's.
"""

from __future__ import annotations

from rotated_secrets.databases.mysql.accounts import Account
from rotated_secrets.databases.mysql.catalog import User
from rotated_secrets.databases.mysql.grants import beyond
from rotated_secrets.databases.mysql.options import PASSWORD_PLUGINS, mark_statement
from rotated_secrets.databases.parity import first_of


def no_password(user: User) -> str | None:
    """Return why the password of an account cannot be set."""
    if user.options.plugin not in PASSWORD_PLUGINS:
        return (
            f"user {user.account} logs in by plug-in {user.options.plugin}, which has no password of the server's; "
            f"run: ALTER USER {user.account.sql} IDENTIFIED WITH caching_sha2_password BY '…'"
        )
    if user.has_factors:
        return (
            f"user {user.account} logs in by more than a password (multi-factor authentication), and can't be rotated"
        )
    return None


def misplaced(base: Account, found: tuple[Account, ...]) -> str | None:
    """Return why accounts of the clone's name are not the clone: its host part has to be its base user's."""
    others = [account for account in found if account.host != base.host]
    if not others:
        return None
    return (
        f"{first_of([str(account) for account in others])} has another host part than {base}; "
        f"if it is the clone: RENAME USER {others[0].sql} TO {base.named(others[0].user).sql}"
    )


def original_of(user: User) -> str | None:
    """Return the name of the user that the operator made an account the clone of."""
    marked = user.options.clone_of
    return marked.rpartition("@")[0] if marked is not None else None


def not_the_clone(base: User, clone: User) -> str | None:
    """Return why an existing account cannot be used as the clone; both come with their rights."""
    marked = clone.options.clone_of
    if marked == str(base.account):
        return None
    proof = f"if it is the clone: {mark_statement(clone.account, base.account)}"
    if marked is not None:
        return f"it is marked as the clone of {marked}; {proof}"
    if not clone.rights:
        return f"it has no rights at all, so nothing proves that it is; {proof}"
    if clone.locked or not clone.primary:
        return f"it is a role, or locked; {proof}"
    if clone.rights != base.rights:
        more, fewer = beyond(base.rights, clone.rights), beyond(clone.rights, base.rights)
        if more:
            return f"it has rights that {base.account} does not have: {first_of(more)}; {proof}"
        lacking = first_of(fewer) if fewer else "they are granted in another way"
        return f"it does not have all rights of {base.account}: {lacking}; {proof}"
    return None
