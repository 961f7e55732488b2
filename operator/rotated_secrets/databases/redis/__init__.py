"""Redis 6 and later, with access control lists: how its users' passwords are set, tested and kept equal in rights."""

from rotated_secrets.databases.redis.engine import RedisEngine

__all__ = ["RedisEngine"]
