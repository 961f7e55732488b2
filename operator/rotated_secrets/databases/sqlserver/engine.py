"""The engine for SQL Server: verifies by logging in as a user, and opens sessions for admins.

Source of the limits of passwords: "Password policy", SQL Server documentation: CHECK_POLICY wants three kinds of signs.
"""

from __future__ import annotations

from rotated_secrets.databases.base import AdminSession, PasswordLimits, Refused, Server, Unavailable
from rotated_secrets.databases.base_classes import LETTERS_AND_DIGITS, LoggedIn, LoginEngine
from rotated_secrets.databases.idle import IdleLimit
from rotated_secrets.databases.sqlserver.admin import SqlServerAdminSession
from rotated_secrets.databases.sqlserver.query import stays_inside
from rotated_secrets.databases.sqlserver.rights import unusable_name
from rotated_secrets.databases.sqlserver.session import DEFAULT_DATABASE, Session, open_session, prove
from rotated_secrets.databases.verify_queries import OutOfTime, Query
from rotated_secrets.values import Credential


class SqlServerEngine(LoginEngine[Session]):
    """SQL Server 2016 and later, Amazon RDS for SQL Server."""

    default_port = 1433
    passwords = PasswordLimits(longest=128, demanded=LETTERS_AND_DIGITS)

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        return SqlServerAdminSession(server, credential, IdleLimit(server, self.idle_seconds))

    def open_admin_for(
        self, server: Server, credential: Credential, proven_at: Server, proof: Credential
    ) -> AdminSession:
        """A login and a user of a contained database may have one name: the proof's session shows which it is."""
        proven = prove(proven_at, proof)
        return SqlServerAdminSession(server, credential, IdleLimit(server, self.idle_seconds), proven)

    def _unusable_name(self, username: str) -> str | None:
        return unusable_name(username)

    def _log_in(self, server: Server, credential: Credential) -> Session:
        """A user's rights are its own here: they are compared when the clone's password is set."""
        return open_session(server, credential, credential.dbname or DEFAULT_DATABASE)

    def _run(self, login: LoggedIn[Session], query: Query) -> str | None:
        """Let the server check whether the query returns a row."""
        if not stays_inside(query.text):
            return "is not one SELECT without comments, semicolons or open brackets, and was not run"
        try:
            login.connection.ask(
                f"run {query}", f"IF EXISTS (\n{query.text}\n) SELECT 1 ELSE SELECT 0", seconds=query.left
            )
        except Refused as error:
            return f"failed: {error}"
        except Unavailable:
            if query.is_late:
                raise OutOfTime from None
            raise
        return None
