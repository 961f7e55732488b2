"""What PostgreSQL's and libpq's errors mean: wrong password, not now, or never.

libpq gives no SQLSTATE for a failed login, only text in the server's language. The few texts that are certain are known
here; everything else is taken as "not now", so that a doubtful case is tried again and never rolled back.
An address's answers are never shown: the author of a secret could otherwise read ports of other hosts.
"""

from __future__ import annotations

import re

import psycopg2

from rotated_secrets.databases.base import AuthenticationFailed, DatabaseError, Server, Unavailable
from rotated_secrets.databases.base_classes import DatabaseClosed
from rotated_secrets.databases.failures import (
    LOST,
    MANY_CONNECTIONS,
    NO_TLS,
    NOT_TRUSTED,
    OTHER_NAME,
    could_not,
    no_login,
)

_ATTEMPT = re.compile(r'^connection to server at "[^"]*"(?: \([^)]*\))?, port \d+ failed: ', re.MULTILINE)
_FATAL = re.compile(r"FATAL:\s+(.*)", re.DOTALL)

# A password past VALID UNTIL, a user that is gone and one without a password all get the first message
# (src/backend/libpq/auth.c, auth_failed); the second comes after the password was right (miscinit.c).
_WRONG_PASSWORD = (
    re.compile(r'password authentication failed for user "'),
    re.compile(r'role ".*" is not permitted to log in', re.DOTALL),
    re.compile(r'role ".*" does not exist', re.DOTALL),
)
# The server says these once the password was right (InitPostgres and CheckMyDatabase run after ClientAuthentication) …
_CLOSED_DATABASE = (
    re.compile(r'permission denied for database ".*"', re.DOTALL),
    re.compile(r'database ".*" does not exist', re.DOTALL),
    re.compile(r'database ".*" is not currently accepting connections', re.DOTALL),
)
# … and these before it has asked for one (ClientAuthentication, src/backend/libpq/auth.c).
_NOT_ADMITTED = (
    re.compile(r"no pg_hba\.conf entry for host "),
    re.compile(r"pg_hba\.conf rejects connection for host "),
)
_NO_POOLERS = "connection poolers such as PgBouncer and RDS Proxy are not supported: name the server itself"
_KINDS = (
    ("server does not support SSL", NO_TLS),
    ("certificate verify failed", NOT_TRUSTED),
    ("does not match host name", OTHER_NAME),
    (
        "requested an unknown authentication type",
        "it keeps the user's password in a form that libpq does not know (SHA-256 on Redshift); set it once as md5…",
    ),
    (
        "authentication method requirement",
        "it asks for the password in a way that would show it, or asks for none; have it use scram-sha-256",
    ),
    ("too many connections for", MANY_CONNECTIONS),
    ("too many clients already", MANY_CONNECTIONS),
    ("remaining connection slots are reserved", MANY_CONNECTIONS),
    ("the database system is", "it is starting up, shutting down or recovering"),
    ("unsupported startup parameter", _NO_POOLERS),
    ("RDS Proxy currently", _NO_POOLERS),
    ("unrecognized configuration parameter", "PostgreSQL 14 or later is needed"),
)
_NOT_NOW = ("08", "25", "40", "53", "55", "57", "58", "XX")
"""SQLSTATE classes: lost connection, read-only (a standby), conflict, resources, busy, operator, system, internal."""


class NotAdmitted(Unavailable):
    """Rejected before the password was checked, which proves nothing. Another database may have other rules."""


def failed_login(error: psycopg2.Error, server: Server, user: str, database: str) -> DatabaseError:
    """The meaning of an error that `connect` raised; ``database`` as messages may show it."""
    text = _ATTEMPT.split(str(error))[-1]
    where = f"user {user} at {server}"
    if "no password supplied" in text:
        return AuthenticationFailed(f"{where}: the secret value holds no password")
    fatal = _FATAL.match(text)
    if fatal:
        if any(known.match(fatal[1]) for known in _WRONG_PASSWORD):
            return AuthenticationFailed(
                f"{where} does not log in: the password is wrong or has expired, or the user does not exist or is "
                f"locked"
            )
        if any(known.match(fatal[1]) for known in _CLOSED_DATABASE):
            return DatabaseClosed(
                f"{where} may not connect to {database}, or it does not exist; "
                f"check dbname in the secret value, and GRANT CONNECT"
            )
        if any(known.match(fatal[1]) for known in _NOT_ADMITTED):
            return NotAdmitted(
                f"{where} was turned away from {database} before the password was checked: the server "
                f"requires TLS, or pg_hba.conf does not admit this host, user or database; "
                f"check database.tls.mode and pg_hba.conf"
            )
    for sign, meaning in _KINDS:
        if sign in text:
            return no_login(user, server, meaning)
    return no_login(user, server, "the server cannot be reached, or does not answer as PostgreSQL does")


def failed_statement(error: psycopg2.Error, server: Server, doing: str) -> DatabaseError:
    """The meaning of an error of a statement; ``doing`` completes "could not …"."""
    later = is_temporary(error)
    return could_not(doing, server, condition(error) if later else reason(error), later=later)


def reason(error: psycopg2.Error) -> str:
    """The server's one line about a statement of ours; psycopg2's own text would quote the statement."""
    return error.diag.message_primary or condition(error)


def is_temporary(error: psycopg2.Error) -> bool:
    """Whether the same statement may succeed later, because nothing says that it can't."""
    # Another session created the role after it was looked for.
    return not error.pgcode or error.pgcode[:2] in _NOT_NOW or error.pgcode == "42710"


def condition(error: psycopg2.Error) -> str:
    """SQLSTATE and condition name, which hold no value."""
    if not error.pgcode:
        return LOST
    return f"SQLSTATE {error.pgcode} ({type(error).__name__})"
