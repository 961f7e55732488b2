"""Amazon ElastiCache for Redis and Valkey: sets passwords by AWS's API, and tests them by logging in.

Imports nothing: module ``user`` is read for every secret value, and must not load the engine and its driver.
"""
