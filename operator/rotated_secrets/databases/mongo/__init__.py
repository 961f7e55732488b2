"""MongoDB and Amazon DocumentDB: how their users' passwords are set, tested and kept equal in rights."""

from rotated_secrets.databases.mongo.engine import DocumentDbEngine, MongoEngine

__all__ = ["DocumentDbEngine", "MongoEngine"]
