"""MySQL and Aurora MySQL: sets and tests passwords, and keeps the rights of two users equal."""

from rotated_secrets.databases.mysql.engine import MySqlEngine

__all__ = ["MySqlEngine"]
