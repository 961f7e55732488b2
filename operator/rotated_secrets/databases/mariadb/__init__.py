"""MariaDB: how its users' passwords are set, tested and kept equal in rights."""

from rotated_secrets.databases.mariadb.engine import MariaDbEngine

__all__ = ["MariaDbEngine"]
