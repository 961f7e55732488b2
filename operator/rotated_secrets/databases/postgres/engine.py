"""The engine for PostgreSQL: verifies by logging in as a user, and opens sessions for admins.

Source of the values of ``engine``: "JSON structure of AWS Secrets Manager secrets", AWS Secrets Manager User Guide.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.sql import SQL, Literal

from rotated_secrets.databases.base import AdminSession, AuthenticationFailed, NotAdmitted, Server, Users
from rotated_secrets.databases.base_classes import LoggedIn, LoginEngine
from rotated_secrets.databases.postgres.admin import open_session
from rotated_secrets.databases.postgres.catalog import becoming
from rotated_secrets.databases.postgres.errors import POOLED, condition, failed_statement, is_temporary
from rotated_secrets.databases.postgres.login import CONNECT_SECONDS, STATEMENT_SECONDS, TIMEOUTS, deadline, log_in
from rotated_secrets.databases.postgres.rights import joining, unusable_name
from rotated_secrets.databases.verify_queries import CUT_AFTER_SECONDS, OutOfTime, Query
from rotated_secrets.values import Credential

DEFAULT_DATABASE = "postgres"

_READ_ONLY = "25006"
_TIMED_OUT = "57014"
# Not to be parsed, or nothing that a cursor could be opened for.
_NO_SELECT = ("42601", "42P11")

# A clone's session has to start as the same user as the base user's: see `rights.starts_as`. From PostgreSQL 17 on a
# login trigger may make it another user, and no setting tells which.
_WHO = """
SET LOCAL search_path TO pg_catalog, pg_temp;
SELECT SESSION_USER, CURRENT_USER,
       COALESCE(
           (SELECT NULLIF(pg_catalog.substr(setting, 6), 'none')
            FROM pg_catalog.pg_db_role_setting s
            JOIN pg_catalog.pg_roles base ON base.rolname OPERATOR(pg_catalog.=) %(base)s::pg_catalog.name
              AND s.setrole OPERATOR(pg_catalog.=) ANY (ARRAY[base.oid, 0::pg_catalog.oid])
            LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.setdatabase,
            pg_catalog.unnest(s.setconfig) setting
            LEFT JOIN pg_catalog.pg_roles r
              ON r.rolname OPERATOR(pg_catalog.=) pg_catalog.substr(setting, 6)::pg_catalog.name
            WHERE (d.datname IS NULL OR d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
              AND pg_catalog.starts_with(setting, 'role=')
              AND (setting OPERATOR(pg_catalog.=) 'role=none' OR pg_catalog.pg_has_role(base.oid, r.oid, %(becomes)s))
            ORDER BY s.setrole OPERATOR(pg_catalog.=) 0::pg_catalog.oid, d.datname NULLS LAST LIMIT 1),
           %(base)s),
       EXISTS (SELECT FROM pg_catalog.pg_event_trigger
               WHERE evtevent OPERATOR(pg_catalog.=) 'login' AND evtenabled OPERATOR(pg_catalog.<>) 'D'),
       EXISTS (SELECT FROM pg_catalog.pg_roles r
               WHERE r.rolname OPERATOR(pg_catalog.=) %(base)s::pg_catalog.name
                 AND pg_catalog.pg_has_role(SESSION_USER, r.oid, 'USAGE')
                 AND pg_catalog.pg_has_role(SESSION_USER, r.oid, %(becomes)s))
"""


class PostgresEngine(LoginEngine[Connection]):
    """PostgreSQL 14 and later, Amazon RDS for PostgreSQL, Aurora PostgreSQL."""

    default_port = 5432
    idle_seconds = 10.0
    """After this time of silence the server ends an admin's session, and frees its lock."""

    def verify(self, server: Server, credential: Credential, users: Users, queries: Sequence[str] = ()) -> list[str]:
        try:
            return super().verify(server, credential, users, queries)
        except NotAdmitted as error:
            if users.clone is None:
                raise
            # "The pg_hba.conf File": a plus sign is for a role and all of its members.
            both = f"a line of pg_hba.conf that is to admit {users.base} and its clone names +{users.base}"
            raise NotAdmitted(f"{error}; {both}") from None

    def _unusable_name(self, username: str) -> str | None:
        return unusable_name(username)

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        return open_session(server, credential, self.idle_seconds)

    def _log_in(self, server: Server, credential: Credential) -> Connection:
        # The user's own settings apply, as for the application, except for timeouts.
        return log_in(server, credential, credential.dbname or DEFAULT_DATABASE, TIMEOUTS)

    def _wrong_rights(self, login: LoggedIn[Connection]) -> Iterator[str]:
        connection, server, users = login.connection, login.server, login.users
        user = login.credential.username
        try:
            with _looking(connection) as cursor:
                cursor.execute(_WHO, {"base": users.base, "becomes": becoming(connection.server_version)})
                session_user, current_user, expected, triggered, has_rights = cursor.fetchone() or (None,) * 5
        except psycopg2.Error as error:
            raise failed_statement(error, server, f"look who {user} is") from None
        if session_user != user:
            raise AuthenticationFailed(
                f"user {user} at {server} does not log in: the session belongs to {session_user}, so the password of "
                f"{user} was not checked; a pooler with users of its own answers there: {POOLED}"
            )
        if user == users.clone and current_user != expected and (current_user == user or not triggered):
            yield f"the session of {user} runs as {current_user} instead of {expected}"
        if user == users.clone and not has_rights:
            run = joining(connection.server_version, users.base, user)
            yield f"{user} is not a member of {users.base}, or does not inherit its rights; run: {run}"

    def _run(self, login: LoggedIn[Connection], query: Query) -> str | None:
        connection, left = login.connection, query.left
        try:
            with _looking(connection, left + CUT_AFTER_SECONDS) as cursor:
                # A query that waits for a lock is tried again later, so the lock's timeout comes before the query's.
                for setting, limit in (("lock_timeout", left / 2), ("statement_timeout", left)):
                    cursor.execute(f"SET LOCAL {setting} = {max(1, int(limit * 1000))}")
                # Without arguments the driver leaves `%` alone.
                cursor.execute(_first_row(query.text, connection))
        except psycopg2.Error as error:
            if error.pgcode == _TIMED_OUT:
                raise OutOfTime from None
            if is_temporary(error) and error.pgcode != _READ_ONLY:
                raise failed_statement(error, login.server, f"run {query}") from None
            hint = "; it has to be one SELECT" if error.pgcode in _NO_SELECT else ""
            return f"failed: {condition(error)}{hint}"
        return None


def _first_row(query: str, connection: Connection) -> str:
    """A block that has the server make a query's first row and keep it.

    The cursor of a block takes one statement and no more: nothing that follows a semicolon can leave the transaction,
    or send rows.
    """
    block = SQL(
        "DECLARE found pg_catalog.refcursor; "
        "BEGIN OPEN found NO SCROLL FOR EXECUTE {}; MOVE FORWARD 1 FROM found; CLOSE found; END"
    ).format(Literal(query))
    return SQL("DO LANGUAGE plpgsql {}").format(Literal(block.as_string(connection))).as_string(connection)


@contextlib.contextmanager
def _looking(connection: Connection, seconds: float = STATEMENT_SECONDS + CONNECT_SECONDS) -> Iterator[Cursor]:
    """A read-only transaction that leaves nothing behind."""
    connection.set_session(readonly=True)
    with deadline(connection, seconds):
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.rollback()
