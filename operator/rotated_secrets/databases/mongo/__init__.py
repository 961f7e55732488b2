"""MongoDB and Amazon DocumentDB: sets and tests passwords, and keeps the rights of two users equal."""

from rotated_secrets.databases.mongo.engine import DocumentDbEngine, MongoEngine

__all__ = ["DocumentDbEngine", "MongoEngine"]
