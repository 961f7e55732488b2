"""The rights of an account as a set, and the statements that make one account's set another's.

Pure, and the same for MySQL and MariaDB. Where sets come from: :mod:`~rotated_secrets.databases.mysql.show_grants`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from rotated_secrets.databases.mysql.accounts import Account, identifier
from rotated_secrets.databases.parity import Difference

ALL = "ALL PRIVILEGES"
GRANT_OPTION = "GRANT OPTION"

# What ALL stands for, by the kind of object, as far as MySQL and MariaDB agree. A second comparison finds the rest.
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
    """One static privilege, or one column of it. GRANT OPTION is a separate privilege on the same object."""

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

    def granted(self, account: str) -> str:
        return f"{self.name} ON *.* TO {account}" + (" WITH GRANT OPTION" if self.grantable else "")

    def revoked(self, account: str) -> str:
        return f"{self.name} ON *.* FROM {account}"


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

    def granted(self, account: str) -> str:
        return f"{self.sql} TO {account}" + (" WITH ADMIN OPTION" if self.admin else "")

    def revoked(self, account: str) -> str:
        return f"{self.sql} FROM {account}"


@dataclass(frozen=True, order=True)
class Proxy:
    """The right to log in as another user."""

    of: Account
    grantable: bool = False

    @property
    def words(self) -> str:
        return f"PROXY on {self.of}" + (" with GRANT OPTION" if self.grantable else "")

    def granted(self, account: str) -> str:
        return f"PROXY ON {self.of.sql} TO {account}" + (" WITH GRANT OPTION" if self.grantable else "")

    def revoked(self, account: str) -> str:
        return f"PROXY ON {self.of.sql} FROM {account}"


@dataclass(frozen=True, order=True)
class Unknown:
    """A line of SHOW GRANTS that is not understood, as it stands but for the account: it is compared, and not given."""

    line: str = field(repr=False)
    """May hold a password's hash."""
    shown: str = ""
    """How it begins, as messages may show it."""

    @property
    def words(self) -> str:
        beginning = f", which begins with {self.shown}" if self.shown else ""
        return f"a line of SHOW GRANTS that the operator does not know{beginning}"


Right = Privilege | Dynamic | Withheld | Member | Proxy | Unknown
RightSet = frozenset[Right]
_Kind = TypeVar("_Kind", Privilege, Dynamic, Withheld, Member, Proxy, Unknown)


def beyond(base: RightSet, clone: RightSet) -> tuple[str, ...]:
    """Describe what ``clone`` may do and ``base`` may not."""
    missing, extra = _differences(base, clone)
    unrestricted = (right for right in _of(Withheld, missing) if _on_everything(right, clone))
    more = (right for right in extra if not isinstance(right, Withheld))
    return tuple(sorted({right.words for right in (*unrestricted, *more)}))


def differences(base: RightSet, clone: RightSet, account: Account) -> tuple[Difference, ...]:
    """How to make the rights of ``account``, now ``clone``, those of ``base``.

    What is missing is given before anything is taken away, and what is too much is taken away piece by piece, so that
    nothing is lost for a moment that it should have. Where ALL is taken apart, or a server takes away more than it was
    told to, a second look finds the rest.
    """
    missing, extra = _differences(base, clone)
    to = account.sql
    given = [*_on_objects(missing, to, give=True)]
    given += [
        _given(right, f"GRANT {right.name} ON {On(right.schema).sql} TO {to}")
        for right in _of(Withheld, extra)
        if _on_everything(right, base)
    ]
    # A partial REVOKE needs the privilege on everything, so it comes after all that is given.
    taken = [
        _taken(right, f"REVOKE {right.name} ON {On(right.schema).sql} FROM {to}") for right in _of(Withheld, missing)
    ]
    for right in _passable(missing):
        if any(_plain(each) == right for each in extra):
            taken.append(_no_longer_passed_on(right, to))
        else:
            given.append(_given(right, f"GRANT {right.granted(to)}"))
    regained = {_plain(right) for right in missing}
    taken += [
        _taken(right, f"REVOKE {right.revoked(to)}") for right in _passable(extra) if _plain(right) not in regained
    ]
    taken += _on_objects(extra, to, give=False)
    if Privilege(EVERYTHING, GRANT_OPTION) in extra:
        # With it MySQL takes the grant options of dynamic privileges away, on disk, and goes on showing them.
        again = tuple(f"GRANT {right.granted(to)}" for right in _of(Dynamic, base) if right.grantable)
        taken = [_with(difference, again, after=f"REVOKE {GRANT_OPTION} ON *.* FROM {to}") for difference in taken]
    return (*given, *taken, *_noted(missing, extra))


def _noted(missing: Iterable[Right], extra: Iterable[Right]) -> Iterator[Difference]:
    """What can be told and no more: it may be a right or none, so it keeps no clone from its turn."""
    for line in _of(Unknown, missing):
        yield Difference(f"lacks {line.words}; if it is a right, give it to the clone by hand")
    for line in _of(Unknown, extra):
        yield Difference(f"has {line.words}; if it is a right, take it from the clone by hand")


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


def _on_objects(rights: Iterable[Right], account: str, *, give: bool) -> Iterator[Difference]:
    """One difference for each object and each of its columns, which may be gone alone, and one for its grant option."""
    by_object: dict[tuple[On, str], list[str]] = {}
    columns_first = sorted(_of(Privilege, rights), key=lambda each: not each.column)
    for right in sorted(columns_first, key=lambda each: (each.on, each.name == GRANT_OPTION)):
        part = GRANT_OPTION if right.name == GRANT_OPTION else right.column and f" ({identifier(right.column)})"
        by_object.setdefault((right.on, part), []).append(right.name)
    for (on, part), names in by_object.items():
        if part == GRANT_OPTION:
            what, statement = GRANT_OPTION, f"GRANT USAGE ON {on.sql} TO {account} WITH {GRANT_OPTION}"
        else:
            what = ", ".join(name + part for name in names)
            statement = f"GRANT {what} ON {on.sql} TO {account}"
        if give:
            yield Difference(f"lacks {what} on {on.sql}", (statement,), lacks=True)
        else:
            yield Difference(f"has {what} on {on.sql} by itself", (f"REVOKE {what} ON {on.sql} FROM {account}",))


def _with(difference: Difference, more: tuple[str, ...], after: str) -> Difference:
    return replace(difference, repairs=(after, *more)) if difference.repairs == (after,) else difference


def _given(right: Right, statement: str) -> Difference:
    return Difference(f"lacks {right.words}", (statement,), lacks=True)


def _taken(right: Right, statement: str) -> Difference:
    return Difference(f"has {right.words} by itself", (statement,))


def _no_longer_passed_on(right: Dynamic | Member | Proxy, account: str) -> Difference:
    """MySQL forgets the permission to pass on a role or proxy when it is granted without; MariaDB, and MySQL where a
    dynamic privilege is granted, keep it."""
    again = f"GRANT {right.granted(account)}"
    statements: tuple[str, ...] = (again,)
    if isinstance(right, Dynamic):
        statements = (f"REVOKE {right.revoked(account)}", again)
    elif isinstance(right, Member) and right.host is None:
        statements = (f"REVOKE ADMIN OPTION FOR {right.sql} FROM {account}",)
    return Difference(f"may pass on {right.words} by itself", statements)


def _passable(rights: Iterable[Right]) -> list[Dynamic | Member | Proxy]:
    return [*_of(Dynamic, rights), *_of(Member, rights), *_of(Proxy, rights)]


def _of(kind: type[_Kind], rights: Iterable[Right]) -> list[_Kind]:
    return sorted(right for right in rights if isinstance(right, kind))
