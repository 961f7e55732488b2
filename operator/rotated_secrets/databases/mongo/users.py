"""Decide whether a user is the clone of another, where the two differ, and whether the admin may change them. Pure.

The clone is a user of the same database with the base user's roles, authentication restrictions, mechanisms and custom
data. The key ``rotatedSecretsCloneOf`` of its custom data says whose clone it is: nothing else tells a clone whose base
user has lost a role from a stranger with one role more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

MARK = "rotatedSecretsCloneOf"
LONGEST_NAME = 128
"""Characters. MongoDB has no limit; this one keeps a name from filling logs and messages."""
RESERVED = "__system"

Document = dict[str, Any]
Restriction = tuple[frozenset[str], frozenset[str]]
"""Addresses of clients and of the server, one of each of which a login must match."""


@dataclass(frozen=True, order=True)
class Role:
    """A role by its name and the database that it belongs to."""

    name: str
    database: str

    def __str__(self) -> str:
        return f"{self.name}@{self.database}"

    def document(self) -> Document:
        return {"role": self.name, "db": self.database}


@dataclass(frozen=True)
class Account:
    """A user as ``usersInfo`` shows it. Custom data are not shown: people keep keys in them."""

    name: str
    database: str
    roles: frozenset[Role] = frozenset()
    mechanisms: frozenset[str] = frozenset()
    """Empty if the server does not show them."""
    restrictions: frozenset[Restriction] = frozenset()
    custom: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Without the mark."""
    clone_of: str | None = None

    def restriction_documents(self) -> list[Document]:
        return [
            {key: sorted(found) for key, found in (("clientSource", clients), ("serverAddress", servers)) if found}
            for clients, servers in sorted(self.restrictions, key=lambda each: (sorted(each[0]), sorted(each[1])))
        ]


class Part(Enum):
    """In which of its parts a clone differs."""

    LACKS_ROLE = "lacks role"
    HAS_ROLE = "has role"
    RESTRICTIONS = "restrictions"
    MECHANISMS = "mechanisms"
    CUSTOM = "custom data"


@dataclass(frozen=True)
class Difference:
    part: Part
    sentence: str
    role: Role | None = None


def read_account(document: Mapping[str, Any]) -> Account:
    custom = dict(document.get("customData") or {})
    clone_of = custom.pop(MARK, None)
    return Account(
        name=str(document["user"]),
        database=str(document["db"]),
        roles=frozenset(Role(str(each["role"]), str(each["db"])) for each in document.get("roles") or ()),
        mechanisms=frozenset(map(str, document.get("mechanisms") or ())),
        restrictions=frozenset(
            (frozenset(map(str, each.get("clientSource") or ())), frozenset(map(str, each.get("serverAddress") or ())))
            for each in document.get("authenticationRestrictions") or ()
        ),
        custom=custom,
        clone_of=clone_of if isinstance(clone_of, str) and clone_of else None,
    )


def unusable_name(name: str) -> str | None:
    """Return why the operator does not rotate a user of this name."""
    if not name or "\x00" in name:
        return "user name in the secret value is empty or holds a NUL character, which MongoDB does not allow"
    if len(name) > LONGEST_NAME:
        return f"user name {name[:20]}… has {len(name)} characters; at most {LONGEST_NAME} are allowed"
    if name == RESERVED:
        return f"user name {name} is one that MongoDB keeps for itself; choose another"
    return None


def not_the_clone(base: Account, clone: Account) -> str | None:
    """Return why an existing user cannot be used as the clone: this must be proven, not guessed.

    A user without the mark is used as the clone only if its password gives and takes no right: it has exactly the roles
    of the base user and nothing else, as AWS's template makes a clone. With fewer roles it may be another person's
    user, which would get the missing roles and a password like the base user's.
    """
    if clone.clone_of == base.name:
        return None
    if clone.clone_of is not None:
        return f"its customData says that it is the clone of {clone.clone_of}"
    beyond = sorted(clone.roles - base.roles)
    if beyond:
        revoke = shell(clone.database, "revokeRolesFromUser", clone.name, [role.document() for role in beyond])
        return f"it has {', '.join(map(str, beyond))}, which {base.name} does not have; if it is the clone: {revoke}"
    marking = shell(clone.database, "updateUser", clone.name, {"customData": {MARK: base.name}})
    if not clone.roles:
        return f"it has no roles at all, so nothing says that it is; if it is the clone: {marking}"
    lacking = sorted(base.roles - clone.roles)
    if lacking:
        # DocumentDB has no customData to mark it by.
        grant = shell(clone.database, "grantRolesToUser", clone.name, [role.document() for role in lacking])
        return f"it lacks {', '.join(map(str, lacking))}, which {base.name} has; if it is the clone: {grant}"
    if clone.custom and clone.custom != base.custom:
        return f"it has other customData than {base.name}; if it is the clone: {marking}"
    if clone.restrictions and clone.restrictions != base.restrictions:
        return f"it has other authentication restrictions than {base.name}; if it is the clone: {marking}"
    return None


def differences(base: Account, clone: Account) -> Iterator[Difference]:
    """Return the differences between the clone and its base user."""
    for role in sorted(base.roles - clone.roles):
        yield Difference(Part.LACKS_ROLE, f"{clone.name} lacks role {role}", role)
    for role in sorted(clone.roles - base.roles):
        yield Difference(Part.HAS_ROLE, f"{clone.name} has role {role}, which {base.name} does not have", role)
    if base.restrictions != clone.restrictions:
        yield Difference(Part.RESTRICTIONS, f"{clone.name} has other authentication restrictions than {base.name}")
    if base.mechanisms != clone.mechanisms:
        yield Difference(
            Part.MECHANISMS,
            f"{clone.name} logs in by {_listed(clone.mechanisms)} instead of {_listed(base.mechanisms)}",
        )
    if dict(base.custom) != dict(clone.custom):
        yield Difference(Part.CUSTOM, f"{clone.name} has other customData than {base.name}")


def missing_privilege(
    privileges: Sequence[Mapping[str, Any]],
    *,
    admin: str,
    source: str,
    itself: bool,
    base: Account,
    clone: Account | None,
    clones: bool,
) -> str | None:
    """Return what the session lacks to change these users, and the command that grants it.

    ``admin`` of database ``source`` is logged in; ``itself``: it is the base user, and the only one; ``clones``: there
    is a second user, which ``clone`` is once it exists.
    """
    database = base.database
    if itself:
        if may(privileges, "changeOwnPassword", database) or may(privileges, "changePassword", database):
            return None
        role = f"rotatesOwnPassword_{database}"
        return (
            f"{admin} lacks changeOwnPassword on database {database}, and there is no admin secret; run: "
            f"{create_role(role, [own_password(database), LOCKS])}; {grant_role(database, admin, role, 'admin')}"
        )
    needed = [("viewUser", database), ("changePassword", database)]
    if clones:
        needed += [("changeCustomData", database)]
        needed += [("setAuthenticationRestriction", database)] if base.restrictions else []
        needed += [] if clone else [("createUser", database)]
        given = clone.roles if clone else frozenset()
        needed += [("grantRole", role.database) for role in sorted(base.roles - given)]
    for action, where in needed:
        if not may(privileges, action, where):
            return f"{admin} lacks {action} on database {where}; run: {grant_role(source, admin, 'userAdmin', where)}"
    return None


def may(privileges: Sequence[Mapping[str, Any]], action: str, database: str) -> bool:
    """Whether one of the privileges, as ``connectionStatus`` shows them, allows an action on a whole database."""
    for privilege in privileges:
        resource = privilege.get("resource") or {}
        covers = resource.get("anyResource") is True or (
            resource.get("collection") == "" and resource.get("db") in ("", database)
        )
        if covers and action in (privilege.get("actions") or ()):
            return True
    return False


def shell(database: str, method: str, *arguments: object) -> str:
    """A command as a person types it into MongoDB's shell."""
    return f"db.getSiblingDB({json.dumps(database)}).{method}({', '.join(map(json.dumps, arguments))})"


def own_password(database: str) -> Document:
    """The privilege of a user of this database to change its own password."""
    return {"resource": {"db": database, "collection": ""}, "actions": ["changeOwnPassword"]}


LOCKS: Document = {
    "resource": {"db": "rotated_secrets", "collection": "locks"},
    "actions": ["find", "insert", "update", "remove"],
}
"""The privilege to keep the locks."""


def create_role(name: str, privileges: list[Document]) -> str:
    """The command that makes a role, in admin: roles of other databases reach no further than those."""
    return shell("admin", "createRole", {"role": name, "privileges": privileges, "roles": []})


def grant_role(database: str, user: str, role: str, of: str) -> str:
    """The command that gives a user of ``database`` a role of database ``of``."""
    return shell(database, "grantRolesToUser", user, [{"role": role, "db": of}])


def _listed(mechanisms: frozenset[str]) -> str:
    return " and ".join(sorted(mechanisms)) or "none"
