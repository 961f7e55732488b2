"""What AWS's errors mean to a rotation, in words that name who, what and what to do next.

Throttling, denial and absence are three things: one passes, one needs a person with IAM, one a person who creates the
secret. Messages never quote what was sent, for a request may carry a secret value.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import botocore.exceptions as sdk
from botocore.exceptions import BotoCoreError, ClientError

from rotated_secrets.secretstores.base import (
    AccessDenied,
    SecretNotFound,
    StoreError,
    StoreRefused,
    StoreThrottled,
    StoreUnavailable,
    VersionExists,
)

log = logging.getLogger(__name__)

OPERATOR: Final = "the operator's identity"
"""Who asks, unless somebody else does."""
PUT: Final = "PutSecretValue"
WRITES: Final = (PUT, "UpdateSecretVersionStage")


class CallOutcome(StrEnum):
    """How one request ended, for the metrics."""

    OK = "ok"
    THROTTLED = "throttled"
    DENIED = "denied"
    ABSENT = "absent"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True)
class AwsCall:
    """What was asked of the store, for messages."""

    operation: str
    region: str
    secret: str | None = None
    detail: str = ""
    """Which version or stage of the secret, in words."""
    whom: str = OPERATOR
    """Who asks, in words."""

    def __str__(self) -> str:
        about = f" on {self.secret}{self.detail}" if self.secret else ""
        return f"{self.operation}{about} in {self.region}"


# Source: "Common Errors" and each operation's "Errors", AWS Secrets Manager API Reference; the throttling codes are
# those that botocore's standard mode retries, but for LimitExceededException, which here is a quota of versions.
THROTTLING: Final = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "SlowDown",
    }
)
BAD_CREDENTIALS: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidIdentityToken",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
DENIAL: Final = frozenset({"AccessDenied", "AccessDeniedException", "NotAuthorized", "OptInRequired"}) | BAD_CREDENTIALS
ABSENCE: Final = "ResourceNotFoundException"
USED_TOKEN: Final = "ResourceExistsException"  # noqa: S105 - an error code
KEY_TROUBLE: Final = frozenset({"DecryptionFailure", "EncryptionFailure"})
PASSING: Final = frozenset({"InternalServiceError", "InternalFailure", "ServiceUnavailable", "RequestTimeout"})
QUOTING: Final = frozenset({"ValidationException", "InvalidParameterException", "SerializationException"})
"""Codes whose messages may quote the request."""
VARYING: Final = re.compile(r"(?<=request id: )[\w-]+|\b\d{8}T\d{6}Z\b", re.IGNORECASE)
"""What AWS's words say otherwise each time: KMS's request id, and the time of a signature."""


def outcome_of(parsed: Mapping[str, Any] | None) -> CallOutcome:
    """What an answer, as botocore parsed it, counts as; None is no answer."""
    if parsed is None:
        return CallOutcome.UNAVAILABLE
    status = parsed["ResponseMetadata"].get("HTTPStatusCode", 0)
    if "Error" in parsed:
        return outcome(parsed["Error"].get("Code", ""), status)
    return CallOutcome.OK if status < 300 else outcome("", status)


def outcome(code: str, status: int) -> CallOutcome:
    """What an error code, with the HTTP status it came with, counts as."""
    if code in THROTTLING:
        return CallOutcome.THROTTLED
    if code in DENIAL:
        return CallOutcome.DENIED
    if code == ABSENCE:
        return CallOutcome.ABSENT
    if code in PASSING or status >= 500:
        return CallOutcome.UNAVAILABLE
    return CallOutcome.REFUSED


def translate(error: ClientError | BotoCoreError, asked: AwsCall) -> StoreError:
    """The store's error for one of botocore's; raise it outside the ``except``, so as not to carry that one along.

    The same failure is told in the same words each time, so that conditions stay and Events count up; what AWS's
    support asks for is in the log.
    """
    if isinstance(error, ClientError):
        return _answered(error, asked)
    return _unanswered(error, asked)


def _answered(error: ClientError, asked: AwsCall) -> StoreError:
    code = str(error.response["Error"].get("Code", ""))
    metadata = error.response["ResponseMetadata"]
    status = metadata.get("HTTPStatusCode", 0)
    # A role that the SDK assumes on the way may be what was denied.
    operation = error.operation_name
    said = _said(error, code, operation)
    kind = outcome(code, status)
    log.log(
        logging.DEBUG if kind is CallOutcome.ABSENT else logging.INFO,
        "AWS answered %s with %s: request id %s, attempts %d",
        asked,
        code or status,
        metadata.get("RequestId", "unknown"),
        metadata.get("RetryAttempts", 0) + 1,
    )
    match kind:
        case CallOutcome.THROTTLED:
            return StoreThrottled(f"AWS throttles {asked} ({code}); it is tried again later")
        case CallOutcome.DENIED if code in BAD_CREDENTIALS:
            if asked.whom != OPERATOR:
                return AccessDenied(
                    f"AWS does not accept the credentials of {asked.whom} for {asked}{said}; new ones are requested"
                )
            return AccessDenied(
                f"AWS does not accept the operator's credentials for {asked}{said}; "
                "give the operator's ServiceAccount an IAM role, or renew its access key"
            )
        case CallOutcome.DENIED:
            service = "secretsmanager" if operation == asked.operation else "sts"
            return AccessDenied(
                f"AWS denies {asked}{said}; allow {service}:{operation} to {asked.whom}, and the use of the "
                "secret's KMS key if it is a customer managed key"
            )
        case CallOutcome.ABSENT:
            return SecretNotFound(
                f"AWS Secrets Manager finds no secret {asked.secret}{asked.detail} in {asked.region}; "
                "create it, or correct its name or region"
            )
        case CallOutcome.UNAVAILABLE:
            return StoreUnavailable(f"AWS failed at {asked} ({code or status}); it is tried again later")
    if code == USED_TOKEN:
        return VersionExists(f"secret {asked.secret}{asked.detail} exists already and holds another value")
    if code in KEY_TROUBLE:
        return StoreRefused(f"AWS refuses {asked}{said}; check that the secret's KMS key exists and is enabled")
    return StoreRefused(f"AWS refuses {asked}{said}; correct the secret or the request before trying again")


def _said(error: ClientError, code: str, operation: str) -> str:
    words = "" if operation == PUT and code in QUOTING else str(error.response["Error"].get("Message", ""))
    parts = (code, VARYING.sub("…", words))
    return f" ({': '.join(part for part in parts if part)})"


def _unanswered(error: BotoCoreError, asked: AwsCall) -> StoreError:
    kind = type(error).__name__
    match error:
        case sdk.NoCredentialsError() | sdk.PartialCredentialsError():
            return AccessDenied(
                f"no AWS credentials for {asked}; give the operator's ServiceAccount an IAM role, or the operator an "
                "access key in its environment"
            )
        case sdk.NoRegionError() | sdk.InvalidRegionError():
            return StoreRefused(
                f"{asked.region or 'none'} is not an AWS region; set source.region or the operator's region"
            )
        case sdk.SSLError():
            # Names the endpoint and why its certificate isn't trusted.
            return StoreUnavailable(f"no trusted connection to AWS for {asked}: {error}; check the endpoint's CA")
        case sdk.ConnectionError() | sdk.HTTPClientError() | sdk.CredentialRetrievalError():
            return StoreUnavailable(f"no answer from AWS to {asked} ({kind}); it is tried again later")
    return StoreRefused(
        f"the AWS client refuses {asked} ({kind}); correct the secret's name or the operator's settings"
    )
