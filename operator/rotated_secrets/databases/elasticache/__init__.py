"""Amazon ElastiCache for Redis and Valkey: sets passwords by AWS's API, and tests them by logging in."""

from rotated_secrets.databases.elasticache.engine import ElastiCacheEngine

__all__ = ["ElastiCacheEngine"]
