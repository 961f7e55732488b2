"""Finds the database of a secret that an AWS service manages, by the secret's tags. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rotated_secrets.cloud.calls import CloudRefused
from rotated_secrets.values import Arn

TAGS: Final = {
    "aws:rds:primarydbinstancearn": ("rds", "db"),
    "aws:rds:primarydbclusterarn": ("rds", "cluster"),
    "aws:redshift:primaryclusterarn": ("redshift", "cluster"),
}
"""The tags by lower-case key, because AWS's documents and functions use different cases.

Only AWS can add, change or remove tags whose keys begin with "aws:" ("Tag naming limits and requirements", Tagging AWS
Resources User Guide). So a tenant who may tag a secret cannot assign it to another database.
"""

_RESOURCE: Final = re.compile(r"(?P<kind>db|cluster):(?P<name>[A-Za-z0-9-]{1,63})")


@dataclass(frozen=True)
class Resource:
    """A DB instance, a DB cluster or a Redshift cluster."""

    arn: str
    service: str
    """``rds`` or ``redshift``."""
    region: str
    account: str
    kind: str
    """``db`` or ``cluster``."""
    name: str

    @classmethod
    def of(cls, arn: str) -> Resource | None:
        """Return the resource of an ARN; None if it is of another kind."""
        parsed = Arn.parse(arn)
        found = _RESOURCE.fullmatch(parsed.resource) if parsed is not None else None
        if parsed is None or found is None or not parsed.is_aws:
            return None
        return cls(arn, parsed.service, parsed.region, parsed.account, found["kind"], found["name"])

    def __str__(self) -> str:
        what = (
            "Redshift cluster" if self.service == "redshift" else "DB instance" if self.kind == "db" else "DB cluster"
        )
        return f"{what} {self.name} in {self.region}"


def database_of(tags: Mapping[str, str], secret: Arn) -> Resource | None:
    """Return the database of a managed secret; None if AWS manages it for none.

    Raises:
        CloudRefused: the tag does not name a database of the secret's own account and region.
    """
    for key, value in tags.items():
        expected = TAGS.get(key.lower())
        if expected is None:
            continue
        database = Resource.of(value)
        if database is None or (database.service, database.kind) != expected:
            raise CloudRefused(f"tag {key} of secret {secret} does not name a database that the operator knows")
        if (database.region, database.account) != (secret.region, secret.account):
            raise CloudRefused(
                f"tag {key} of secret {secret} names a database of another account or region; "
                "name the secret of the account and region that the database is in"
            )
        return database
    return None
