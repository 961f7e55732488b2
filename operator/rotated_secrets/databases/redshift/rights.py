"""What a Redshift user has, and where its clone has something else. Pure: decides on what was read.

Redshift has no membership of one user in another: a clone is kept equal right by right. What marks it as the clone is a
role without rights, which only who may give a user any role can have given it: a user without the mark is a stranger.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from rotated_secrets.databases.parity import Difference

NAME_BYTES = 127
"""Names and identifiers, Amazon Redshift Database Developer Guide."""

_UNUSABLE = re.compile("[\x00-\x1f\x7f'\"\\\\\ud800-\udfff]")
_SYSTEM_ROLE = re.compile(r"sys:[a-z_]+\Z")
# Redshift has neither rules nor triggers: who has such a privilege can do nothing by it.
_IDLE = re.compile(r"(?:RULE|TRIGGER) on ")
_LIST_ITEM = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",]+?))\s*(?:,|\Z)')


@dataclass(frozen=True)
class Grant:
    """One privilege as GRANT and REVOKE write it: ``before`` GRANT … ``what`` … TO the user."""

    what: str
    before: str = ""

    def give(self, user: str, *, option: bool) -> str:
        return f"{self.before}GRANT {self.what} TO {quoted(user)}{' WITH GRANT OPTION' if option else ''}"

    def take(self, user: str) -> str:
        return f"{self.before}REVOKE {self.what} FROM {quoted(user)}"

    def take_option(self, user: str) -> str:
        return f"{self.before}REVOKE GRANT OPTION FOR {self.what} FROM {quoted(user)}"

    def __str__(self) -> str:
        return f"{self.before}{self.what}"


@dataclass(frozen=True)
class Default:
    """A privilege that a user gives others on all that it will make (ALTER DEFAULT PRIVILEGES)."""

    what: str
    to: str
    """As GRANT writes it: a user, GROUP, ROLE or PUBLIC."""
    schema: str | None = None
    """The schema in which it is made; None: any."""

    def give(self, owner: str, *, option: bool) -> str:
        return f"{self._of(owner)} GRANT {self.what} TO {self.to}{' WITH GRANT OPTION' if option else ''}"

    def take(self, owner: str) -> str:
        return f"{self._of(owner)} REVOKE {self.what} FROM {self.to}"

    def _of(self, owner: str) -> str:
        place = f" IN SCHEMA {quoted(self.schema)}" if self.schema else ""
        return f"ALTER DEFAULT PRIVILEGES FOR USER {quoted(owner)}{place}"

    def __str__(self) -> str:
        return f"{self.what} to {self.to}" + (f" in schema {self.schema}" if self.schema else "")


@dataclass(frozen=True)
class Owned:
    """A table, view or schema, as ALTER writes it, and what its owner can do with it that can be granted to others."""

    what: str
    privileges: tuple[Grant, ...]


@dataclass(frozen=True)
class User:
    """A user and everything that is its own."""

    name: str
    attributes: frozenset[str]
    """Of CREATEDB and CREATEUSER."""
    valid_until: str | None
    connection_limit: str
    syslog_access: str
    session_timeout: int
    settings: Mapping[str, str] = field(repr=False)
    groups: frozenset[str] = frozenset()
    roles: Mapping[str, bool] = field(default_factory=dict)
    """Whether it may grant the role to others, by the role's name."""
    grants: Mapping[Grant, bool] = field(default_factory=dict)
    """Whether it may grant the privilege to others."""
    defaults: Mapping[Default, bool] = field(default_factory=dict)
    """Whether the others may grant it on, by what it gives them on all that it will make."""
    owned: tuple[Owned, ...] = ()
    unreadable: tuple[str, ...] = ()
    """Privileges of a kind that is not known here."""


def newly_created(name: str) -> User:
    """A user as CREATE USER leaves it."""
    return User(name, frozenset(), None, "UNLIMITED", "RESTRICTED", 0, {})


def mark_of(base: str) -> str:
    """The role that says of its one member that it is the clone of ``base``."""
    return f"rotated_secrets_clone_{hashlib.sha256(base.encode()).hexdigest()[:16]}"


def original_of(user: str, roles: Collection[str]) -> str | None:
    """The user whose clone a user is marked as: its name begins with that one's, and the mark has only a hash of it."""
    return next((user[:length] for length in range(1, len(user)) if mark_of(user[:length]) in roles), None)


def unusable_name(name: str) -> str | None:
    """Return why Redshift cannot have a user of this name, or why the name cannot be quoted safely."""
    size = len(name.encode(errors="surrogatepass"))
    if size > NAME_BYTES:
        return (
            f"user {name[:NAME_BYTES]}… has {size} bytes, and Redshift takes {NAME_BYTES}; "
            f"choose a shorter user name or clone suffix"
        )
    if not name or _UNUSABLE.search(name):
        return (
            f"user name {name!r} is empty or holds a quotation mark, a backslash or a control character; choose another"
        )
    if name.lower() == "public":
        return "user name 'public' is one that Redshift keeps for itself; choose another"
    return None


def differences(base: User, clone: User) -> Iterator[Difference]:
    """Where the clone differs from the base user, but for passwords and what it owns."""
    name = quoted(clone.name)
    yield from _attributes(base, clone)
    yield from _settings(base, clone)
    for group in sorted(base.groups - clone.groups):
        yield Difference(f"lacks group {group}", (f"ALTER GROUP {quoted(group)} ADD USER {name}",), lacks=True)
    for group in sorted(clone.groups - base.groups):
        yield Difference(
            f"is in group {group}, which {base.name} is not", (f"ALTER GROUP {quoted(group)} DROP USER {name}",),
        )  # fmt: skip
    yield from _roles(base, clone)
    yield from _grants(expected_grants(base), clone)
    yield from _defaults(base, clone)
    for sentence in base.unreadable:
        if sentence in clone.unreadable and _IDLE.match(sentence):
            continue
        lacks = sentence not in clone.unreadable and not _IDLE.match(sentence)
        yield Difference(f"may lack {sentence}, which {base.name} has", lacks=lacks)
    for sentence in clone.unreadable:
        if sentence not in base.unreadable:
            yield Difference(f"has {sentence}, which {base.name} does not have")


def ownership(base: User, clone: User) -> Iterator[Difference]:
    """What the clone owns and the base user should: an owner's rights cannot be shared."""
    for owned in clone.owned:
        yield Difference(f"owns {owned.what}", (f"ALTER {owned.what} OWNER TO {quoted(base.name)}",))


def expected_grants(base: User) -> dict[Grant, bool]:
    """Return what the clone should be granted: the base user's grants, and what owning objects adds to them."""
    expected = {grant: False for owned in base.owned for grant in owned.privileges}
    return expected | dict(base.grants)


def _attributes(base: User, clone: User) -> Iterator[Difference]:
    alter = f"ALTER USER {quoted(clone.name)}"
    for attribute in sorted(base.attributes - clone.attributes):
        yield Difference(f"lacks {attribute}", (f"{alter} {attribute}",), lacks=True)
    for attribute in sorted(clone.attributes - base.attributes):
        yield Difference(f"has {attribute}, which {base.name} does not have", (f"{alter} NO{attribute}",))
    if clone.syslog_access != base.syslog_access:
        more = clone.syslog_access == "UNRESTRICTED"
        yield Difference(
            f"has SYSLOG ACCESS {clone.syslog_access} instead of {base.syslog_access}",
            (f"{alter} SYSLOG ACCESS {base.syslog_access}",),
            lacks=not more,
        )
    if clone.valid_until != base.valid_until:
        yield Difference(
            f"has VALID UNTIL {clone.valid_until or 'infinity'} instead of {base.valid_until or 'infinity'}",
            (f"{alter} VALID UNTIL {literal(base.valid_until or 'infinity')}",),
        )
    if clone.connection_limit != base.connection_limit:
        yield Difference(
            f"has CONNECTION LIMIT {clone.connection_limit} instead of {base.connection_limit}",
            (f"{alter} CONNECTION LIMIT {base.connection_limit}",),
        )
    if clone.session_timeout != base.session_timeout:
        limit = f"SESSION TIMEOUT {base.session_timeout}" if base.session_timeout else "RESET SESSION TIMEOUT"
        yield Difference(
            f"has a SESSION TIMEOUT of {clone.session_timeout} s instead of {base.session_timeout} s",
            (f"{alter} {limit}",),
        )


def _settings(base: User, clone: User) -> Iterator[Difference]:
    alter = f"ALTER USER {quoted(clone.name)}"
    for setting in sorted(base.settings.keys() | clone.settings.keys()):
        if base.settings.get(setting) == clone.settings.get(setting):
            continue
        # Values are not shown: people keep keys in settings.
        sentence = f"has another {setting} than {base.name}"
        if setting not in base.settings:
            yield Difference(sentence, (f"{alter} RESET {quoted(setting)}",))
        else:
            value = _value(setting, base.settings[setting])
            yield Difference(sentence, (f"{alter} SET {quoted(setting)} TO {value}",))


def _roles(base: User, clone: User) -> Iterator[Difference]:
    name, mark = quoted(clone.name), mark_of(base.name)
    for role, option in sorted(base.roles.items()):
        if role not in clone.roles or (option and not clone.roles[role]):
            lacked = f"role {role}" if role not in clone.roles else f"the right to grant role {role}"
            granted = f"GRANT ROLE {_role(role)} TO {name}{' WITH ADMIN OPTION' if option else ''}"
            yield Difference(f"lacks {lacked}", (granted,), lacks=True)
    for role, option in sorted(clone.roles.items()):
        if role == mark:
            continue
        if role not in base.roles:
            revoked = f"REVOKE ROLE {_role(role)} FROM {name}"
            yield Difference(f"has role {role}, which {base.name} does not have", (revoked,))
        elif option and not base.roles[role]:
            revoked = f"REVOKE ADMIN OPTION FOR ROLE {_role(role)} FROM {name}"
            yield Difference(f"may grant role {role}, which {base.name} may not", (revoked,))


def _grants(expected: Mapping[Grant, bool], clone: User) -> Iterator[Difference]:
    for grant, option in sorted(expected.items(), key=lambda item: str(item[0])):
        if grant not in clone.grants:
            yield Difference(f"lacks {grant}", (grant.give(clone.name, option=option),), lacks=True)
        elif option and not clone.grants[grant]:
            yield Difference(f"lacks the grant option of {grant}", (grant.give(clone.name, option=True),), lacks=True)
    for grant, option in sorted(clone.grants.items(), key=lambda item: str(item[0])):
        if grant not in expected:
            yield Difference(f"has {grant} itself", (grant.take(clone.name),))
        elif option and not expected[grant]:
            yield Difference(f"has the grant option of {grant} itself", (grant.take_option(clone.name),))


def _defaults(base: User, clone: User) -> Iterator[Difference]:
    """What the clone makes is the clone's until its next turn, and others have to be able to use it meanwhile."""
    between = (quoted(base.name), quoted(clone.name))
    expected = {each: option for each, option in base.defaults.items() if each.to not in between}
    found = {each: option for each, option in clone.defaults.items() if each.to not in between}
    for each in sorted(expected.keys() | found.keys(), key=str):
        if expected.get(each) == found.get(each):
            continue
        take = [] if each not in found else [each.take(clone.name)]
        give = [] if each not in expected else [each.give(clone.name, option=expected[each])]
        does = "does not give" if each not in found else "gives" if each not in expected else "gives otherwise"
        yield Difference(f"{does} {each} on what it makes, unlike {base.name}", (*take, *give))


def _value(setting: str, value: str) -> str:
    """The value of a setting as SET takes it: search_path is a list of names, each quoted by itself."""
    if setting != "search_path":
        return literal(value)
    items = [found[1].replace('""', '"') if found[1] is not None else found[2] for found in _LIST_ITEM.finditer(value)]
    return ", ".join(literal(item) for item in items or [""])


def _role(name: str) -> str:
    """System-defined roles have a grammar of their own."""
    return name if _SYSTEM_ROLE.match(name) else quoted(name)


def quoted(name: str) -> str:
    """A name as SQL takes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string as Redshift takes it: unlike in standard SQL a backslash is special."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
