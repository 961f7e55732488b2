"""The engine for MariaDB: logins are checked as for MySQL, but users are changed by other statements."""

from __future__ import annotations

from rotated_secrets.databases.base import AdminSession, Server
from rotated_secrets.databases.mariadb.admin import NAME_CHARACTERS, open_session
from rotated_secrets.databases.mysql.accounts import unusable_name
from rotated_secrets.databases.mysql.engine import MySqlEngine
from rotated_secrets.values import Credential


class MariaDbEngine(MySqlEngine):
    """MariaDB 10.4 and later, Amazon RDS for MariaDB."""

    def _unusable_name(self, username: str) -> str | None:
        return unusable_name(username, NAME_CHARACTERS)

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        return open_session(server, credential, int(self.idle_seconds))
