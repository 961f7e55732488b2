"""What the catalog says about a base user and its clone, read in one go.

The connection's search_path is pg_catalog, and every name is qualified all the same. Reads only; decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from rotated_secrets.databases.base import Users

OPTIONS_OF_MEMBERSHIP = 160000
"""The server version from which a membership has INHERIT and SET options, and CREATEROLE alone is not enough."""

PRIVILEGES_ON_PARAMETERS = 150000
"""The server version from which a superuser can let others make a setting, by GRANT SET ON PARAMETER."""

SettingKey = tuple[str | None, str]
"""A database (None: all of them) and the name of a setting."""


@dataclass(frozen=True)
class Role:
    """A row of pg_roles."""

    oid: int
    name: str
    attributes: frozenset[str]
    inherits: bool
    can_login: bool
    connection_limit: int
    valid_until: str | None
    expired: bool
    comment: str | None = None


@dataclass(frozen=True)
class Membership:
    """One role that the clone was made a member of."""

    role: str
    admin: bool
    base_has_it: bool
    grantors: tuple[str, ...] = ()
    """Who granted it, where this matters: from PostgreSQL 16 on each of them can take back only their own grant."""


@dataclass(frozen=True)
class Belongings:
    """Objects of one kind in one database (None: shared by all) that name the clone as owner or in their privileges."""

    database: str | None
    owned: bool
    count: int
    kind: str = "object"
    """What one of them is: an object, or one of the few things that REASSIGN OWNED leaves alone."""


@dataclass(frozen=True)
class Clone:
    """The clone user as it is."""

    role: Role
    memberships: tuple[Membership, ...]
    settings: Mapping[SettingKey, str] = field(repr=False)
    belongings: tuple[Belongings, ...]
    uses_base: bool
    """Has the base user's rights without SET ROLE."""
    becomes_base: bool
    """May SET ROLE to the base user."""
    given_to_base: tuple[tuple[str, str | None], ...] = ()
    """Members of the clone by which the base user is one, each with who granted it that, where this matters."""


@dataclass(frozen=True)
class Admin:
    """Whose session this is."""

    name: str
    superuser: bool
    creates_roles: bool
    administers_base: bool
    administers_clone: bool


@dataclass(frozen=True)
class Seen:
    """Everything a decision about two users needs; ``base`` is None where it does not exist."""

    version: int
    admin: Admin
    base: Role | None
    base_settings: Mapping[SettingKey, str] = field(repr=False)
    clone: Clone | None
    everyones_settings: Mapping[SettingKey, str] = field(default_factory=dict, repr=False)
    """Those of databases and of the server, which hold for every user that has no other."""
    base_becomes: frozenset[str] = frozenset()
    """The roles, of those that a setting of `role` names, to which the base user may SET ROLE."""


_ATTRIBUTES = ("SUPERUSER", "CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS")
_ROLES = """
SELECT oid, rolname, rolinherit, rolcanlogin, rolconnlimit, NULLIF(rolvaliduntil, 'infinity')::pg_catalog.text,
       COALESCE(rolvaliduntil OPERATOR(pg_catalog.<=) pg_catalog.now(), false),
       pg_catalog.shobj_description(oid, 'pg_authid'),
       rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls
FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.name[])
"""
# The admin first, then whether the clone has the base user's rights, and may become it.
_WHO_MAY = """
SELECT rolname, rolsuper, rolcreaterole,
       COALESCE(pg_catalog.pg_has_role(oid, %(base)s::pg_catalog.oid, 'MEMBER WITH ADMIN OPTION'), false),
       COALESCE(pg_catalog.pg_has_role(oid, %(clone)s::pg_catalog.oid, 'MEMBER WITH ADMIN OPTION'), false),
       COALESCE(pg_catalog.pg_has_role(%(clone)s::pg_catalog.oid, %(base)s::pg_catalog.oid, 'USAGE'), false),
       COALESCE(pg_catalog.pg_has_role(%(clone)s::pg_catalog.oid, %(base)s::pg_catalog.oid, %(becoming)s), false)
FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) SESSION_USER
"""
_ALL_ROLES = 0
_SETTINGS = """
SELECT s.setrole, d.datname, pg_catalog.unnest(s.setconfig)
FROM pg_catalog.pg_db_role_setting s
LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.setdatabase
WHERE s.setrole OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.oid[])
"""
_MEMBERSHIPS = """
SELECT r.rolname, pg_catalog.bool_or(m.admin_option),
       pg_catalog.bool_or(pg_catalog.pg_has_role(%(base)s::pg_catalog.oid, m.roleid, 'MEMBER')),
       pg_catalog.array_agg(g.rolname::pg_catalog.text) FILTER (WHERE g.rolname IS NOT NULL)
FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) m.roleid
LEFT JOIN pg_catalog.pg_roles g ON g.oid OPERATOR(pg_catalog.=) m.grantor AND %(has_grantors)s
WHERE m.member OPERATOR(pg_catalog.=) %(clone)s::pg_catalog.oid
GROUP BY r.rolname ORDER BY r.rolname
"""
# A superuser is taken for a member of every role.
_GIVEN_TO_BASE = """
SELECT r.rolname, g.rolname
FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) m.member
LEFT JOIN pg_catalog.pg_roles g ON g.oid OPERATOR(pg_catalog.=) m.grantor AND %(has_grantors)s
WHERE m.roleid OPERATOR(pg_catalog.=) %(clone)s::pg_catalog.oid
  AND (m.member OPERATOR(pg_catalog.=) %(base)s::pg_catalog.oid
       OR NOT %(superuser)s AND pg_catalog.pg_has_role(%(base)s::pg_catalog.oid, m.member, 'MEMBER'))
ORDER BY 1, 2
"""
# "REASSIGN OWNED" passes over the first two (shdepReassignOwned in src/backend/catalog/pg_shdepend.c).
_BELONGINGS = """
SELECT d.datname, s.deptype OPERATOR(pg_catalog.=) 'o', pg_catalog.count(*),
       CASE WHEN s.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_default_acl'::pg_catalog.regclass
            THEN 'default privilege'
            WHEN s.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_user_mapping'::pg_catalog.regclass
            THEN 'user mapping'
            WHEN s.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_auth_members'::pg_catalog.regclass
            THEN 'membership'
            ELSE 'object' END
FROM pg_catalog.pg_shdepend s
LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.dbid
WHERE s.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_authid'::pg_catalog.regclass
  AND s.refobjid OPERATOR(pg_catalog.=) %s::pg_catalog.oid
GROUP BY 1, 2, 4 ORDER BY 1, 2, 4
"""
_COMMENTED = """
SELECT rolname FROM pg_catalog.pg_roles
WHERE pg_catalog.shobj_description(oid, 'pg_authid') OPERATOR(pg_catalog.=) %s::pg_catalog.text
"""
_BECOMES_ROLES = """
SELECT rolname FROM pg_catalog.pg_roles
WHERE rolname OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.name[])
  AND pg_catalog.pg_has_role(%s::pg_catalog.oid, oid, %s)
"""


def look(cursor: Cursor, users: Users) -> Seen:
    """Read both users, and what the session's own user may do with them."""
    version = cursor.connection.server_version
    cursor.execute(_ROLES, ([name for name in (users.base, users.clone) if name is not None],))
    roles = {
        name: Role(
            oid,
            name,
            frozenset(attribute for attribute, on in zip(_ATTRIBUTES, flags, strict=True) if on),
            inherits,
            can_login,
            limit,
            valid_until,
            expired,
            comment,
        )
        for oid, name, inherits, can_login, limit, valid_until, expired, comment, *flags in cursor.fetchall()
    }
    base = roles.get(users.base)
    clone = roles.get(users.clone) if users.clone is not None else None
    oids = {"base": base.oid if base else None, "clone": clone.oid if clone else None}
    cursor.execute(_WHO_MAY, {**oids, "becoming": becoming(version)})
    *held, uses, becomes_base = _only(cursor)
    admin = Admin(*held)
    settings = _settings(cursor, [_ALL_ROLES, *(role.oid for role in (base, clone) if role)])
    if base is None:
        return Seen(version, admin, None, {}, None)
    found = None
    if clone is not None:
        memberships, belongings, given = _connected(cursor, base, clone)
        of_clone = settings.get(clone.oid, {})
        found = Clone(clone, memberships, of_clone, belongings, uses, becomes_base, given)
    of_base, of_all = settings.get(base.oid, {}), settings.get(_ALL_ROLES, {})
    named = [value for each in (of_base, of_all) for (_, setting), value in each.items() if setting == "role"]
    return Seen(version, admin, base, of_base, found, of_all, _becomes(cursor, base, named))


def becoming(version: int) -> str:
    """What pg_has_role calls the right to SET ROLE."""
    return "SET" if version >= OPTIONS_OF_MEMBERSHIP else "MEMBER"


def commented(cursor: Cursor, comment: str) -> tuple[str, ...]:
    """The users that have this comment."""
    cursor.execute(_COMMENTED, (comment,))
    return tuple(name for (name,) in cursor.fetchall())


def _becomes(cursor: Cursor, base: Role, named: list[str]) -> frozenset[str]:
    if not named:
        return frozenset()
    cursor.execute(_BECOMES_ROLES, (named, base.oid, becoming(cursor.connection.server_version)))
    return frozenset(name for (name,) in cursor.fetchall())


def _connected(
    cursor: Cursor, base: Role, clone: Role
) -> tuple[tuple[Membership, ...], tuple[Belongings, ...], tuple[tuple[str, str | None], ...]]:
    """What the clone is a member of, what belongs to it, and by which of its own members the base user is one."""
    both = {
        "clone": clone.oid,
        "base": base.oid,
        "superuser": "SUPERUSER" in base.attributes,
        "has_grantors": cursor.connection.server_version >= OPTIONS_OF_MEMBERSHIP,
    }
    cursor.execute(_MEMBERSHIPS, both)
    memberships = tuple(
        Membership(role, admin, base_has_it, tuple(grantors or ())) for role, admin, base_has_it, grantors in cursor
    )
    cursor.execute(_BELONGINGS, (clone.oid,))
    belongings = tuple(Belongings(*row) for row in cursor.fetchall())
    cursor.execute(_GIVEN_TO_BASE, both)
    given = tuple((member, grantor) for member, grantor in cursor.fetchall())
    return memberships, belongings, given


def _settings(cursor: Cursor, oids: list[int]) -> dict[int, dict[SettingKey, str]]:
    cursor.execute(_SETTINGS, (oids,))
    found: dict[int, dict[SettingKey, str]] = {}
    for oid, database, text in cursor.fetchall():
        name, _, value = text.partition("=")
        found.setdefault(oid, {})[(database, name)] = value
    return found


def _only(cursor: Cursor) -> tuple[Any, ...]:
    row = cursor.fetchone()
    if row is None:
        raise LookupError("the catalog has no row for the session's own user")
    return row
