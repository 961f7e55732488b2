"""What an Oracle user has, and where its clone has something else. Pure: decides on what was read.

The base user lets the clone in (CONNECT THROUGH), which is no more than the clone can do by itself, and which only who
may change the base user could have said: that is what proves it to be the clone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rotated_secrets.databases.parity import Difference

NAME_BYTES = 30
"""What Oracle before 12.2 takes, and AWS's rotation template for ever."""
UNLIMITED = -1
"""Column ``max_bytes`` of dba_ts_quotas."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_$#]*\Z")
_PRIVILEGE = re.compile(r"[A-Z][A-Z0-9 _]*\Z")
# By column ``type`` of dba_tab_privs: what GRANT writes before the name. Others are objects of a schema like tables.
_ON = {
    "DIRECTORY": "DIRECTORY ",
    "EDITION": "EDITION ",
    "USER": "USER ",
    "JAVA SOURCE": "JAVA SOURCE ",
    "JAVA RESOURCE": "JAVA RESOURCE ",
    "MINING MODEL": "MINING MODEL ",
    "SQL TRANSLATION PROFILE": "SQL TRANSLATION PROFILE ",
}
_WITHOUT_A_SCHEMA = ("DIRECTORY", "EDITION", "USER")
_NOT_BY_GRANT = ("RESOURCE CONSUMER GROUP", "EVALUATION CONTEXT", "RULE", "RULE SET")


@dataclass(frozen=True)
class Synonym:
    """What a private synonym stands for."""

    owner: str | None
    name: str
    link: str | None

    def __str__(self) -> str:
        owner = f"{quoted(self.owner)}." if self.owner else ""
        return f"{owner}{quoted(self.name)}{f'@{self.link}' if self.link else ''}"


@dataclass(frozen=True)
class User:
    """A user and everything that is its own."""

    name: str
    status: str
    tablespace: str
    temporary_tablespace: str
    profile: str
    authentication: str = "PASSWORD"
    maintained: bool = False
    """It came with Oracle."""
    quotas: Mapping[str, int] = field(default_factory=dict)
    """Bytes by tablespace."""
    roles: Mapping[str, bool] = field(default_factory=dict)
    """Whether it may grant the role, by the role's name."""
    default_roles: frozenset[str] = frozenset()
    system: Mapping[str, bool] = field(default_factory=dict)
    """Whether it may grant the privilege, by the privilege's name."""
    objects: Mapping[str, bool] = field(default_factory=dict)
    """Whether it may grant the privilege, by what GRANT writes: ``SELECT ON "OWNER"."NAME"``."""
    columns: Mapping[tuple[str, str, bool], frozenset[str]] = field(default_factory=dict)
    """Columns by privilege, table and whether it may grant that."""
    synonyms: Mapping[str, Synonym] = field(default_factory=dict)
    becomes: frozenset[str] = frozenset()
    """Users that it may log in through to."""
    owned: Mapping[str, int] = field(default_factory=dict)
    """How many objects it has, by their type; synonyms aside."""
    unreadable: tuple[str, ...] = ()

    @property
    def locked(self) -> bool:
        return "LOCKED" in self.status

    @property
    def bare(self) -> bool:
        """It has no rights and owns nothing, so its password gives and takes nothing."""
        return not any(
            (self.quotas, self.roles, self.system, self.objects, self.columns, self.synonyms, self.becomes, self.owned)
        ) and not (self.unreadable or self.maintained)


def unusable_name(name: str) -> str | None:
    """Return why Oracle cannot have this user, or why AWS's template could not alternate with it."""
    if not _NAME.match(name):
        return (
            f"user name {name!r} has to begin with a letter and hold only letters, digits, _, $ and #; choose another"
        )
    if len(name) > NAME_BYTES:
        return (
            f"user {name} has {len(name)} characters; every version of Oracle and AWS's rotation template take "
            f"{NAME_BYTES}: choose a shorter user name"
        )
    if name.lower().endswith("_clone") and not name.endswith("_CLONE"):
        return f"user {name} ends in lower case, and Oracle's names are upper case; write rotation.cloneSuffix: _CLONE"
    return None


def object_privilege(privilege: str, owner: str, name: str, kind: str) -> str | None:
    """What GRANT writes for one row of dba_tab_privs; None where GRANT is not how it is given."""
    if not _PRIVILEGE.match(privilege) or kind in _NOT_BY_GRANT:
        return None
    place = "" if kind in _WITHOUT_A_SCHEMA else f"{quoted(owner)}."
    return f"{privilege} ON {_ON.get(kind, '')}{place}{quoted(name)}"


def known_privilege(privilege: str) -> bool:
    """Whether a system privilege's name can be written into a statement."""
    return bool(_PRIVILEGE.match(privilege))


def mark(base: str, clone: str) -> str:
    """The statement that makes a user the clone."""
    return f"ALTER USER {quoted(base)} GRANT CONNECT THROUGH {quoted(clone)}"


def differences(base: User, clone: User) -> Iterator[Difference]:
    """Where the clone differs from the base user, but for passwords."""
    alter = f"ALTER USER {quoted(clone.name)}"
    for what, wanted, found in (
        ("DEFAULT TABLESPACE", base.tablespace, clone.tablespace),
        ("TEMPORARY TABLESPACE", base.temporary_tablespace, clone.temporary_tablespace),
        ("PROFILE", base.profile, clone.profile),
    ):
        if wanted != found:
            yield Difference(f"has {what} {found} instead of {wanted}", (f"{alter} {what} {quoted(wanted)}",))
    yield from _quotas(base, clone, alter)
    yield from _with_option(base, clone, base.roles, clone.roles, "role", "ADMIN", quote=True)
    yield from _default_roles(base, clone, alter)
    yield from _with_option(base, clone, base.system, clone.system, "privilege", "ADMIN")
    yield from _with_option(base, clone, base.objects, clone.objects, "", "GRANT")
    yield from _columns(base, clone)
    yield from _synonyms(base, clone)
    for client in sorted(base.becomes - clone.becomes):
        through = f"ALTER USER {quoted(client)} GRANT CONNECT THROUGH {quoted(clone.name)}"
        yield Difference(f"may not log in through to {client}", (through,), lacks=True)
    for client in sorted(clone.becomes - base.becomes - {base.name}):
        through = f"ALTER USER {quoted(client)} REVOKE CONNECT THROUGH {quoted(clone.name)}"
        yield Difference(f"may log in through to {client}, which {base.name} may not", (through,))
    if base.owned:
        # A name without a schema is first looked up in the user's own schema: an application would not find its tables.
        yield Difference(
            f"has its own schema, and would not find there what {base.name} owns ({_counted(base.owned)}): use "
            f"SingleUser, or let the application log in as a user that owns nothing",
            lacks=True,
        )
    if clone.owned:
        yield Difference(f"owns {_counted(clone.owned)} itself")
    for told in base.unreadable:
        if told not in clone.unreadable:
            yield Difference(f"may lack {told}, which {base.name} has", lacks=True)
    for told in clone.unreadable:
        if told not in base.unreadable:
            yield Difference(f"has {told}, which {base.name} does not have")


def _quotas(base: User, clone: User, alter: str) -> Iterator[Difference]:
    for tablespace in sorted(base.quotas.keys() | clone.quotas.keys()):
        wanted, found = base.quotas.get(tablespace, 0), clone.quotas.get(tablespace, 0)
        if wanted != found:
            less = wanted == UNLIMITED or (found != UNLIMITED and found < wanted)
            size = "UNLIMITED" if wanted == UNLIMITED else str(wanted)
            yield Difference(
                f"has another quota on tablespace {tablespace} than {base.name}",
                (f"{alter} QUOTA {size} ON {quoted(tablespace)}",),
                lacks=less,
            )


def _with_option(
    base: User,
    clone: User,
    wanted: Mapping[str, bool],
    found: Mapping[str, bool],
    kind: str,
    option: str,
    *,
    quote: bool = False,
) -> Iterator[Difference]:
    """Roles and privileges that can be had with and without the right to grant them."""
    name = quoted(clone.name)
    for what in sorted(wanted.keys() | found.keys()):
        shown, written = f"{kind} {what}".strip(), quoted(what) if quote else what
        give, take = f"GRANT {written} TO {name}", f"REVOKE {written} FROM {name}"
        if what not in wanted:
            yield Difference(f"has {shown}, which {base.name} does not have", (take,))
        elif what not in found:
            yield Difference(f"lacks {shown}", (f"{give} WITH {option} OPTION" if wanted[what] else give,), lacks=True)
        elif wanted[what] and not found[what]:
            yield Difference(f"may not grant {shown}", (f"{give} WITH {option} OPTION",), lacks=True)
        elif found[what] and not wanted[what]:
            # The option can only be taken away together with what it belongs to.
            yield Difference(f"may grant {shown}, which {base.name} may not", (take, give))


def _default_roles(base: User, clone: User, alter: str) -> Iterator[Difference]:
    if base.default_roles == clone.default_roles & base.roles.keys():
        return
    if base.default_roles == base.roles.keys():
        chosen = "ALL"
    else:
        chosen = ", ".join(quoted(role) for role in sorted(base.default_roles)) or "NONE"
    yield Difference(
        f"has other default roles than {base.name}",
        (f"{alter} DEFAULT ROLE {chosen}",),
        lacks=not base.default_roles <= clone.default_roles,
    )


def _columns(base: User, clone: User) -> Iterator[Difference]:
    name = quoted(clone.name)
    for key in sorted(base.columns.keys() | clone.columns.keys()):
        privilege, table, option = key
        wanted, found = base.columns.get(key, frozenset()), clone.columns.get(key, frozenset())
        if wanted == found:
            continue
        give = f"GRANT {privilege} ({', '.join(quoted(each) for each in sorted(wanted))}) ON {table} TO {name}"
        give += " WITH GRANT OPTION" if option else ""
        # Taken away it can be from all columns alone.
        take = (f"REVOKE {privilege} ON {table} FROM {name}",) if found - wanted else ()
        yield Difference(
            f"has {privilege} on other columns of {table} than {base.name}",
            (*take, give) if wanted else take,
            lacks=bool(wanted - found),
        )


def _synonyms(base: User, clone: User) -> Iterator[Difference]:
    for name in sorted(base.synonyms.keys() | clone.synonyms.keys()):
        wanted, found = base.synonyms.get(name), clone.synonyms.get(name)
        if wanted == found:
            continue
        own = f"{quoted(clone.name)}.{quoted(name)}"
        if wanted is None:
            yield Difference(f"has synonym {name}, which {base.name} does not have", (f"DROP SYNONYM {own}",))
        else:
            made = () if wanted.link else (f"CREATE OR REPLACE SYNONYM {own} FOR {wanted}",)
            yield Difference(f"lacks synonym {name} for {wanted}", made, lacks=True)


def _counted(owned: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(owned.items()))


def quoted(name: str) -> str:
    """A name as Oracle takes it. No name or password holds a double quote: there is no way to write one."""
    if '"' in name or "\x00" in name:
        raise ValueError("Oracle cannot write a double quote inside a quoted name or password")
    return f'"{name}"'
