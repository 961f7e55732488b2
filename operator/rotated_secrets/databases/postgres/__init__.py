"""PostgreSQL and Aurora PostgreSQL: how their users' passwords are set, tested and kept equal in rights."""

from rotated_secrets.databases.postgres.engine import PostgresEngine
from rotated_secrets.databases.postgres.warm_up import warm_up

__all__ = ["PostgresEngine", "warm_up"]
