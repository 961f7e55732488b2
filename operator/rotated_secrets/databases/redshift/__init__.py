"""Amazon Redshift, provisioned and Serverless: PostgreSQL's wire, and a catalog and grammar of its own."""

from rotated_secrets.databases.redshift.engine import RedshiftEngine

__all__ = ["RedshiftEngine"]
