"""MariaDB: sets and tests passwords, and keeps the rights of two users equal."""

from rotated_secrets.databases.mariadb.engine import MariaDbEngine

__all__ = ["MariaDbEngine"]
