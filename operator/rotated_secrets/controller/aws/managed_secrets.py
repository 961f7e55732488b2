"""What AWS knows about the database of a secret: its endpoint, if the value names none, and its read replicas.

Asks AWS only for what the value does not say. Translates AWS refusals into this package's errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rotated_secrets.cloud.arns import database_of
from rotated_secrets.cloud.calls import OPERATOR, CloudDenied, CloudRefused, CloudUnavailable
from rotated_secrets.cloud.instances import Databases
from rotated_secrets.databases.base import Refused
from rotated_secrets.databases.registry import known_engines
from rotated_secrets.secretstores.base import AccessDenied, SecretDescription, StoreUnavailable
from rotated_secrets.values import Credential, Endpoint, SecretValue


class ManagedSecrets:
    """Safe to use from several threads. Every method may raise AccessDenied, StoreUnavailable and Refused."""

    def __init__(self, client: Callable[[str, str], Any], identity_name: str = OPERATOR) -> None:
        """``client`` makes a boto3 client of a service in a region; error messages name its ``identity_name``."""
        self._databases = Databases(client, identity_name=identity_name)
        self._identity_name = identity_name

    def missing_endpoint(self, value: SecretValue, describe: Callable[[], SecretDescription]) -> Endpoint:
        """Look up the endpoint of a value that names no host: RDS and Redshift write only username and password."""
        if value.fields is None or value.fields.get("host"):
            return Endpoint()
        description = describe()
        with _translated_errors():
            database = database_of(description.tags, description.arn)
            return self._databases.locate(database) if database is not None else Endpoint()

    def login_endpoint(self, value: SecretValue, description: SecretDescription) -> Endpoint | None:
        """The endpoint to complete a value that someone else writes; None if it is not for a known engine."""
        endpoint = self.missing_endpoint(value, lambda: description)
        fields = value.fields or {}
        engine, host = fields.get("engine") or endpoint.engine, fields.get("host") or endpoint.host
        return endpoint if host and isinstance(engine, str) and engine in known_engines() else None

    def is_copy(self, application: Credential, admin: Credential) -> bool:
        """Whether the application's host is another endpoint, or a read replica, of the admin's database.

        Both must name their ports. The database is looked up in the account and region of the admin secret.
        """
        if admin.arn is None or application.port is None or admin.port is None:
            return False
        region = admin.arn.region
        try:
            with _translated_errors():
                of = (admin.host, admin.port)
                return self._databases.is_copy(application.host, application.port, of=of, region=region)
        except AccessDenied as error:
            raise Refused(
                f"{application.host} may be a read replica of {admin.host}, but {self._identity_name} may not look "
                f"that up: {error}"
            ) from None


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except CloudDenied as error:
        raise AccessDenied(str(error)) from None
    except CloudUnavailable as error:
        raise StoreUnavailable(str(error)) from None
    except CloudRefused as error:
        raise Refused(str(error)) from None
