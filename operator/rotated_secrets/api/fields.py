"""Kinds of text that occur in several places of a spec: names in the store and in Kubernetes, lengths of time."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field

from rotated_secrets.api.rules import text_matches

_DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
DNS_NAME = f"{_DNS_LABEL}([.]{_DNS_LABEL})*"
_STORE_NAME = "[A-Za-z0-9/_+=.@!-]+"
ROLE_ARN = "arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9/_+=,.@-]{1,576}"
_ARN = f"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{{12}}:secret:{_STORE_NAME}-[A-Za-z0-9]{{6}}"

# Names of secrets: CreateSecret's reference, with "!" for the names of secrets that other AWS services manage.
StoreSecretId = Annotated[
    str,
    Field(min_length=1, max_length=2048),
    text_matches(
        f"{_STORE_NAME}|{_ARN}",
        "write the secret's name (letters, digits and /_+=.@-) or its full ARN with the six characters at its end",
    ),
]
KubernetesName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    text_matches(DNS_NAME, "write the name of a Secret: lower case letters, digits, '-' and '.'"),
]
RoleArn = Annotated[
    str,
    Field(max_length=2048),
    text_matches(
        ROLE_ARN,
        "write the ARN of an IAM role, for example arn:aws:iam::111122223333:role/orders",
    ),
]
Duration = Annotated[
    str,
    Field(min_length=2, max_length=16),
    text_matches("([0-9]{1,6}[smhd])+", "write a length of time, for example 90s, 30m, 24h or 7d"),
]

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def length_of(duration: str) -> timedelta:
    """What a :data:`Duration` means."""
    return timedelta(seconds=sum(int(n) * _UNITS[unit] for n, unit in re.findall("([0-9]+)([smhd])", duration)))
