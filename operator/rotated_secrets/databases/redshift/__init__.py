"""Amazon Redshift, provisioned and Serverless: PostgreSQL's wire protocol, but its own catalog and grammar."""

from rotated_secrets.databases.postgres import warm_up
from rotated_secrets.databases.redshift.engine import RedshiftEngine

__all__ = ["RedshiftEngine", "warm_up"]
