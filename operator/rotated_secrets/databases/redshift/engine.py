"""The engine for Redshift: verifies by logging in as a user, and opens sessions for admins.

Source of the limits of passwords: CREATE USER, Amazon Redshift Database Developer Guide.
"""

from __future__ import annotations

import re

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812

from rotated_secrets.databases.base import AdminSession, PasswordLimits, Refused, Server
from rotated_secrets.databases.base_classes import LETTERS_AND_DIGITS, DatabaseClosed, LoggedIn, LoginEngine
from rotated_secrets.databases.idle import IdleLimit
from rotated_secrets.databases.postgres.errors import condition, failed_statement, is_temporary
from rotated_secrets.databases.postgres.login import deadline
from rotated_secrets.databases.redshift.admin import RedshiftAdminSession
from rotated_secrets.databases.redshift.rights import unusable_name
from rotated_secrets.databases.redshift.session import DEFAULT_DATABASE, open_connection
from rotated_secrets.databases.verify_queries import CUT_AFTER_SECONDS, OutOfTime, Query
from rotated_secrets.values import Credential

_TIMED_OUT = "57014"
_SELECT = re.compile(r"\s*(?:SELECT|WITH)\b[^;]*;?\s*\Z", re.IGNORECASE)


class RedshiftEngine(LoginEngine[Connection]):
    """Amazon Redshift and Redshift Serverless."""

    default_port = 5439
    passwords = PasswordLimits(longest=64, excluded="'\"\\/@ ", demanded=LETTERS_AND_DIGITS)

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        return RedshiftAdminSession(server, credential, IdleLimit(server, self.idle_seconds))

    def _unusable_name(self, username: str) -> str | None:
        return unusable_name(username)

    def _log_in(self, server: Server, credential: Credential) -> Connection:
        """A user's rights are its own here: they are compared when the clone's password is set."""
        try:
            return open_connection(server, credential, credential.dbname or DEFAULT_DATABASE)
        except Refused as error:
            raise DatabaseClosed(str(error)) from None

    def _run(self, login: LoggedIn[Connection], query: Query) -> str | None:
        if not _SELECT.match(query.text):
            return "is not one SELECT without a semicolon, and was not run"
        connection, left = login.connection, query.left
        try:
            with deadline(connection, left + CUT_AFTER_SECONDS), connection.cursor() as cursor:
                cursor.execute("RESET search_path")
                cursor.execute(f"SET statement_timeout TO {max(1, int(left * 1000))}")
                # Inside parentheses a query changes nothing: Redshift takes no other statement there.
                cursor.execute(f"SELECT 1 FROM (\n{query.text.rstrip().rstrip(';')}\n) AS verified LIMIT 1")
                connection.rollback()
        except psycopg2.Error as error:
            if error.pgcode == _TIMED_OUT:
                raise OutOfTime from None
            if is_temporary(error):
                raise failed_statement(error, login.server, f"run {query}") from None
            connection.rollback()
            return f"failed: {condition(error)}"
        return None
