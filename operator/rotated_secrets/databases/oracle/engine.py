"""The engine for Oracle: looks by logging in as a user itself, and opens sessions for admins."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Sequence

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.databases.base import (
    AdminSession,
    AuthenticationFailed,
    PasswordLimits,
    Refused,
    Server,
    Unavailable,
    Users,
)
from rotated_secrets.databases.idle import IDLE_SECONDS, IdleLimit
from rotated_secrets.databases.oracle.admin import OracleAdminSession
from rotated_secrets.databases.oracle.errors import LoginDenied
from rotated_secrets.databases.oracle.rights import unusable_name
from rotated_secrets.databases.oracle.session import Session, open_session
from rotated_secrets.values import Credential

VERIFY_SECONDS = 5.0
"""What the queries of one verify may take together."""
PASSWORD_BYTES = 30
"""Before Oracle 23ai."""

_WHO = "SELECT SYS_CONTEXT('USERENV', 'SESSION_USER') FROM sys.dual"
_SELECT = re.compile(r"\s*(?:SELECT|WITH)\b", re.IGNORECASE)


class OracleEngine:
    """Oracle Database 12.1 and later, Amazon RDS for Oracle."""

    default_port = 1521
    strategies = frozenset({Strategy.SINGLE_USER, Strategy.ALTERNATING_USERS})
    # Without the signs that nobody could write in a connect string either: AWS's template leaves them out too.
    passwords = PasswordLimits(longest=PASSWORD_BYTES, excluded="\"/@'\\")

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
            session = open_session(server, credential)
        except LoginDenied as error:
            return [str(error)]
        with contextlib.closing(session):
            user = credential.username.upper()
            who = session.ask(f"look who {user} is", _WHO)
            if who != [(user,)]:
                raise AuthenticationFailed(
                    f"user {user} at {server} does not log in: the session is somebody else's; name the server itself "
                    f"in host, and no proxy with users of its own"
                )
            return list(_failing(session, queries, self._verify_seconds))

    def users_database(self, credential: Credential) -> str | None:
        """One listener serves several databases: the service, whose name is the same in upper and lower case."""
        return credential.dbname.lower() if credential.dbname else None

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        return OracleAdminSession(server, credential, IdleLimit(server, self._idle_seconds))


def _failing(session: Session, queries: Sequence[str], seconds: float) -> Iterator[str]:
    """Run each query in a transaction that only reads, as far as its first row; its text is not repeated."""
    end = time.monotonic() + seconds
    for number, query in enumerate(queries, start=1):
        if not _SELECT.match(query):
            yield f"verify query {number} is not one SELECT, and was not run"
            continue
        doing, left = f"run verify query {number}", max(end - time.monotonic(), 0.001)
        try:
            session.ask(doing, "SET TRANSACTION READ ONLY", seconds=left)
            session.ask(doing, query.rstrip().removesuffix(";"), first=True, seconds=max(end - time.monotonic(), 0.001))
            session.ask(doing, "ROLLBACK")
        except Refused as error:
            session.ask(doing, "ROLLBACK")
            yield f"verify query {number} failed: {error}"
        except Unavailable:
            if time.monotonic() < end:
                raise
            yield f"verify queries took longer than {seconds:g} s together (at query {number}); make them cheaper"
            return
