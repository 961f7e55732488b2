"""PostgreSQL and Aurora PostgreSQL: how their users' passwords are set, tested and kept equal in rights."""

from rotated_secrets.databases.postgres.engine import PostgresEngine

__all__ = ["PostgresEngine"]
