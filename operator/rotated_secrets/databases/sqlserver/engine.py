"""The engine for SQL Server: looks by logging in as a user itself, and opens sessions for admins.

Source of the limits of passwords: "Password policy", SQL Server documentation: CHECK_POLICY wants three kinds of signs.
"""

from __future__ import annotations

import contextlib
import string
import time
from collections.abc import Iterator, Sequence

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.databases.base import AdminSession, PasswordLimits, Refused, Server, Unavailable, Users
from rotated_secrets.databases.idle import IDLE_SECONDS, IdleLimit
from rotated_secrets.databases.sqlserver.admin import SqlServerAdminSession
from rotated_secrets.databases.sqlserver.errors import DatabaseClosed
from rotated_secrets.databases.sqlserver.query import stays_inside
from rotated_secrets.databases.sqlserver.rights import unusable_name
from rotated_secrets.databases.sqlserver.session import DEFAULT_DATABASE, Session, open_session, prove
from rotated_secrets.values import Credential

VERIFY_SECONDS = 5.0
"""What the queries of one verify may take together."""


class SqlServerEngine:
    """SQL Server 2016 and later, Amazon RDS for SQL Server."""

    default_port = 1433
    strategies = frozenset({Strategy.SINGLE_USER, Strategy.ALTERNATING_USERS})
    passwords = PasswordLimits(
        longest=128,
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
            session = open_session(server, credential, credential.dbname or DEFAULT_DATABASE)
        except DatabaseClosed as error:
            return [str(error)]
        with contextlib.closing(session):
            return list(_failing(session, queries, self._verify_seconds))

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        return SqlServerAdminSession(server, credential, IdleLimit(server, self._idle_seconds))

    def open_admin_for(
        self, server: Server, credential: Credential, proven_at: Server, proof: Credential
    ) -> AdminSession:
        """A login and a user of a contained database may have one name: which one the proof is of, its session says."""
        proven = prove(proven_at, proof)
        return SqlServerAdminSession(server, credential, IdleLimit(server, self._idle_seconds), proven)


def _failing(session: Session, queries: Sequence[str], seconds: float) -> Iterator[str]:
    """Have the server look whether each query has a row; its text and rows stay here and there."""
    end = time.monotonic() + seconds
    for number, query in enumerate(queries, start=1):
        if not stays_inside(query):
            yield f"verify query {number} is not one SELECT without comments, semicolon or open brackets; not run"
            continue
        left = max(end - time.monotonic(), 0.001)
        try:
            session.ask(
                f"run verify query {number}",
                f"IF EXISTS (\n{query}\n) SELECT 1 ELSE SELECT 0",
                seconds=left,
            )
        except Refused as error:
            yield f"verify query {number} failed: {error}"
        except Unavailable:
            if time.monotonic() < end:
                raise
            yield f"verify queries took longer than {seconds:g} s together (at query {number}); make them cheaper"
            return
