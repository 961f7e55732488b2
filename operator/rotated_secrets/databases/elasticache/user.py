"""Which ElastiCache user a secret value means, and whether the secret may have it changed. Pure.

The operator's identity may change any user, and a tenant writes the value. So a tag of the user has to name the secret;
writing it needs a permission in AWS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from rotated_secrets.api.names import SECRET_ARN_ANNOTATION
from rotated_secrets.databases.base import Refused
from rotated_secrets.values import Credential, Endpoint, SecretValue

ENGINE = "elasticache"
ARN_KEY = "user_arn"
OWNER_TAG = SECRET_ARN_ANNOTATION
"""The tag of a user whose value is the ARN of the one secret that may change it."""

_USER_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]{0,20}):elasticache:(?P<region>[a-z]{2,4}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2})"
    r":(?P<account>[0-9]{12}):user:(?P<id>[A-Za-z][A-Za-z0-9-]{0,127})"
)
_SECRET_ARN = re.compile(r"arn:(?P<partition>[a-z-]+):secretsmanager:[a-z0-9-]+:(?P<account>[0-9]{12}):secret:.+")
_API = "elasticache.amazonaws.com"


@dataclass(frozen=True)
class CacheUser:
    """One user, and the secret that claims it."""

    arn: str
    id: str
    region: str
    name: str
    """What it logs in as."""
    secret_arn: str


def place_in(value: SecretValue) -> Endpoint | None:
    """What a value leaves out that is for an ElastiCache user, as that of AWS's own template; None for any other.

    Source: SecretsManagerElasticacheUserRotation, whose value is ``{"username", "password", "user_arn"}``.
    """
    fields = value.fields or {}
    arn, engine = fields.get(ARN_KEY), fields.get("engine")
    if engine != ENGINE and (engine or not arn or not isinstance(arn, str)):
        return None
    found = _USER_ARN.fullmatch(arn) if isinstance(arn, str) else None
    return Endpoint(ENGINE, f"elasticache.{found['region']}.amazonaws.com" if found else _API)


def names_host(credential: Credential) -> bool:
    """Whether the value names a host, and not only the user."""
    place = place_in(credential.value) if credential.value else None
    return place is None or credential.host != place.host


def user_of(credential: Credential) -> CacheUser:
    """Return the user that a secret claims, checked as far as the value alone allows.

    Raises: Refused.
    """
    written = (credential.value.fields or {}).get(ARN_KEY) if credential.value else None
    user = _USER_ARN.fullmatch(written) if isinstance(written, str) else None
    if user is None:
        raise Refused(
            f"{ARN_KEY} in the secret value must be the ARN of an ElastiCache user, "
            "arn:aws:elasticache:REGION:ACCOUNT:user:ID, as aws elasticache describe-users shows it"
        )
    secret = _SECRET_ARN.fullmatch(credential.arn or "")
    if secret is None:
        raise Refused(f"the ARN of the secret that claims {user[0]} is not known, so its password is not changed")
    if (user["partition"], user["account"]) != (secret["partition"], secret["account"]):
        raise Refused(
            f"{user[0]} belongs to another account than {secret[0]}; a user and its secret have to be in one account"
        )
    return CacheUser(user[0], user["id"], user["region"], credential.username, secret[0])


def check_owner(user: CacheUser, tags: Mapping[str, str]) -> None:
    """Check that the user's tag names this secret. Raises: Refused, with the command that would tag it."""
    if tags.get(OWNER_TAG) == user.secret_arn:
        return
    found = "is tagged as another secret's" if OWNER_TAG in tags else "is not tagged as this secret's"
    raise Refused(
        f"{user.arn} {found}, so its password is not changed; if it is this secret's: "
        f"aws elasticache add-tags-to-resource --region {user.region} --resource-name {user.arn} "
        f"--tags Key={OWNER_TAG},Value={user.secret_arn}"
    )
