"""The engine for MySQL: looks by logging in as a user itself, and opens sessions for admins.

Source of the values of ``engine``: "JSON structure of AWS Secrets Manager secrets", AWS Secrets Manager User Guide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.databases.base import AdminSession, AuthenticationFailed, PasswordLimits, Refused, Server, Users
from rotated_secrets.databases.mysql.accounts import unusable_name
from rotated_secrets.databases.mysql.admin import NAME_LENGTH, open_session
from rotated_secrets.databases.mysql.catalog import own_account
from rotated_secrets.databases.mysql.errors import NO_SUCH_DATABASE, ServerError
from rotated_secrets.databases.mysql.login import Session, log_in
from rotated_secrets.databases.mysql.queries import failing
from rotated_secrets.values import Credential

IDLE_SECONDS = 10
VERIFY_SECONDS = 5.0
"""Well below IDLE_SECONDS, or the lock would be gone before its holder is back."""


class MySqlEngine:
    """MySQL 8.0.21 and later, Amazon RDS for MySQL, Aurora MySQL 3."""

    default_port = 3306
    strategies = frozenset({Strategy.SINGLE_USER, Strategy.ALTERNATING_USERS, Strategy.DUAL_PASSWORD})
    passwords = PasswordLimits()

    def __init__(self, idle_seconds: int = IDLE_SECONDS, verify_seconds: float = VERIFY_SECONDS) -> None:
        """``idle_seconds``: after which the server ends an admin session that sends nothing, and frees its lock.

        ``verify_seconds``: what the queries of one :meth:`verify` may take together.
        """
        self._idle_seconds = idle_seconds
        self._verify_seconds = verify_seconds

    def check_username(self, username: str) -> None:
        why = unusable_name(username, NAME_LENGTH)
        if why:
            raise Refused(why)

    def verify(
        self,
        server: Server,
        credential: Credential,
        users: Users,  # noqa: ARG002 - a clone may not see its base user's rights: setting its password compares them
        queries: Sequence[str] = (),
    ) -> list[str]:
        with log_in(server, credential) as session:
            _check_identity(session)
            failed = [*_closed_database(session, credential.dbname)]
            return failed or [*failing(session, queries, self._verify_seconds)]

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        return open_session(server, credential, self._idle_seconds)


def _check_identity(session: Session) -> None:
    with session.doing(f"look who {session.user} is"):
        account = own_account(session)
    if account.user != session.user:
        raise AuthenticationFailed(
            f"user {session.user} at {session.server} does not log in: the session is one of {account}, so the "
            f"password was that one's; drop anonymous users there"
        )


def _closed_database(session: Session, database: str | None) -> Iterator[str]:
    if not database:
        return
    with session.doing(f"use database {database}"):
        try:
            session.use(database)
        except ServerError as error:
            if error.code not in NO_SUCH_DATABASE:
                raise
            yield (
                f"user {session.user} may not use database {database}, or it is not there; "
                f"check dbname in the secret value, and the user's grants"
            )
