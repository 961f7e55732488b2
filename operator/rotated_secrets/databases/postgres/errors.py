"""What PostgreSQL's and libpq's errors mean: wrong password, not now, or never.

What decides is a SQLSTATE ("PostgreSQL Error Codes" in its documentation), whether the server had asked for the
password, and at most the name of the function in its source that said it: a server speaks the language of its
`lc_messages`. Whatever is doubtful is taken as "not now", so that it is tried again and never rolled back.
An address's answers are never shown: the author of a secret could otherwise read ports of other hosts.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import psycopg2

from rotated_secrets.databases.base import AuthenticationFailed, DatabaseError, NotAdmitted, Server
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
from rotated_secrets.databases.postgres.libpq import Failure
from rotated_secrets.databases.postgres.rights import quoted

# A user that is gone, one without a password and one past VALID UNTIL get the same (auth_failed in auth.c).
_REJECTED = "28P01"
_NOT_AUTHORIZED = "28000"
"""Says pg_hba.conf before the password is asked for; says a method such as LDAP, or a user with NOLOGIN, after it."""
_CHECKED_ELSEWHERE = "auth_failed"
"""The function that says so of a password: with the code above, of one that the server does not keep itself."""

# The server says these once the password was right (InitPostgres and CheckMyDatabase run after ClientAuthentication).
_CLOSED_DATABASE: Mapping[str, str] = MappingProxyType(
    {
        "3D000": "there is no such database; check dbname in the secret value, or create it",
        "42501": "the user lacks CONNECT there; run for that database: GRANT CONNECT ON DATABASE … TO {user}",
        "55000": "the database accepts no connections; run for it: ALTER DATABASE … ALLOW_CONNECTIONS true",
    }
)
_LIMITS: Mapping[str | None, str] = MappingProxyType(
    {
        "InitializeSessionUserId": "too many connections of this user for its CONNECTION LIMIT; close some, or run: "
        "ALTER ROLE {user} CONNECTION LIMIT -1",
        "CheckMyDatabase": "too many connections to {database} for its CONNECTION LIMIT; close some, or run for it: "
        "ALTER DATABASE … CONNECTION LIMIT -1",
    }
)
"""Of 53300, by the function that says it (miscinit.c, postinit.c)."""
POOLED = (
    "write the server's own host and port into the secret value, and into the admin secret if there is one; pods reach "
    "the pooler by spec.target.template"
)
_NOT_NOW: Mapping[str, str] = MappingProxyType(
    {
        # PgBouncer says the first of everything that it says itself, a wrong password too (send_pooler_error); RDS
        # Proxy the second of settings that a session begins with.
        "08P01": f"a pooler such as PgBouncer answers there, which is not supported: {POOLED}",
        "0A000": f"a pooler such as RDS Proxy answers there, which is not supported: {POOLED}",
        "42704": "PostgreSQL 14 or later is needed",
        "53300": MANY_CONNECTIONS,
        "57P01": "it is shutting down",
        "57P02": "it is shutting down after a crash",
        "57P03": "it is starting up, shutting down or recovering",
        "58P01": "a library that session_preload_libraries or local_preload_libraries names is not there; correct that "
        "setting of the user, of its database or of the server",
    }
)
# What libpq says itself, which is English: the process sets no locale for messages.
_WITHOUT_CODE = (
    ("server does not support SSL", NO_TLS),
    ("certificate verify failed", NOT_TRUSTED),
    ("does not match host name", OTHER_NAME),
    (
        "requested an unknown authentication type",
        "it keeps the user's password in a form that libpq does not know (SHA-256 on Redshift); set it once as md5…",
    ),
)
_OTHER_METHOD = "authentication method requirement"
"""pg_hba.conf has another method for this user than one that proves a password."""
_TEMPORARY_CLASSES = ("08", "25", "40", "53", "55", "57", "58", "XX")
"""SQLSTATE classes: lost connection, read-only (a standby), conflict, resources, busy, operator, system, internal."""


def failed_login(
    failure: Failure, server: Server, user: str, database: str, *, says_28000: bool = False
) -> DatabaseError:
    """The meaning of an attempt that failed.

    Args:
        database: as messages may show it.
        says_28000: the server says that of a wrong password, as those do that are made of a PostgreSQL before 9.0.
    """
    where = f"user {user} at {server}"
    if failure.password_missing:
        return AuthenticationFailed(f"{where}: the secret value holds no password")
    code = failure.sqlstate
    if failure.began and code and code not in _NOT_NOW and not code.startswith(_TEMPORARY_CLASSES):
        # EventTriggerOnLogin runs after all that the server itself checks ("Event Triggers": login).
        return DatabaseClosed(
            f"{where} may not connect to {database}: what runs there at each login, such as an event trigger on login, "
            f"turns the user away (SQLSTATE {code}); have it admit {quoted(user)}"
        )
    if code is None and _OTHER_METHOD in failure.text:
        return NotAdmitted(
            f"{where} could not log in: the server asks for the password in a way that would show it, or asks for "
            f"none; have pg_hba.conf use scram-sha-256 for it"
        )
    if code is None:
        meaning = (meaning for sign, meaning in _WITHOUT_CODE if sign in failure.text)
        nothing = "the server cannot be reached, or does not answer as PostgreSQL does"
        return no_login(user, server, next(meaning, nothing))
    if code == _NOT_AUTHORIZED and not failure.password_asked:
        return NotAdmitted(
            f"{where} was turned away from {database} before the password was checked: the server "
            f"requires TLS, or pg_hba.conf does not admit this host, user or database; "
            f"check database.tls.mode and pg_hba.conf"
        )
    if failure.password_asked and code in (_REJECTED, _NOT_AUTHORIZED):
        return _rejected(failure, server, user, says_28000=says_28000)
    if failure.password_asked and code in _CLOSED_DATABASE:
        advice = _CLOSED_DATABASE[code].format(user=quoted(user))
        return DatabaseClosed(f"{where} may not connect to {database}: {advice}")
    why = _LIMITS.get(failure.routine) if code == "53300" else None
    told = why.format(user=quoted(user), database=database) if why else _NOT_NOW.get(code)
    return no_login(user, server, told or f"the server is not ready for it (SQLSTATE {code})")


def _rejected(failure: Failure, server: Server, user: str, *, says_28000: bool) -> DatabaseError:
    where = f"user {user} at {server}"
    if failure.sqlstate == _REJECTED or says_28000:
        return AuthenticationFailed(
            f"{where} does not log in: the password is wrong or has expired, or the user has none or does not exist; "
            f"of one that is past its VALID UNTIL, run: ALTER USER {quoted(user)} VALID UNTIL 'infinity'"
        )
    if failure.routine == _CHECKED_ELSEWHERE:
        return NotAdmitted(
            f"{where} could not log in: its password is checked by another service than the server itself (ldap, pam "
            f"or radius in pg_hba.conf; membership in rds_iam or rds_ad), where no rotation sets it; have pg_hba.conf "
            f"use scram-sha-256 for it"
        )
    return AuthenticationFailed(
        f"{where} does not log in: the user is locked (NOLOGIN); run: ALTER ROLE {quoted(user)} LOGIN"
    )


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
    return not error.pgcode or error.pgcode[:2] in _TEMPORARY_CLASSES or error.pgcode == "42710"


def condition(error: psycopg2.Error) -> str:
    """SQLSTATE and condition name, which hold no value."""
    if not error.pgcode:
        return LOST
    return f"SQLSTATE {error.pgcode} ({type(error).__name__})"
