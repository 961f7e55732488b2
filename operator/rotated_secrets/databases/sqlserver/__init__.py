"""Microsoft SQL Server: logins of the server, and users that one contained database keeps for itself."""

from rotated_secrets.databases.sqlserver.engine import SqlServerEngine

__all__ = ["SqlServerEngine"]
