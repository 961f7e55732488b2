"""The engine for MySQL: verifies by logging in as a user, and opens sessions for admins.

Source of the values of ``engine``: "JSON structure of AWS Secrets Manager secrets", AWS Secrets Manager User Guide.
"""

from __future__ import annotations

import contextlib

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.databases.base import AdminSession, AuthenticationFailed, Server
from rotated_secrets.databases.base_classes import BaseEngine, DatabaseClosed, LoggedIn, LoginEngine
from rotated_secrets.databases.deadline import judged_in_time
from rotated_secrets.databases.mysql.accounts import unusable_name
from rotated_secrets.databases.mysql.admin import NAME_LENGTH, open_session
from rotated_secrets.databases.mysql.catalog import own_account
from rotated_secrets.databases.mysql.errors import NO_SUCH_DATABASE, ServerError
from rotated_secrets.databases.mysql.login import Session, log_in
from rotated_secrets.databases.mysql.queries import run
from rotated_secrets.databases.verify_queries import Query
from rotated_secrets.values import Credential


class MySqlEngine(LoginEngine[Session]):
    """MySQL 8.0.21 and later, Amazon RDS for MySQL, Aurora MySQL 3."""

    default_port = 3306
    strategies = BaseEngine.strategies | {Strategy.DUAL_PASSWORD}
    idle_seconds = 10.0
    """After this time of silence the server ends an admin's session, and frees its lock."""

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        return open_session(server, credential, int(self.idle_seconds))

    def _unusable_name(self, username: str) -> str | None:
        return unusable_name(username, NAME_LENGTH)

    def _log_in(self, server: Server, credential: Credential) -> Session:
        """Log in. Rights are not compared: a clone may not see its base user's, but the admin compares them."""
        with contextlib.ExitStack() as opened:
            session = opened.enter_context(log_in(server, credential))
            with judged_in_time():
                _check_identity(session)
                if credential.dbname:
                    _use(session, credential.dbname)
            opened.pop_all()
        return session

    def _run(self, login: LoggedIn[Session], query: Query) -> str | None:
        return run(login.connection, query)


def _check_identity(session: Session) -> None:
    with session.doing(f"look who {session.user} is"):
        account = own_account(session)
    if account.user != session.user:
        raise AuthenticationFailed(
            f"user {session.user} at {session.server} does not log in: the session belongs to {account}, and so "
            f"did the password; drop anonymous users there"
        )


def _use(session: Session, database: str) -> None:
    with session.doing("use the database that dbname names"):
        try:
            session.use(database)
        except ServerError as error:
            if error.code not in NO_SUCH_DATABASE:
                raise
            raise DatabaseClosed(
                f"user {session.user} may not use the database that dbname names, or it does not exist; "
                f"check dbname in the secret value, and the user's grants"
            ) from None
