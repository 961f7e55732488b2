"""Redis 6 and later, with access control lists: sets and tests passwords, and keeps the rights of two users equal."""

from rotated_secrets.databases.redis.engine import RedisEngine

__all__ = ["RedisEngine"]
