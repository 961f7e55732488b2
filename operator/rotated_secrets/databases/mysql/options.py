"""What MySQL keeps of an account beside its rights and its password, and the clauses of ALTER USER that set it.

Pure. A clone has its base user's, so that it is bound by the same and can do the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rotated_secrets.databases.mysql.accounts import Account, literal
from rotated_secrets.databases.mysql.grants import Member
from rotated_secrets.databases.parity import Difference

MARK = "rotated-secrets"
"""The key, among an account's attributes, of what we know it by."""
CLONE_OF = "clone-of"
UNFINISHED = "unfinished"
"""Beside it until the clone has all that its base user has, and its first password. A lock may have another cause."""

PASSWORD_PLUGINS = frozenset({"caching_sha2_password", "sha256_password", "mysql_native_password"})
"""Plug-ins whose accounts have a password that ALTER USER sets."""

_LIMITS = ("MAX_QUERIES_PER_HOUR", "MAX_UPDATES_PER_HOUR", "MAX_CONNECTIONS_PER_HOUR", "MAX_USER_CONNECTIONS")
_UNBOUNDED = -1
_Clause = tuple[str, str]
"""What it is called, and how it is written."""


@dataclass(frozen=True)
class Options:
    """As ``mysql.user`` has them; None is the server's default."""

    plugin: str
    require: tuple[tuple[str, str], ...] = ()
    """SSL or X509, or what a client's certificate has to have, with the values."""
    limits: tuple[int, int, int, int] = (0, 0, 0, 0)
    lifetime: int | None = None
    """Days until a password expires; 0 is never."""
    history: int | None = None
    reuse_days: int | None = None
    require_current: bool | None = None
    failed_logins: int = 0
    lock_days: int = 0
    default_roles: frozenset[Member] = frozenset()
    attributes: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @property
    def clone_of(self) -> str | None:
        """The account that this one was marked as the clone of."""
        found = self._mark(CLONE_OF)
        return found if isinstance(found, str) else None

    @property
    def unfinished(self) -> bool:
        return self._mark(UNFINISHED) is True

    def _mark(self, key: str) -> Any:
        mark = self.attributes.get(MARK)
        return mark.get(key) if isinstance(mark, dict) else None


def made_for_clone(base: Options) -> str:
    """Clauses of CREATE USER, after the password, for an account that is bound as this one is. Roles come later."""
    usual = Options(base.plugin)
    limits = [wanted for _, wanted in _unequal(_limits(base), _limits(usual))]
    clauses = [wanted for _, wanted in _unequal([_require(base)], [_require(usual)])]
    clauses += [f"WITH {' '.join(limits)}"] if limits else []
    clauses += [wanted for _, wanted in _unequal(_password_options(base), _password_options(usual))]
    return " ".join(clauses)


def marked(base: Options, account: Account) -> str:
    """The clause that gives a new clone of ``account`` its base user's attributes, and our mark, unfinished yet."""
    return f"ATTRIBUTE {literal(json.dumps(_expected(base, account, unfinished=True), sort_keys=True))}"


def finished_statement(clone: Account, base: Account) -> str:
    """What says that a clone has had a password of ours: it is known from now on."""
    mark = {MARK: {CLONE_OF: str(base), UNFINISHED: None}}
    return f"ALTER USER {clone.sql} ATTRIBUTE {literal(json.dumps(mark, sort_keys=True))}"


def mark_statement(clone: Account, base: Account) -> str:
    """What a person runs to say that one account is the clone of another."""
    return f"ALTER USER {clone.sql} ATTRIBUTE {literal(json.dumps({MARK: {CLONE_OF: str(base)}}))}"


def differences(base: Options, base_account: Account, clone: Options, clone_account: Account) -> Iterator[Difference]:
    """In which options a clone is not its base user's equal. The plug-in, a part of the password, is not among them."""
    unequal = [
        *_unequal([_require(base)], [_require(clone)]),
        *((name, f"WITH {wanted}") for name, wanted in _unequal(_limits(base), _limits(clone))),
        *_unequal(_password_options(base), _password_options(clone)),
    ]
    for name, wanted in unequal:
        yield Difference(f"has another {name} than its base user", (f"ALTER USER {clone_account.sql} {wanted}",))
    missing, extra = base.default_roles - clone.default_roles, clone.default_roles - base.default_roles
    if missing or extra:
        roles = ", ".join(role.sql for role in sorted(base.default_roles)) or "NONE"
        yield Difference(
            "has other default roles than its base user",
            (f"ALTER USER {clone_account.sql} DEFAULT ROLE {roles}",),
            lacks=bool(missing),
        )
    patch = _patch(_expected(base, base_account, unfinished=clone.unfinished), clone.attributes)
    if patch:
        statement = f"ALTER USER {clone_account.sql} ATTRIBUTE {literal(json.dumps(patch, sort_keys=True))}"
        # Attributes are not shown: people keep all sorts of things in comments.
        yield Difference(
            "has another comment or other attributes than its base user, or lacks the mark of the clone", (statement,)
        )


def _unequal(wanted: list[_Clause], found: list[_Clause]) -> Iterator[_Clause]:
    return (each for each, other in zip(wanted, found, strict=True) if each != other)


def _require(options: Options) -> _Clause:
    required = " AND ".join(f"{name} {literal(value)}" if value else name for name, value in options.require)
    return "REQUIRE", f"REQUIRE {required or 'NONE'}"


def _password_options(options: Options) -> list[_Clause]:
    days = "" if options.reuse_days is None else " DAY"
    current = {None: " DEFAULT", True: "", False: " OPTIONAL"}[options.require_current]
    locked_for = "UNBOUNDED" if options.lock_days == _UNBOUNDED else options.lock_days
    return [
        ("PASSWORD EXPIRE", f"PASSWORD EXPIRE {_lifetime(options.lifetime)}"),
        ("PASSWORD HISTORY", f"PASSWORD HISTORY {_or_default(options.history)}"),
        ("PASSWORD REUSE INTERVAL", f"PASSWORD REUSE INTERVAL {_or_default(options.reuse_days)}{days}"),
        ("PASSWORD REQUIRE CURRENT", f"PASSWORD REQUIRE CURRENT{current}"),
        ("FAILED_LOGIN_ATTEMPTS", f"FAILED_LOGIN_ATTEMPTS {options.failed_logins} PASSWORD_LOCK_TIME {locked_for}"),
    ]


def _limits(options: Options) -> list[_Clause]:
    return [(name, f"{name} {number}") for name, number in zip(_LIMITS, options.limits, strict=True)]


def _lifetime(days: int | None) -> str:
    return "DEFAULT" if days is None else "NEVER" if days == 0 else f"INTERVAL {days} DAY"


def _or_default(number: int | None) -> str:
    return "DEFAULT" if number is None else str(number)


def _expected(base: Options, account: Account, *, unfinished: bool) -> dict[str, Any]:
    """The attributes of a clone of ``account``."""
    return {**base.attributes, MARK: {CLONE_OF: str(account), **({UNFINISHED: True} if unfinished else {})}}


def _patch(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch (RFC 7396, as ATTRIBUTE takes one) that makes ``found`` be ``wanted``."""
    patch: dict[str, Any] = dict.fromkeys(found.keys() - wanted.keys())
    for key, value in wanted.items():
        there = found.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            inner = _patch(value, there)
            if inner:
                patch[key] = inner
        elif value != there:
            patch[key] = value
    return patch
