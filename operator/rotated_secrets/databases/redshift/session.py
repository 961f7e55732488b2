"""One login to Redshift, with everything set that databases or users could have set otherwise.

The wire and its errors are PostgreSQL's, so the login is too. What is set, is set by statements after it, for Redshift
takes fewer settings at the start of a session than PostgreSQL does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from rotated_secrets.databases.base import AuthenticationFailed, DatabaseError, Refused, Server
from rotated_secrets.databases.deadline import judged_in_time
from rotated_secrets.databases.postgres.errors import failed_statement
from rotated_secrets.databases.postgres.login import CONNECT_SECONDS, STATEMENT_SECONDS, deadline, log_in
from rotated_secrets.values import Credential

DEFAULT_DATABASE = "dev"
"""As in AWS's rotation template."""

_PINNED = (
    "SET search_path TO pg_catalog",
    f"SET statement_timeout TO {STATEMENT_SECONDS * 1000}",
    # Else a quoted name of a table or schema would be taken for the same in lower case.
    "SET enable_case_sensitive_identifier TO true",
)
_NOT_ALLOWED = "42501"


def open_connection(server: Server, credential: Credential, database: str) -> Connection:
    """Log in, once, and pin what the session looks names up by; it runs as the user itself or not at all.

    Raises:
        AuthenticationFailed, Unavailable, DatabaseClosed (the password was accepted), NotAdmitted.
        Refused: the session does not run as the user.
    """
    connection = log_in(server, credential, database, {}, says_28000=True)
    user = credential.username
    try:
        with judged_in_time(), transaction(connection, server, "open the session") as cursor:
            for statement in _PINNED:
                cursor.execute(statement)
            cursor.execute("SELECT SESSION_USER, CURRENT_USER")
            who = cursor.fetchone()
        if who is None or who[0] != user:
            raise AuthenticationFailed(
                f"user {user} at {server} does not log in: the session belongs to another user; write the user's name "
                f"exactly as the server has it, and name the server itself in host, not a proxy"
            )
        if who != (user, user):
            raise Refused(f"the session of {user} at {server} does not run as {user}; remove SET SESSION AUTHORIZATION")
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def transaction(
    connection: Connection, server: Server, doing: str, seconds: float = STATEMENT_SECONDS + CONNECT_SECONDS
) -> Iterator[Cursor]:
    """Statements that happen together or not at all; ``doing`` completes "could not …"."""
    try:
        with deadline(connection, seconds), connection, connection.cursor() as cursor:
            yield cursor
    except psycopg2.Error as error:
        raise _failed(error, server, doing) from None


def _failed(error: psycopg2.Error, server: Server, doing: str) -> DatabaseError:
    meaning = failed_statement(error, server, doing)
    if error.pgcode == _NOT_ALLOWED:
        return Refused(f"{meaning}; the admin has to be a superuser; run: ALTER USER … CREATEUSER")
    return meaning
