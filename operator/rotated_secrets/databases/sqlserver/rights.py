"""What a SQL Server login or user has, and where its clone has something else. Pure: decides on what was read.

The clone may act as its base user (IMPERSONATE), which is no more than it can do by itself, and which only who may
change either could have given it: that is what proves it to be the clone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from rotated_secrets.databases.parity import Difference

NAME_CHARACTERS = 128
"""sysname."""

_UNUSABLE = re.compile("[\x00-\x1f\x7f\\\\\ud800-\udfff]")


@dataclass(frozen=True)
class Permission:
    """One permission as GRANT, DENY and REVOKE write it."""

    name: str
    on: str = ""
    """What it is on, with its class; empty for the server or database itself."""
    column: str = ""

    def __str__(self) -> str:
        column = f" ({quoted(self.column)})" if self.column else ""
        return f"{self.name} ON {self.on}{column}" if self.on else self.name


_CLOSED = "the admin may not enter, or which is offline or read-only"
_CONNECT = Permission("CONNECT")
GRANTED, GRANTED_WITH_OPTION, DENIED, REVOKED = "G", "W", "D", "R"
"""Column ``state`` of sys.server_permissions and sys.database_permissions."""
_GIVEN = (GRANTED, GRANTED_WITH_OPTION)

Permissions = Mapping[Permission, str]


@dataclass(frozen=True)
class Login:
    """A login that has a password, and everything on the level of the server that is its own."""

    name: str
    sid: bytes
    disabled: bool
    locked: bool
    database: str | None
    language: str | None
    policy: bool
    expiration: bool
    roles: frozenset[str] = frozenset()
    permissions: Permissions = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatabaseUser:
    """A user in one database, and everything there that is its own."""

    name: str
    schema: str | None = None
    language: str | None = None
    contained: bool = False
    """It has its own password, in this database only."""
    owner: bool = False
    """It is dbo: the login owns the database."""
    roles: frozenset[str] = frozenset()
    permissions: Permissions = field(default_factory=dict)
    schemas: tuple[str, ...] = ()
    """Those that it owns."""
    unreadable: tuple[str, ...] = ()

    @property
    def kept_out(self) -> bool:
        return self.permissions.get(_CONNECT) == DENIED

    def let_in_as(self, base: DatabaseUser) -> DatabaseUser:
        """This user as it is once it may log in where ``base`` may."""
        permissions = {each: state for each, state in self.permissions.items() if each != _CONNECT}
        if _CONNECT in base.permissions:
            permissions[_CONNECT] = base.permissions[_CONNECT]
        return replace(self, permissions=permissions)


def mark_on(kind: str, base: str) -> Permission:
    """The permission that marks the clone: of a LOGIN, or a USER."""
    return Permission("IMPERSONATE", f"{kind}::{quoted(base)}")


def original_of(kind: str, user: str, permissions: Permissions) -> str | None:
    """The LOGIN or USER whose clone one is marked as: its name begins with that one's."""
    return next((user[:length] for length in range(1, len(user)) if mark_on(kind, user[:length]) in permissions), None)


def unusable_name(name: str) -> str | None:
    """Return why the server cannot have a login of this name with a password."""
    if not name or _UNUSABLE.search(name):
        return f"user name {name!r} is empty or holds a control character or a backslash, as only Windows logins do"
    if len(name) > NAME_CHARACTERS:
        return (
            f"user {name} has {len(name)} characters, and SQL Server takes {NAME_CHARACTERS}; "
            f"choose a shorter user name or clone suffix"
        )
    if name.startswith("##"):
        return f"user name {name} is one that SQL Server keeps for itself; choose another"
    return None


def login_differences(base: Login, clone: Login) -> Iterator[Difference]:
    """Where the clone differs from the base user on the level of the server, but for passwords."""
    name = quoted(clone.name)
    for option, wanted, found in (
        ("DEFAULT_DATABASE", _name(base.database), _name(clone.database)),
        ("DEFAULT_LANGUAGE", _name(base.language), _name(clone.language)),
        ("CHECK_POLICY", _flag(base.policy), _flag(clone.policy)),
        ("CHECK_EXPIRATION", _flag(base.expiration), _flag(clone.expiration)),
    ):
        if wanted != found and wanted:
            yield Difference(
                f"has {option} {found} instead of {wanted}", (f"ALTER LOGIN {name} WITH {option} = {wanted}",)
            )
    yield from _memberships("SERVER ROLE", base.name, base.roles, clone.roles, name, "")
    marks = {mark_on("LOGIN", base.name)}
    yield from _permissions(base.name, base.permissions, clone.permissions, name, marks, "")
    yield from _unreadable(base.name, base.unreadable, clone.unreadable, "")


def user_differences(
    base: DatabaseUser | None, clone: DatabaseUser | None, base_name: str, database: str, create: str
) -> Iterator[Difference]:
    """Where the clone differs from the base user in one database; ``create`` makes it there where it is missing."""
    base, missing = base or DatabaseUser(base_name), base is None
    if clone is None:
        yield Difference(f"has no user in database {database}", (create,), lacks=True, place=database)
        return
    name = quoted(clone.name)
    if base.owner or clone.owner:
        if base.owner and not clone.owner:
            yield Difference(f"does not own database {database}, which {base_name} does", lacks=True)
        if clone.owner and not base.owner:
            yield Difference(f"owns database {database}, which {base_name} does not")
        return
    if base.schema != clone.schema and base.schema and not missing:
        yield Difference(
            f"has default schema {clone.schema} instead of {base.schema} in database {database}",
            (f"ALTER USER {name} WITH DEFAULT_SCHEMA = {quoted(base.schema)}",),
            lacks=True,
            place=database,
        )
    for schema in clone.schemas:
        if not missing:
            yield Difference(
                f"owns schema {schema} in database {database}",
                (f"ALTER AUTHORIZATION ON SCHEMA::{quoted(schema)} TO {quoted(base.name)}",),
                place=database,
            )
    yield from _memberships("ROLE", base.name, base.roles, clone.roles, name, database)
    marks = {mark_on("USER", base.name)}
    yield from _permissions(base.name, expected_in(base), clone.permissions, name, marks, database)
    yield from _unreadable(base.name, base.unreadable, clone.unreadable, database)


def uncompared(closed: Iterable[str], needed: Iterable[str | None]) -> Iterator[Difference]:
    """Report databases that the admin cannot read; in those that are ``needed`` the clone has to be equal."""
    wanted = {name.lower() for name in needed if name}
    for database in closed:
        if database.lower() in wanted:
            yield Difference(f"may lack rights in database {database}, which {_CLOSED}", lacks=True)
    others = [database for database in closed if database.lower() not in wanted]
    if others:
        yield Difference(f"was not compared in databases {', '.join(others)}, which {_CLOSED}")


def expected_in(base: DatabaseUser) -> Permissions:
    """Return what the clone should be granted: the base user's permissions, and what owning a schema adds to them."""
    owning = {Permission("CONTROL", f"SCHEMA::{quoted(schema)}"): GRANTED for schema in base.schemas}
    return owning | dict(base.permissions)


def _memberships(
    kind: str, base: str, wanted: frozenset[str], found: frozenset[str], clone: str, database: str
) -> Iterator[Difference]:
    for role in sorted(wanted - found):
        yield Difference(
            f"lacks {kind.lower()} {role}{_at(database)}", (f"ALTER {kind} {quoted(role)} ADD MEMBER {clone}",),
            lacks=True, place=database,
        )  # fmt: skip
    for role in sorted(found - wanted):
        yield Difference(
            f"has {kind.lower()} {role}{_at(database)}, which {base} does not have",
            (f"ALTER {kind} {quoted(role)} DROP MEMBER {clone}",),
            place=database,
        )


def _permissions(
    base: str, wanted: Permissions, found: Permissions, clone: str, marks: set[Permission], database: str
) -> Iterator[Difference]:
    # On a whole object before its columns: a permission on the whole takes those on columns away.
    for permission in sorted(wanted.keys() | found.keys(), key=lambda each: (each.on, each.name, each.column)):
        want, have = wanted.get(permission), found.get(permission)
        if want == have or (want is None and permission in marks):
            continue
        lacks = want in _GIVEN and (have not in _GIVEN or want == GRANTED_WITH_OPTION)
        yield Difference(
            f"has {_state(have)} {permission}{_at(database)} where {base} has {_state(want)}",
            (_change(permission, have, want, clone),),
            lacks=lacks,
            place=database,
        )


def _change(permission: Permission, have: str | None, want: str | None, clone: str) -> str:
    cascade = " CASCADE" if have == GRANTED_WITH_OPTION else ""
    if want == GRANTED and have == GRANTED_WITH_OPTION:
        return f"REVOKE GRANT OPTION FOR {permission} FROM {clone} CASCADE"
    if want == GRANTED:
        return f"GRANT {permission} TO {clone}"
    if want == GRANTED_WITH_OPTION:
        return f"GRANT {permission} TO {clone} WITH GRANT OPTION"
    if want == DENIED:
        return f"DENY {permission} TO {clone}{cascade}"
    return f"REVOKE {permission} FROM {clone}{cascade}"


def _unreadable(base: str, wanted: tuple[str, ...], found: tuple[str, ...], database: str) -> Iterator[Difference]:
    for told in wanted:
        if told not in found:
            yield Difference(f"may lack {told}{_at(database)}, which {base} has", lacks=True, place=database)
    for told in found:
        if told not in wanted:
            yield Difference(f"has {told}{_at(database)}, which {base} does not have", place=database)


def _state(state: str | None) -> str:
    words = {GRANTED: "a GRANT of", GRANTED_WITH_OPTION: "a GRANT with its option of", DENIED: "a DENY of"}
    return words.get(state or "", "nothing on" if state is None else "a REVOKE of")


def _at(database: str) -> str:
    return f" in database {database}" if database else ""


def _name(name: str | None) -> str:
    return quoted(name) if name else ""


def _flag(flag: bool) -> str:
    return "ON" if flag else "OFF"


def quoted(name: str) -> str:
    """A name as T-SQL takes it, whatever is in it: as QUOTENAME does."""
    return "[" + name.replace("]", "]]") + "]"


def literal(text: str) -> str:
    """A string as T-SQL takes it. What it cannot write is a backslash at the end of a line."""
    return "N'" + text.replace("'", "''") + "'"
