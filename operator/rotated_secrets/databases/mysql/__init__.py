"""MySQL and Aurora MySQL: how their users' passwords are set, tested and kept equal in rights."""

from rotated_secrets.databases.mysql.engine import MySqlEngine

__all__ = ["MySqlEngine"]
