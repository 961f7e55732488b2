"""Amazon ElastiCache for Redis and Valkey: how its users' passwords are set, by AWS's API, and tested by logging in."""

from rotated_secrets.databases.elasticache.engine import ElastiCacheEngine

__all__ = ["ElastiCacheEngine"]
