"""What AWS adds to a secret's value: where the database answers that a managed secret is for, and what is a copy of it.

Asks AWS only what the value leaves open, and puts its noes into the words of those who ask.
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

    def place(self, value: SecretValue, describe: Callable[[], SecretDescription]) -> Endpoint:
        """What to add to a value that names no host: RDS and Redshift write username and password alone."""
        if value.fields is None or value.fields.get("host"):
            return Endpoint()
        description = describe()
        with _in_other_words():
            database = database_of(description.tags, description.arn)
            return self._databases.locate(database) if database is not None else Endpoint()

    def login(self, value: SecretValue, description: SecretDescription) -> Endpoint | None:
        """Where a value logs in that others write; None where that cannot be told, as of a plain token."""
        place = self.place(value, lambda: description)
        said = value.fields or {}
        engine, host = said.get("engine") or place.engine, said.get("host") or place.host
        return place if host and isinstance(engine, str) and engine in known_engines() else None

    def is_copy(self, application: Credential, admin: Credential) -> bool:
        """Whether the one logs in to another end point, or a read replica, of the database that the other is for.

        Both name their ports. The admin's database is looked for where its secret is, in that account and region.
        """
        if admin.arn is None or application.port is None or admin.port is None:
            return False
        region = admin.arn.region
        try:
            with _in_other_words():
                of = (admin.host, admin.port)
                return self._databases.is_copy(application.host, application.port, of=of, region=region)
        except AccessDenied as error:
            raise Refused(
                f"{application.host} may be a read replica of {admin.host}, but {self._identity_name} may not look "
                f"that up: {error}"
            ) from None


@contextmanager
def _in_other_words() -> Iterator[None]:
    try:
        yield
    except CloudDenied as error:
        raise AccessDenied(str(error)) from None
    except CloudUnavailable as error:
        raise StoreUnavailable(str(error)) from None
    except CloudRefused as error:
        raise Refused(str(error)) from None
