"""Types that several fields share: names in Secrets Manager and Kubernetes, lengths of time, moments, messages."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime, Field, PlainSerializer

from rotated_secrets.api.rules import text_matches

_MESSAGE_LENGTH: Final = 4096
_CONDITION_MESSAGE_LENGTH: Final = 32768
NAME_LENGTH: Final = 512

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
    """Return the length of time that a :data:`Duration` stands for."""
    return timedelta(seconds=sum(int(n) * _UNITS[unit] for n, unit in re.findall("([0-9]+)([smhd])", duration)))


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is not within the years 1 to 9999 in UTC") from None


def _whole_second(moment: datetime) -> datetime:
    return _utc(moment).replace(microsecond=0)


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


_as_text = PlainSerializer(_rfc3339, when_used="json")

_short = Field(json_schema_extra={"maxLength": 64})

Instant = Annotated[AwareDatetime, AfterValidator(_utc), _as_text, _short]
"""An aware moment in UTC, written as RFC 3339, with a fraction where it has one."""

Second = Annotated[AwareDatetime, AfterValidator(_whole_second), _as_text, _short]
"""An :data:`Instant` without a fraction, as metav1.Time has none."""


def _cut_to(length: int) -> AfterValidator:
    """Cut text from outside (an annotation, a secret value, an error), which may be too long for the API server."""
    return AfterValidator(lambda text: text[:length])


Message = Annotated[str, _cut_to(_MESSAGE_LENGTH), Field(max_length=_MESSAGE_LENGTH)]
"""A sentence for people."""

ConditionMessage = Annotated[str, _cut_to(_CONDITION_MESSAGE_LENGTH), Field(max_length=_CONDITION_MESSAGE_LENGTH)]
ReportedName = Annotated[str, _cut_to(NAME_LENGTH), Field(max_length=NAME_LENGTH)]
