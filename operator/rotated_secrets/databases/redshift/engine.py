"""The engine for Redshift: looks by logging in as a user itself, and opens sessions for admins.

Source of the limits of passwords: CREATE USER, Amazon Redshift Database Developer Guide.
"""

from __future__ import annotations

import contextlib
import re
import string
import time
from collections.abc import Iterator, Sequence

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.databases.base import AdminSession, PasswordLimits, Refused, Server, Users
from rotated_secrets.databases.idle import IDLE_SECONDS, IdleLimit
from rotated_secrets.databases.postgres.errors import DatabaseClosed, condition, failed_statement, is_temporary
from rotated_secrets.databases.postgres.login import deadline
from rotated_secrets.databases.redshift.admin import RedshiftAdminSession
from rotated_secrets.databases.redshift.rights import unusable_name
from rotated_secrets.databases.redshift.session import DEFAULT_DATABASE, open_connection
from rotated_secrets.values import Credential

VERIFY_SECONDS = 5.0
"""What the queries of one verify may take together."""
CUT_AFTER_SECONDS = 1.0
"""How much later than by the server's own clock a query is cut that does not end."""

_TIMED_OUT = "57014"
_SELECT = re.compile(r"\s*(?:SELECT|WITH)\b[^;]*;?\s*\Z", re.IGNORECASE)


class RedshiftEngine:
    """Amazon Redshift and Redshift Serverless."""

    default_port = 5439
    strategies = frozenset({Strategy.SINGLE_USER, Strategy.ALTERNATING_USERS})
    passwords = PasswordLimits(
        longest=64,
        excluded="'\"\\/@ ",
        demanded=(
            ("an upper case letter", string.ascii_uppercase),
            ("a lower case letter", string.ascii_lowercase),
            ("a digit", string.digits),
        ),
    )

    def __init__(self, idle_seconds: float = IDLE_SECONDS, verify_seconds: float = VERIFY_SECONDS) -> None:
        """``idle_seconds``: after which an admin session that was silent is not used any more."""
        self._idle_seconds = idle_seconds
        self._verify_seconds = verify_seconds

    def check_username(self, username: str) -> None:
        why = unusable_name(username)
        if why:
            raise Refused(why)

    def verify(self, server: Server, credential: Credential, users: Users, queries: Sequence[str] = ()) -> list[str]:
        del users  # a user's rights are its own here: set_password has compared them
        try:
            connection = open_connection(server, credential, credential.dbname or DEFAULT_DATABASE)
        except (DatabaseClosed, Refused) as error:
            return [str(error)]
        with contextlib.closing(connection):
            return list(_failing(connection, server, queries, self._verify_seconds))

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        return RedshiftAdminSession(server, credential, IdleLimit(server, self._idle_seconds))


def _failing(connection: Connection, server: Server, queries: Sequence[str], seconds: float) -> Iterator[str]:
    """Run each query as far as its first row, which stays at the server; its text is not repeated."""
    end = time.monotonic() + seconds
    for number, query in enumerate(queries, start=1):
        if not _SELECT.match(query):
            yield f"verify query {number} is not one SELECT without a semicolon, and was not run"
            continue
        left = max(end - time.monotonic(), 0.001)
        try:
            with deadline(connection, left + CUT_AFTER_SECONDS), connection.cursor() as cursor:
                cursor.execute("RESET search_path")
                cursor.execute(f"SET statement_timeout TO {max(1, int(left * 1000))}")
                # Inside parentheses a query changes nothing: Redshift takes no other statement there.
                cursor.execute(f"SELECT 1 FROM (\n{query.rstrip().rstrip(';')}\n) AS verified LIMIT 1")
                connection.rollback()
        except psycopg2.Error as error:
            if error.pgcode == _TIMED_OUT:
                yield f"verify queries took longer than {seconds:g} s together (at query {number}); make them cheaper"
                return
            if is_temporary(error):
                raise failed_statement(error, server, f"run verify query {number}") from None
            connection.rollback()
            yield f"verify query {number} failed: {condition(error)}"
