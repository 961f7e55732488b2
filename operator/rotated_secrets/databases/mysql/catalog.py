"""What MySQL's own tables say about accounts. Every name is qualified; reads only, and decides nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rotated_secrets.databases.mysql.accounts import Account, literal
from rotated_secrets.databases.mysql.grants import Member, RightSet
from rotated_secrets.databases.mysql.login import Session
from rotated_secrets.databases.mysql.options import CLONE_OF, MARK, Options
from rotated_secrets.databases.mysql.show_grants import read

_ROW = """
SELECT plugin, ssl_type, CONVERT(ssl_cipher USING utf8mb4), CONVERT(x509_issuer USING utf8mb4),
       CONVERT(x509_subject USING utf8mb4), max_questions, max_updates, max_connections, max_user_connections,
       password_lifetime, Password_reuse_history, Password_reuse_time, Password_require_current,
       account_locked, password_expired, HEX(authentication_string),
       HEX(JSON_UNQUOTE(JSON_EXTRACT(User_attributes, '$.additional_password'))),
       JSON_EXTRACT(User_attributes, '$.Password_locking'), JSON_EXTRACT(User_attributes, '$.metadata'),
       JSON_EXTRACT(User_attributes, '$.multi_factor_authentication') IS NOT NULL
FROM mysql.user WHERE User = {user} AND Host = {host}
"""
# A role that was mandatory once stays a default role, and no session has it.
_DEFAULT_ROLES = """
SELECT DEFAULT_ROLE_USER, DEFAULT_ROLE_HOST FROM mysql.default_roles AS chosen
WHERE USER = {user} AND HOST = {host} AND (@@GLOBAL.mandatory_roles <> '' OR EXISTS (
    SELECT 1 FROM mysql.role_edges WHERE TO_USER = chosen.USER AND TO_HOST = chosen.HOST
    AND FROM_USER = chosen.DEFAULT_ROLE_USER AND FROM_HOST = chosen.DEFAULT_ROLE_HOST))
"""
_DEFINERS = """
SELECT kind, place, COUNT(*) FROM (
    SELECT 'view' AS kind, TABLE_SCHEMA AS place, DEFINER AS definer FROM information_schema.VIEWS
    UNION ALL SELECT LOWER(ROUTINE_TYPE), ROUTINE_SCHEMA, DEFINER FROM information_schema.ROUTINES
    UNION ALL SELECT 'trigger', TRIGGER_SCHEMA, DEFINER FROM information_schema.TRIGGERS
    UNION ALL SELECT 'event', EVENT_SCHEMA, DEFINER FROM information_schema.EVENTS
) AS objects WHERE definer = {definer} GROUP BY kind, place ORDER BY kind, place
"""


@dataclass(frozen=True)
class User:
    """One account as it is."""

    account: Account
    options: Options
    locked: bool
    expired: bool
    has_factors: bool
    """Logs in by more than a password."""
    primary: bytes = field(repr=False)
    """The hash of its password; empty where it has none."""
    secondary: bytes | None = field(repr=False)
    """The hash of the password that RETAIN CURRENT PASSWORD kept."""
    rights: RightSet = frozenset()


@dataclass(frozen=True)
class Defined:
    """Objects of one kind in one schema that run with the rights of an account."""

    kind: str
    schema: str
    count: int


def accounts_of(session: Session, user: str) -> tuple[Account, ...]:
    """The accounts of one user name."""
    rows = session.ask(f"SELECT User, Host FROM mysql.user WHERE User = {literal(user)}")
    return tuple(Account(*row) for row in rows)


def clones_of(session: Session, base: Account) -> tuple[str, ...]:
    """The names of the users whose mark says that they are clones of an account."""
    path = f'$.metadata."{MARK}"."{CLONE_OF}"'
    rows = session.ask(
        f"SELECT User FROM mysql.user WHERE JSON_UNQUOTE(JSON_EXTRACT(User_attributes, {literal(path)})) "
        f"= {literal(str(base))}"
    )
    return tuple(str(user) for (user,) in rows)


def own_account(session: Session) -> Account:
    """The account that the session is one of."""
    ((text,),) = session.ask("SELECT CURRENT_USER()")
    user, _, host = str(text).rpartition("@")
    return Account(user, host)


def rights_of(session: Session, account: Account) -> RightSet:
    """What was granted to an account, as it was granted."""
    return read((str(row[0]) for row in session.ask(f"SHOW GRANTS FOR {account.sql}")), account)


def rights_of_session(session: Session) -> RightSet:
    """What the session may do, its active roles included."""
    ((roles,),) = session.ask("SELECT CURRENT_ROLE()")
    using = "" if roles in (None, "", "NONE") else f" USING {roles}"
    return read(str(row[0]) for row in session.ask(f"SHOW GRANTS FOR CURRENT_USER(){using}"))


def look(session: Session, account: Account) -> User | None:
    """Read an account; None where there is none. Its rights are not among what is read."""
    rows = session.ask(_ROW.format(user=literal(account.user), host=literal(account.host)))
    if not rows:
        return None
    ((plugin, ssl, cipher, issuer, subject, *rest),) = rows
    limits, (lifetime, history, reuse_days, current, locked, expired, primary, secondary, *attributes) = (
        rest[:4],
        rest[4:],
    )
    locking, metadata = _object(attributes[0]), _object(attributes[1])
    options = Options(
        plugin=str(plugin),
        require=_required(str(ssl), {"CIPHER": cipher, "ISSUER": issuer, "SUBJECT": subject}),
        limits=(int(limits[0]), int(limits[1]), int(limits[2]), int(limits[3])),
        lifetime=lifetime,
        history=history,
        reuse_days=reuse_days,
        require_current=None if current is None else current == "Y",
        failed_logins=int(locking.get("failed_login_attempts", 0)),
        lock_days=int(locking.get("password_lock_time_days", 0)),
        default_roles=frozenset(_default_roles(session, account)),
        attributes=metadata,
    )
    return User(
        account,
        options,
        locked=locked == "Y",
        expired=expired == "Y",
        has_factors=bool(attributes[2]),
        primary=bytes.fromhex(primary or ""),
        secondary=bytes.fromhex(secondary) if secondary else None,
    )


def defined_by(session: Session, account: Account) -> tuple[Defined, ...]:
    """Views, routines, triggers and events with this account as DEFINER, as far as the session may see them."""
    rows = session.ask(_DEFINERS.format(definer=literal(str(account))))
    return tuple(Defined(str(kind), str(schema), int(count)) for kind, schema, count in rows)


def password_policy(session: Session) -> str:
    """What the server wants of passwords, in its own settings' words; empty where it says nothing."""
    rows = session.ask("SHOW GLOBAL VARIABLES LIKE 'validate\\_password%'")
    shown = (f"{name}={value}" for name, value in rows if value not in ("", "0") and "file" not in str(name))
    return ", ".join(shown)


def _default_roles(session: Session, account: Account) -> list[Member]:
    rows = session.ask(_DEFAULT_ROLES.format(user=literal(account.user), host=literal(account.host)))
    return [Member(str(role), str(host)) for role, host in rows]


def _required(kind: str, certificate: Mapping[str, str | None]) -> tuple[tuple[str, str], ...]:
    if kind == "SPECIFIED":
        return tuple((name, value) for name, value in certificate.items() if value)
    return {"ANY": (("SSL", ""),), "X509": (("X509", ""),)}.get(kind, ())


def _object(text: str | None) -> dict[str, Any]:
    found = json.loads(text) if text else {}
    return found if isinstance(found, dict) else {}
