"""Decide whether a user is the clone of another, and where the two differ. Pure: works on what was read.

The clone owns nothing and is granted nothing: it is a member of the base user and its sessions start as the base
user (``ALTER ROLE clone SET role TO base``), so that what it creates belongs to the base user.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

from rotated_secrets.databases.base import Users
from rotated_secrets.databases.parity import first_of
from rotated_secrets.databases.postgres.catalog import (
    OPTIONS_OF_MEMBERSHIP,
    PRIVILEGES_ON_PARAMETERS,
    Belongings,
    Clone,
    Membership,
    Role,
    Seen,
    SettingKey,
)

NAME_BYTES = 63
"""NAMEDATALEN - 1."""

_MARK = "rotated-secrets: clone of "

SURROGATE = re.compile("[\ud800-\udfff]")
"""What JSON can write and UTF-8 can't."""

# Settings whose value is a list of names (pg_dump's variable_is_guc_list_quote): each name is quoted by itself.
_LISTS = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)
_LIST_ITEM = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",]+?))\s*(?:,|\Z)')


@dataclass(frozen=True)
class Difference:
    """One difference between the clone and the base user; ``repair`` is None if only a person can repair it."""

    sentence: str
    repair: Composed | None = None
    lacks: bool = False
    """The clone's sessions can do less than the base user's, or something else."""
    needs: str = ""
    """What a person runs to let this admin repair it."""


def unusable_name(name: str) -> str | None:
    """Return why the server cannot have a user of this name, or would silently use another name."""
    if SURROGATE.search(name):
        return f"user name {name!r} holds half a surrogate pair, which is no character; correct it"
    size = len(name.encode())
    if size > NAME_BYTES:
        return (
            f"user {name} has {size} bytes, and PostgreSQL cuts names after {NAME_BYTES}; "
            f"choose a shorter user name or clone suffix"
        )
    if not name or name.startswith("pg_") or name in ("public", "none"):
        return f"user name {name!r} is one that PostgreSQL keeps for itself; choose another"
    return None


def mark(base: str) -> str:
    """The comment on a clone, by which a RotatedSecret with another suffix recognises it.

    Only a user with CREATEROLE can write it. AWS's rotation template does not copy it.
    """
    return f"{_MARK}{base}"


def clone_of(role: Role) -> str | None:
    """Return the user whose clone a user is marked as."""
    comment = role.comment or ""
    return comment.removeprefix(_MARK) if comment.startswith(_MARK) else None


def missing_privilege(seen: Seen, base: Role) -> str | None:
    """Return everything that the admin lacks to change these users, and the statements that grant it."""
    admin, clone = seen.admin, seen.clone
    itself = admin.name == base.name and clone is None
    if admin.superuser:
        return None
    for role in (base, clone.role if clone else None):
        if role is not None and "SUPERUSER" in role.attributes and not itself:
            return f"{role.name} is a superuser, whose password only a superuser may set"
        if role is not None and "REPLICATION" in role.attributes and seen.version < OPTIONS_OF_MEMBERSHIP:
            return (
                f"{role.name} has REPLICATION, and before PostgreSQL 16 only a superuser may change such a user; run: "
                f"ALTER ROLE {quoted(role.name)} NOREPLICATION, or ALTER ROLE {quoted(admin.name)} SUPERUSER"
            )
    if itself:
        return None
    lacked, statements = [], []
    if not admin.creates_roles:
        lacked.append("CREATEROLE")
        statements.append(f"ALTER ROLE {quoted(admin.name)} CREATEROLE")
    if seen.version >= OPTIONS_OF_MEMBERSHIP:
        administered = {base.name: admin.administers_base}
        if clone is not None:
            administered[clone.role.name] = admin.administers_clone
        names = [name for name, has_it in administered.items() if not has_it]
        if names:
            lacked.append(f"ADMIN OPTION on {' and '.join(names)} (from PostgreSQL 16 CREATEROLE alone is not enough)")
            roles = ", ".join(quoted(name) for name in names)
            statements.append(f"GRANT {roles} TO {quoted(admin.name)} WITH ADMIN OPTION")
    return f"{admin.name} lacks {' and '.join(lacked)}; run: {'; '.join(statements)}" if lacked else None


def not_the_clone(base: Role, clone: Clone) -> str | None:
    """Return why an existing user cannot be used as the clone: this must be proven, not guessed.

    A user with the mark is the clone, also after its membership was lost with the admin that had granted it. So is a
    member whose sessions start as the base user: what else it owns is then a difference to repair. The password of any
    other user must give and take no right.
    """
    name, marked = clone.role.name, clone_of(clone.role) == base.name
    if clone.given_to_base:
        revokes = "; ".join(
            f"REVOKE {quoted(name)} FROM {quoted(member)}" + (f" GRANTED BY {quoted(grantor)}" if grantor else "")
            for member, grantor in clone.given_to_base
        )
        return (
            f"{base.name} is a member of it, and a role cannot be a member of its own member; "
            f"if it is the clone: {revokes}; GRANT {quoted(base.name)} TO {quoted(name)}"
        )
    if not marked and all(held.role != base.name for held in clone.memberships):
        return f"it is not a member of {base.name}; if it is the clone: GRANT {quoted(base.name)} TO {quoted(name)}"
    beyond = sorted(clone.role.attributes - base.attributes)
    if beyond:
        removed = " ".join(f"NO{attribute}" for attribute in beyond)
        return (
            f"it has {', '.join(beyond)}, which {base.name} does not have; "
            f"if it is the clone: ALTER ROLE {quoted(name)} {removed}"
        )
    others = [held for held in clone.memberships if not held.base_has_it]
    if others:
        revokes = "; ".join(
            f"REVOKE {quoted(held.role)} FROM {quoted(name)}" + (f" GRANTED BY {quoted(grantor)}" if grantor else "")
            for held in others
            for grantor in held.grantors or (None,)
        )
        return (
            f"it is a member of {', '.join(held.role for held in others)}, which {base.name} is not; "
            f"if it is the clone: {revokes}"
        )
    if clone.belongings and not marked and clone.settings.get((None, "role")) != base.name:
        return (
            f"it {_has(clone.belongings)} itself; "
            f"if it is the clone: ALTER ROLE {quoted(name)} SET role TO {quoted(base.name)}"
        )
    return None


def differences(seen: Seen, base: Role, clone: Clone) -> Iterator[Difference]:
    """Return the differences between the clone and the base user; what is owned comes last."""
    name = Identifier(clone.role.name)
    shown = clone.role.name
    if not (clone.uses_base and clone.becomes_base):
        yield Difference(f"{shown} does not inherit {base.name}'s rights", _inherit(seen, base, clone), lacks=True)
    for attribute in sorted(base.attributes - clone.role.attributes):
        given = SQL("ALTER ROLE {} {}").format(name, SQL(attribute))
        needs = _needed_to_give(seen, base, shown, attribute)
        yield Difference(f"{shown} lacks {attribute}", given, lacks=True, needs=needs)
    if clone.role.connection_limit != base.connection_limit:
        yield Difference(
            f"{shown} has connection limit {clone.role.connection_limit} instead of {base.connection_limit}",
            SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(name, Literal(base.connection_limit)),
        )
    if clone.role.valid_until != base.valid_until:
        yield Difference(
            f"{shown} has VALID UNTIL {clone.role.valid_until or 'infinity'} "
            f"instead of {base.valid_until or 'infinity'}",
            SQL("ALTER ROLE {} VALID UNTIL {}").format(name, Literal(base.valid_until or "infinity")),
        )
    for held in clone.memberships:
        if held.role != base.name:
            yield Difference(
                f"{shown} is a member of {held.role} by itself, not through {base.name}", _revoke(seen, held, name)
            )
        elif held.admin:
            yield Difference(
                f"{shown} can grant {base.name} to others", _revoke(seen, held, name, SQL("ADMIN OPTION FOR "))
            )
    yield from _settings(seen, base.name, shown, clone.settings)
    for belongings in clone.belongings:
        yield Difference(belonging_sentence(shown, base.name, belongings))


def expected_settings(seen: Seen, base: str) -> dict[SettingKey, str]:
    """Return the clone's settings: the base user's, and `role`, so that its sessions start as the same user.

    What is set for a database or for all users holds for both users, but for `role`: the clone has one itself.
    """
    expected = {key: value for key, value in seen.base_settings.items() if key[1] != "role"}
    usual = starts_as(seen, base, None)
    expected[(None, "role")] = usual
    named = {key for each in (seen.base_settings, seen.everyones_settings) for key in each if key[1] == "role"}
    for database, setting in named:
        role = starts_as(seen, base, database)
        if database is not None and (role != usual or (database, setting) in seen.base_settings):
            expected[(database, setting)] = role
    return expected


def starts_as(seen: Seen, base: str, database: str | None) -> str:
    """Return the role as which a session of the base user starts in a database; None: in one without settings.

    The first of four places that has `role` decides, and the next one where that role is gone or the base user may not
    become it: the server then only warns (process_settings in src/backend/utils/init/postinit.c, check_role).
    """
    of_base, of_all = seen.base_settings, seen.everyones_settings
    for settings, where in ((of_base, database), (of_base, None), (of_all, database), (of_all, None)):
        role = settings.get((where, "role"))
        if role in ("none", base):
            return base
        if role is not None and role in seen.base_becomes:
            return role
    return base


def with_reason(sentence: str, failures: Mapping[str, str]) -> str:
    """The sentence of a difference, and why its repair failed."""
    return f"{sentence} ({failures[sentence]})" if sentence in failures else sentence


def unequal(users: Users, lacking: Sequence[Difference], failures: Mapping[str, str]) -> str:
    """Say what a rotation could not make equal, and what a superuser runs so that it can."""
    told = [with_reason(each.sentence, failures) for each in lacking]
    statements = "; ".join(dict.fromkeys(each.needs for each in lacking if each.needs))
    return (
        f"user {users.clone} cannot be made equal to {users.base}: {first_of(told)}"
        f"{f'; run: {statements} (as a superuser)' if statements else ''}; "
        f"or set rotation.rights: Report to go on without it"
    )


def belonging_sentence(clone: str, base: str, belongings: Belongings) -> str:
    told = f"{clone} {_has((belongings,))} itself"
    if not belongings.owned or belongings.kind == "object":
        return told
    run = f"REASSIGN OWNED BY {quoted(clone)} TO {quoted(base)}; DROP OWNED BY {quoted(clone)}"
    return f"{told}, which its sessions do not use, because they start as {base}; in that database run: {run}"


def membership(seen: Seen, base: str, clone: str) -> Composed:
    options = SQL(" WITH INHERIT TRUE, SET TRUE" if seen.version >= OPTIONS_OF_MEMBERSHIP else "")
    return SQL("GRANT {} TO {}{}").format(Identifier(base), Identifier(clone), options)


def joining(version: int, base: str, clone: str) -> str:
    """The statements, as a person writes them, that make the clone a member with the base user's rights."""
    grant = f"GRANT {quoted(base)} TO {quoted(clone)}"
    if version >= OPTIONS_OF_MEMBERSHIP:
        return f"{grant} WITH INHERIT TRUE, SET TRUE"
    return f"ALTER ROLE {quoted(clone)} INHERIT; {grant}"


def _revoke(seen: Seen, held: Membership, clone: Identifier, option: SQL | None = None) -> Composed:
    """A statement for each grantor: from PostgreSQL 16 on the clone has the role as long as one grant is left."""
    by = [SQL(" GRANTED BY {}").format(Identifier(grantor)) for grantor in held.grantors]
    return SQL("; ").join(
        SQL("REVOKE {}{} FROM {}{}").format(option or SQL(""), Identifier(held.role), clone, grantor)
        for grantor in (by if seen.version >= OPTIONS_OF_MEMBERSHIP and by else [SQL("")])
    )


def _inherit(seen: Seen, base: Role, clone: Clone) -> Composed:
    grant = membership(seen, base.name, clone.role.name)
    if clone.role.inherits:
        return grant
    return SQL("; ").join([SQL("ALTER ROLE {} INHERIT").format(Identifier(clone.role.name)), grant])


def _settings(seen: Seen, base: str, clone: str, found: Mapping[SettingKey, str]) -> Iterator[Difference]:
    expected = expected_settings(seen, base)
    for key in sorted(expected.keys() | found.keys(), key=lambda key: (key[0] or "", key[1])):
        if expected.get(key) == found.get(key):
            continue
        database, setting = key
        where: Composable = SQL(" IN DATABASE {}").format(Identifier(database)) if database is not None else SQL("")
        # Values are not shown: people keep keys in settings.
        told = f"{clone} has another {setting} than {base}" + (
            f" in database {database}" if database is not None else ""
        )
        name, target = Identifier(clone), Identifier(*setting.split("."))
        if key in expected:
            given = SQL("ALTER ROLE {}{} SET {} TO {}").format(name, where, target, _value(setting, expected[key]))
        else:
            given = SQL("ALTER ROLE {}{} RESET {}").format(name, where, target)
        yield Difference(told, given, lacks=True, needs=_needed_to_set(seen, setting))


def _needed_to_give(seen: Seen, base: Role, clone: str, attribute: str) -> str:
    """From PostgreSQL 16 on an admin gives the attributes that it has; before, some were a superuser's to give."""
    if seen.version >= OPTIONS_OF_MEMBERSHIP:
        return f"ALTER ROLE {quoted(seen.admin.name)} {attribute}"
    if seen.clone is not None:
        return f"ALTER ROLE {quoted(clone)} {attribute}"
    return f"CREATE ROLE {quoted(clone)} {attribute}; GRANT {quoted(base.name)} TO {quoted(clone)}"


def _needed_to_set(seen: Seen, setting: str) -> str:
    """Settings of extensions and of applications are a superuser's to make, like those that PostgreSQL protects."""
    if seen.version < PRIVILEGES_ON_PARAMETERS:
        return f"ALTER ROLE {quoted(seen.admin.name)} SUPERUSER"
    name = ".".join(quoted(part) for part in setting.split("."))
    return f"GRANT SET ON PARAMETER {name} TO {quoted(seen.admin.name)}"


def _value(setting: str, value: str) -> Composable:
    if setting not in _LISTS:
        return Literal(value)
    items = [found[1].replace('""', '"') if found[1] is not None else found[2] for found in _LIST_ITEM.finditer(value)]
    return SQL(", ").join([Literal(item) for item in items or [""]])


def _has(belongings: tuple[Belongings, ...]) -> str:
    parts = []
    for one in belongings:
        does = "is named in the privileges of" if not one.owned else "owns" if one.kind == "object" else "has"
        where = f"in database {one.database}" if one.database is not None else "that all databases share"
        parts.append(f"{does} {one.count} {one.kind}{'' if one.count == 1 else 's'} {where}")
    return " and ".join(parts)


def quoted(name: str) -> str:
    """A name as a person has to write it in a statement."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'
