"""The rights of an account as a set, and the statements that make one account's set another's.

Pure, and the same for MySQL and MariaDB. Where sets come from: :mod:`~rotated_secrets.databases.mysql.show_grants`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rotated_secrets.databases.mysql.accounts import Account, identifier

ALL = "ALL PRIVILEGES"
GRANT_OPTION = "GRANT OPTION"

# What ALL stands for, by what it is granted on: what MySQL and MariaDB both know. Of anything else a second look tells.
_ON_TABLES = frozenset(
    {"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "REFERENCES", "INDEX", "ALTER", "TRIGGER"}
)
_ON_TABLES |= {"CREATE VIEW", "SHOW VIEW"}
_ON_ROUTINES = frozenset({"EXECUTE", "ALTER ROUTINE"})
_ON_SCHEMAS = _ON_TABLES | _ON_ROUTINES | {"CREATE TEMPORARY TABLES", "LOCK TABLES", "CREATE ROUTINE", "EVENT"}
_ON_EVERYTHING = _ON_SCHEMAS | {"RELOAD", "SHUTDOWN", "PROCESS", "FILE", "SHOW DATABASES", "SUPER", "CREATE USER"}

ROUTINES = ("FUNCTION", "PROCEDURE", "PACKAGE", "PACKAGE BODY")


@dataclass(frozen=True, order=True)
class On:
    """What a privilege is for. A schema is the pattern that the server keeps: its wildcards and their escapes stay."""

    schema: str = ""
    name: str = ""
    kind: str = ""
    """FUNCTION and the like; nothing for tables and schemas."""

    @property
    def sql(self) -> str:
        parts = (identifier(part) if part else "*" for part in (self.schema, self.name))
        return f"{self.kind} {'.'.join(parts)}".lstrip()


EVERYTHING = On()


@dataclass(frozen=True, order=True)
class Privilege:
    """One static privilege, or one column of it. GRANT OPTION is a privilege of its own on the same object."""

    on: On
    name: str
    column: str = ""

    @property
    def words(self) -> str:
        return f"{self.name}{f' ({self.column})' if self.column else ''} on {self.on.sql}"


@dataclass(frozen=True, order=True)
class Dynamic:
    """One of MySQL's dynamic privileges."""

    name: str
    grantable: bool = False

    @property
    def words(self) -> str:
        return self.name + (" with GRANT OPTION" if self.grantable else "")


@dataclass(frozen=True, order=True)
class Withheld:
    """A partial REVOKE: a schema in which a privilege on everything does not hold."""

    schema: str
    name: str

    @property
    def words(self) -> str:
        return f"{self.name} on {On(self.schema).sql}"


@dataclass(frozen=True, order=True)
class Member:
    """A role. MariaDB's have no host."""

    role: str
    host: str | None = None
    admin: bool = False

    @property
    def sql(self) -> str:
        return identifier(self.role) + ("" if self.host is None else f"@{identifier(self.host)}")

    @property
    def words(self) -> str:
        return f"role {self.role}" + (" with ADMIN OPTION" if self.admin else "")


@dataclass(frozen=True, order=True)
class Proxy:
    """The right to log in as another user."""

    of: Account
    grantable: bool = False

    @property
    def words(self) -> str:
        return f"PROXY on {self.of}" + (" with GRANT OPTION" if self.grantable else "")


Right = Privilege | Dynamic | Withheld | Member | Proxy
RightSet = frozenset[Right]


@dataclass(frozen=True)
class Change:
    """One statement that makes an account more equal to another, and the difference that it ends."""

    sentence: str
    statement: str
    adds: bool
    """Whether the account has more rights afterwards."""


def beyond(base: RightSet, clone: RightSet) -> tuple[str, ...]:
    """What ``clone`` may do and ``base`` may not, in words."""
    missing, extra = _differences(base, clone)
    unrestricted = (right for right in missing if isinstance(right, Withheld))
    more = (right for right in extra if not isinstance(right, Withheld))
    return tuple(sorted({right.words for right in (*unrestricted, *more)}))


def changes(base: RightSet, clone: RightSet, account: Account) -> tuple[Change, ...]:
    """Statements that make the rights of ``account``, now ``clone``, those of ``base``.

    What is missing is given before anything is taken away, and what is too much is taken away piece by piece, so that
    nothing is lost for a moment that it should have. Where ALL is taken apart, or a server takes away more than it was
    told to, a second look finds the rest.
    """
    missing, extra = _differences(base, clone)
    held = {right.name for right in extra if isinstance(right, Dynamic) and right.grantable}
    given = list(_on_objects(missing, account, give=True))
    # A partial REVOKE needs the privilege on everything, so it comes after all that is given …
    taken = [_withhold(right, account) for right in sorted(_of(Withheld, missing))]
    given += [_release(right, account) for right in sorted(_of(Withheld, extra)) if _on_everything(right, base)]
    taken += _on_objects(extra, account, give=False)
    for right in sorted(missing, key=lambda right: right.words):
        if isinstance(right, Dynamic) and right.name in held:
            # … and the grant option of a dynamic privilege goes only with the privilege itself.
            taken += [_take(Dynamic(right.name, True), account), _give(right, account)]
        elif isinstance(right, Dynamic | Member | Proxy):
            given.append(_give(right, account))
    regiven = {_plain(right) for right in missing}
    for right in sorted(extra, key=lambda right: right.words):
        if isinstance(right, Member) and right.admin and _plain(right) in regiven:
            if right.host is None:
                taken.append(_change(account, "has", right, f"REVOKE ADMIN OPTION FOR {right.sql} FROM {{}}", False))
        elif isinstance(right, Dynamic | Member | Proxy) and _plain(right) not in regiven:
            taken.append(_take(right, account))
    return (*given, *taken)


def _differences(base: RightSet, clone: RightSet) -> tuple[frozenset[Right], frozenset[Right]]:
    """What the clone lacks, and what it has beside."""
    missing = frozenset(right for right in base - clone if not _in_all(right, clone))
    extra = (each for right in clone - base if not _in_all(right, base) for each in _apart(right))
    return missing, frozenset(extra) - base


def _in_all(right: Right, rights: RightSet) -> bool:
    if not isinstance(right, Privilege) or right.name == GRANT_OPTION or right.column:
        return False
    return Privilege(right.on, ALL) in rights


def _on_everything(withheld: Withheld, rights: RightSet) -> bool:
    return bool({Privilege(EVERYTHING, withheld.name), Privilege(EVERYTHING, ALL)} & rights)


def _apart(right: Right) -> Iterator[Right]:
    if not isinstance(right, Privilege) or right.name != ALL:
        yield right
        return
    if right.on.kind in ROUTINES:
        names = _ON_ROUTINES
    elif right.on.name:
        names = _ON_TABLES
    else:
        names = _ON_SCHEMAS if right.on.schema else _ON_EVERYTHING
    yield from (Privilege(right.on, name) for name in names)


def _plain(right: Right) -> Right:
    """The same right without the permission to pass it on."""
    match right:
        case Dynamic():
            return Dynamic(right.name)
        case Member():
            return Member(right.role, right.host)
        case Proxy():
            return Proxy(right.of)
    return right


def _on_objects(rights: Iterable[Right], account: Account, *, give: bool) -> Iterator[Change]:
    """One statement for each object, and one for its grant option."""
    by_object: dict[On, list[Privilege]] = {}
    for right in sorted(_of(Privilege, rights)):
        by_object.setdefault(right.on, []).append(right)
    for on, privileges in by_object.items():
        columns: dict[str, list[str]] = {}
        for privilege in privileges:
            if privilege.name != GRANT_OPTION:
                columns.setdefault(privilege.name, []).extend([identifier(privilege.column)] * bool(privilege.column))
        if columns:
            names = ", ".join(name + (f" ({', '.join(listed)})" if listed else "") for name, listed in columns.items())
            yield _one(account, names, on, give=give)
        if Privilege(on, GRANT_OPTION) in privileges:
            yield _one(account, GRANT_OPTION, on, give=give)


def _one(account: Account, names: str, on: On, *, give: bool) -> Change:
    verb = "lacks" if give else "has"
    sentence = f"{account.user} {verb} {names} on {on.sql}" + ("" if give else " by itself")
    if give and names == GRANT_OPTION:
        return Change(sentence, f"GRANT USAGE ON {on.sql} TO {account.sql} WITH GRANT OPTION", True)
    statement = f"GRANT {names} ON {on.sql} TO" if give else f"REVOKE {names} ON {on.sql} FROM"
    return Change(sentence, f"{statement} {account.sql}", give)


def _give(right: Dynamic | Member | Proxy, account: Account) -> Change:
    match right:
        case Dynamic():
            statement = f"GRANT {right.name} ON *.* TO {{}}" + (" WITH GRANT OPTION" if right.grantable else "")
        case Member():
            statement = f"GRANT {right.sql} TO {{}}" + (" WITH ADMIN OPTION" if right.admin else "")
        case Proxy():
            statement = f"GRANT PROXY ON {right.of.sql} TO {{}}" + (" WITH GRANT OPTION" if right.grantable else "")
    return _change(account, "lacks", right, statement, True)


def _take(right: Dynamic | Member | Proxy, account: Account) -> Change:
    match right:
        case Dynamic():
            statement = f"REVOKE {right.name} ON *.* FROM {{}}"
        case Member():
            statement = f"REVOKE {right.sql} FROM {{}}"
        case Proxy():
            statement = f"REVOKE PROXY ON {right.of.sql} FROM {{}}"
    return _change(account, "has", right, statement, False)


def _withhold(right: Withheld, account: Account) -> Change:
    return _change(account, "has", right, f"REVOKE {right.name} ON {On(right.schema).sql} FROM {{}}", False)


def _release(right: Withheld, account: Account) -> Change:
    return _change(account, "lacks", right, f"GRANT {right.name} ON {On(right.schema).sql} TO {{}}", True)


def _change(account: Account, verb: str, right: Right, statement: str, adds: bool) -> Change:
    before, _, after = statement.partition("{}")
    sentence = f"{account.user} {verb} {right.words}" + ("" if adds else " by itself")
    return Change(sentence, before + account.sql + after, adds)


def _of(kind: type[Any], rights: Iterable[Right]) -> list[Any]:
    return [right for right in rights if isinstance(right, kind)]
