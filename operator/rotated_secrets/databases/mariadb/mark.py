"""What marks an account as the clone of another: a locked account beside the two, which names both. Pure.

A role that the clone has, or anything else that SHOW GRANTS shows, is no mark: AWS's rotation template copies all that
it shows of one user to the other (SecretsManagerRDSMariaDBRotationMultiUser, set_secret). Roles were the marks of
earlier versions: they are still read, and go when the account beside the two is made.

Making an account needs CREATE USER. A mark in the clone itself would be no proof: a user may give itself another
password, as a hash, and with the GRANT OPTION on any object it may change its ways to log in, REQUIRE and limits.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from rotated_secrets.databases.mariadb.hashes import NATIVE, no_passwords_hash
from rotated_secrets.databases.mariadb.state import Entry, State, identified
from rotated_secrets.databases.mysql.accounts import Account, identifier, literal
from rotated_secrets.databases.mysql.grants import Member, RightSet

PREFIX = "rotated-secrets/clone/"
HOST = "localhost"
_ROLE = "rotated-secrets/clone-of/"


@dataclass(frozen=True)
class Mark:
    """Whose clone an account is, as a mark says it."""

    original: str
    clone: str

    @classmethod
    def read(cls, text: str) -> Mark | None:
        """Read the row of the mark's account in ``mysql.global_priv``; None, if it is no mark."""
        try:
            row = json.loads(text)
            found = None if row.get("is_role") else cls(row["x509_issuer"], row["x509_subject"])
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError):
            return None
        return found if found and isinstance(found.original, str) and isinstance(found.clone, str) else None

    def is_of(self, account: Account) -> bool:
        return self.clone == str(account)


def account_of_mark(user: str) -> Account:
    """The account that marks a clone of this name. User names have 80 characters at most, so it has a hash of it."""
    return Account(PREFIX + hashlib.sha256(user.encode()).hexdigest()[:40], HOST)


def mark_statements(base: Account, clone: State) -> tuple[str, ...]:
    """The statements that mark an account as the clone of another.

    The clone's terms are written out, as :attr:`State.written_out` says, unless they are.
    """
    mark = account_of_mark(clone.account.user)
    no_password = identified([Entry(NATIVE, no_passwords_hash(base.user))])
    names = f"REQUIRE ISSUER {literal(str(base))} AND SUBJECT {literal(str(clone.account))}"
    made = f"CREATE OR REPLACE USER {mark.sql} {no_password} {names} ACCOUNT LOCK"
    lock = "LOCK" if clone.locked else "UNLOCK"
    terms = f"ALTER USER {clone.account.sql} {clone.terms.limits} {clone.terms.lifetime} ACCOUNT {lock}"
    return (made,) if clone.written_out else (made, terms)


def role_of(base: str) -> str:
    """The role by which earlier versions marked the clone of a base user."""
    # Role names have as many characters as user names.
    return _ROLE + (base if len(_ROLE + base) <= 80 else hashlib.sha256(base.encode()).hexdigest()[:40])


def drop_role(base: str) -> str:
    """The statement that takes such a role from all who have it."""
    return f"DROP ROLE IF EXISTS {identifier(role_of(base))}"


def without_roles(rights: RightSet) -> tuple[RightSet, frozenset[str]]:
    """Rights without such roles, and the names of those that mark the account: its admin has one WITH ADMIN OPTION."""
    roles = [right for right in rights if isinstance(right, Member) and right.role.startswith(_ROLE)]
    return rights.difference(roles), frozenset(right.role for right in roles if not right.admin)


def named_by(role: str) -> str:
    """The base user that such a role names, or the hash of its name."""
    return role.removeprefix(_ROLE)
