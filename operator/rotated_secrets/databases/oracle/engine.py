"""The engine for Oracle: verifies by logging in as a user, and opens sessions for admins."""

from __future__ import annotations

import re

from rotated_secrets.databases.base import (
    AdminSession,
    AuthenticationFailed,
    PasswordLimits,
    Refused,
    Server,
    Unavailable,
)
from rotated_secrets.databases.base_classes import LoggedIn, LoginEngine
from rotated_secrets.databases.deadline import judged_in_time
from rotated_secrets.databases.idle import IdleLimit
from rotated_secrets.databases.oracle.admin import OracleAdminSession
from rotated_secrets.databases.oracle.rights import unusable_name
from rotated_secrets.databases.oracle.session import Session, open_session
from rotated_secrets.databases.verify_queries import OutOfTime, Query
from rotated_secrets.values import Credential

PASSWORD_BYTES = 30
"""Before Oracle 23ai."""

_WHO = "SELECT SYS_CONTEXT('USERENV', 'SESSION_USER') FROM sys.dual"
_SELECT = re.compile(r"\s*(?:SELECT|WITH)\b", re.IGNORECASE)


class OracleEngine(LoginEngine[Session]):
    """Oracle Database 12.1 and later, Amazon RDS for Oracle."""

    default_port = 1521
    # Without the characters that a connect string cannot hold: AWS's template leaves them out too.
    passwords = PasswordLimits(longest=PASSWORD_BYTES, excluded="\"/@'\\")

    def users_database(self, credential: Credential) -> str | None:
        """Return the service in lower case: one listener serves several databases, whose names ignore case."""
        return credential.dbname.lower() if credential.dbname else None

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        return OracleAdminSession(server, credential, IdleLimit(server, self.idle_seconds))

    def _unusable_name(self, username: str) -> str | None:
        return unusable_name(username)

    def _log_in(self, server: Server, credential: Credential) -> Session:
        """A user's rights are its own here: they are compared when the clone's password is set."""
        session = open_session(server, credential)
        try:
            user = credential.username.upper()
            with judged_in_time():
                found = session.ask(f"look who {user} is", _WHO)
            if found != [(user,)]:
                raise AuthenticationFailed(
                    f"user {user} at {server} does not log in: the session belongs to another user; name the server "
                    f"itself in host, not a proxy that has its own users"
                )
        except BaseException:
            session.close()
            raise
        return session

    def _run(self, login: LoggedIn[Session], query: Query) -> str | None:
        """Run it in a transaction that only reads."""
        if not _SELECT.match(query.text):
            return "is not one SELECT, and was not run"
        doing = f"run {query}"
        try:
            login.connection.ask(doing, "SET TRANSACTION READ ONLY", seconds=query.left)
            login.connection.ask(doing, query.text.rstrip().removesuffix(";"), first=True, seconds=query.left)
            login.connection.ask(doing, "ROLLBACK")
        except Refused as error:
            login.connection.ask(doing, "ROLLBACK")
            return f"failed: {error}"
        except Unavailable:
            if query.is_late:
                raise OutOfTime from None
            raise
        return None
