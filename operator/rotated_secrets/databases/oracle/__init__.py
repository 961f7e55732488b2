"""Oracle Database, by the driver's thin mode: users of one database or pluggable database."""

from rotated_secrets.databases.oracle.engine import OracleEngine

__all__ = ["OracleEngine"]
