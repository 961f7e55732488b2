"""An account as MariaDB keeps it in ``mysql.global_priv``, and the clauses of a statement that make another such. Pure.

Source: "mysql.global_priv Table" and "ALTER USER", MariaDB documentation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rotated_secrets.databases.mariadb.hashes import NATIVE, PASSWORD_PLUGINS, hashed
from rotated_secrets.databases.mysql.accounts import Account, identifier, literal
from rotated_secrets.values import SecretText

# Others that hold a password, of which it is not known here what they keep.
_FOREIGN_PASSWORDS = frozenset({"parsec", "mysql_old_password", "caching_sha2_password", "sha256_password"})

_LIMITS = {
    "max_questions": "MAX_QUERIES_PER_HOUR",
    "max_updates": "MAX_UPDATES_PER_HOUR",
    "max_connections": "MAX_CONNECTIONS_PER_HOUR",
    "max_user_connections": "MAX_USER_CONNECTIONS",
    "max_statement_time": "MAX_STATEMENT_TIME",
}
_WRITTEN = {*_LIMITS, "password_lifetime", "account_locked"}
_TLS_KINDS = {1: "SSL", 2: "X509"}
_CERTIFICATE = {"ssl_cipher": "CIPHER", "x509_issuer": "ISSUER", "x509_subject": "SUBJECT"}


@dataclass(frozen=True)
class Entry:
    """One way to log in: a plug-in, and what it keeps."""

    plugin: str
    kept: str = field(repr=False)

    @property
    def sql(self) -> str:
        return identifier(self.plugin) + (f" USING {literal(self.kept)}" if self.kept else "")


@dataclass(frozen=True)
class Terms:
    """What an account's logins are subject to, each as the clause that makes it so."""

    require: str = "REQUIRE NONE"
    limits: str = ""
    lifetime: str = "PASSWORD EXPIRE DEFAULT"

    @property
    def clauses(self) -> tuple[tuple[str, str], ...]:
        """What people call each, and the clause, in the order that statements have them."""
        return ("REQUIRE", self.require), ("resource limits", self.limits), ("password lifetime", self.lifetime)


@dataclass(frozen=True)
class State:
    """One row."""

    account: Account
    is_role: bool
    entries: tuple[Entry, ...]
    terms: Terms
    default_role: str
    locked: bool
    written_out: bool = False
    """Its row has every term, those as well that are the server's defaults, which only one with CREATE USER writes:
    the operator does, and no CREATE USER without all these clauses. An account that was dropped and made again by
    another, under the name of a clone, is known by that."""

    @classmethod
    def read(cls, user: str, host: str, text: str) -> State:
        """Read a row of ``mysql.global_priv``.

        Raises:
            ValueError: it is not understood; the message says nothing of it.
        """
        try:
            return cls._read(user, host, json.loads(text))
        except (TypeError, ValueError, AttributeError, OverflowError, RecursionError):
            raise ValueError("a row of mysql.global_priv") from None

    @classmethod
    def _read(cls, user: str, host: str, row: Mapping[str, Any]) -> State:
        return cls(
            account=Account(user, host),
            is_role=bool(row.get("is_role")),
            entries=tuple(_entries(row)),
            terms=Terms(_require(row), _limits(row), _lifetime(row)),
            default_role=str(row.get("default_role") or ""),
            locked=bool(row.get("account_locked")),
            written_out=row.keys() >= _WRITTEN,
        )

    @property
    def plugins(self) -> tuple[str, ...]:
        """The plug-ins whose password can be set here, each once."""
        return password_plugins(self.entries)


def password_plugins(entries: Iterable[Entry]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(entry.plugin for entry in entries if entry.plugin in PASSWORD_PLUGINS))


def unsettable(entries: Sequence[Entry]) -> str | None:
    """Why no password can be set for an account with these ways to log in."""
    foreign = sorted({entry.plugin for entry in entries} & _FOREIGN_PASSWORDS)
    if foreign:
        return f"has a password by {', '.join(foreign)}, a plug-in that the operator does not know"
    if not password_plugins(entries):
        others = ", ".join(entry.plugin for entry in entries)
        return f"logs in by {others or 'nothing'} and has no password that could be set"
    return None


def with_passwords(entries: Sequence[Entry], passwords: Sequence[SecretText]) -> tuple[Entry, ...]:
    """The ways to log in with these passwords and no others: plug-ins stay, and what has no password stays.

    Raises: Refused, where a plug-in takes a library that is not there.
    """
    made = new_entries(password_plugins(entries), passwords)
    first = next(place for place, entry in enumerate(entries) if entry.plugin in PASSWORD_PLUGINS)
    others = [entry for entry in entries[first:] if entry.plugin not in PASSWORD_PLUGINS]
    return (*entries[:first], *made, *others)


def new_entries(plugins: Iterable[str], passwords: Sequence[SecretText]) -> tuple[Entry, ...]:
    made = (Entry(plugin, hashed(plugin, password)) for plugin in plugins for password in passwords)
    return tuple(dict.fromkeys(made))


def identified(entries: Iterable[Entry]) -> str:
    return "IDENTIFIED VIA " + " OR ".join(entry.sql for entry in entries)


def _entries(row: Mapping[str, Any]) -> Iterable[Entry]:
    """The list of alternatives has an empty place for the one that stands outside of it."""
    for each in row.get("auth_or") or [{}]:
        found = each or row
        yield Entry(str(found.get("plugin") or NATIVE), str(found.get("authentication_string") or ""))


def _require(row: Mapping[str, Any]) -> str:
    kind = int(row.get("ssl_type") or 0)
    if kind == 3:
        asked = [f"{name} {literal(str(row[key]))}" for key, name in _CERTIFICATE.items() if row.get(key)]
        return "REQUIRE " + " AND ".join(asked)
    return f"REQUIRE {_TLS_KINDS.get(kind, 'NONE')}"


def _limits(row: Mapping[str, Any]) -> str:
    return "WITH " + " ".join(f"{name} {_number(row.get(key))}" for key, name in _LIMITS.items())


def _number(found: Any) -> int | float:
    """Nothing else may get into a statement."""
    if found is not None and not isinstance(found, int | float):
        raise TypeError
    return found or 0


def _lifetime(row: Mapping[str, Any]) -> str:
    days = row.get("password_lifetime")
    if days is None or int(days) < 0:
        return "PASSWORD EXPIRE DEFAULT"
    return f"PASSWORD EXPIRE INTERVAL {int(days)} DAY" if int(days) else "PASSWORD EXPIRE NEVER"
