"""Translates AWS errors into this package's errors, with messages that name who, what and what to do next.

Throttling passes by itself, a denial needs a change in IAM, and a missing secret has to be created. Messages never
quote a request, because it may contain a secret value.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

import botocore.exceptions as sdk
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import LocationParseError

from rotated_secrets.secretstores.answers import NotAws
from rotated_secrets.secretstores.base import (
    AccessDenied,
    SecretNotFound,
    StoreError,
    StoreRefused,
    StoreThrottled,
    StoreUnavailable,
    VersionExists,
)
from rotated_secrets.secretstores.bounded_http import AnswerTooLarge
from rotated_secrets.secretstores.denials import PUT, remedy

log = logging.getLogger(__name__)

MAX_MESSAGE: Final = 1000
"""Characters of AWS's own message that are repeated; the longest quote a role's and a secret's ARN."""

OPERATOR: Final = "the operator's identity"
"""Description of the default identity."""
CONFIG_REMEDY: Final = (
    "correct AWS_PROFILE, the other AWS_ variables of the operator, or the files that AWS_CONFIG_FILE and "
    "AWS_SHARED_CREDENTIALS_FILE name"
)
"""What to do where a variable, a profile or a file of the SDK's settings cannot be used."""
INVALID_ENDPOINT: Final = "Invalid endpoint: "
"""How the SDK begins its ValueError for an endpoint that is no URL."""
ENDPOINT_REMEDY: Final = "write https://HOST in --aws-endpoint-url, or in the operator's AWS_ENDPOINT_URL variables"
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
    """An AWS call, as messages describe it."""

    operation: str
    region: str
    secret: str | None = None
    detail: str = ""
    """The version or stage of the secret, as text."""
    identity_name: str = OPERATOR
    """Description of the identity that makes the call."""

    def __str__(self) -> str:
        about = f" on {self.secret}{self.detail}" if self.secret else ""
        return f"{self.operation}{about} in {self.region}"


# Source: "Common Errors" and each operation's "Errors", AWS Secrets Manager API Reference; the throttling codes are
# those that botocore's standard mode retries, except LimitExceededException, which here is the quota of versions.
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
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "KMSThrottlingException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "TransactionInProgressException",
    }
)
EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException"})
SKEWED: Final = frozenset({"RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed"})
"""Codes of requests whose time differs too much from AWS's."""
BAD_CREDENTIALS: Final = (
    frozenset(
        {
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
    | EXPIRED
    | SKEWED
)
DENIAL: Final = (
    frozenset(
        {
            "AccessDenied",
            "AccessDeniedException",
            "KMSAccessDeniedException",
            "NotAuthorized",
            "OptInRequired",
            "UnauthorizedOperation",
        }
    )
    | BAD_CREDENTIALS
)
ABSENCE: Final = "ResourceNotFoundException"
USED_TOKEN: Final = "ResourceExistsException"  # noqa: S105 - an error code
KMS_ERRORS: Final = frozenset({"DecryptionFailure", "EncryptionFailure"})
"""Beside all codes that begin with KMS."""
TRANSIENT: Final = frozenset(
    {
        "IDPCommunicationError",
        "InternalFailure",
        "InternalServerError",
        "InternalServerException",
        "InternalServiceError",
        "KMSInternalException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
    }
)
QUOTING: Final = frozenset({"ValidationException", "InvalidParameterException", "SerializationException"})
"""Codes whose messages may quote the request."""
VARYING: Final = re.compile(
    r"(?<=request id: )[\w-]+|\b\d{8}T\d{6}Z\b|\b\d{4}-\d\d-\d\dT[\d:.]+Z?|(?<=date/time )\d+", re.IGNORECASE
)
"""Parts of AWS's messages that differ each time: KMS's request id, and times."""
_SIGNED_AT_ANOTHER_TIME: Final = re.compile(r"Signature (?:expired|not yet current)")


def outcome_of(parsed: Mapping[str, Any] | None) -> CallOutcome:
    """Classify a response as botocore parsed it; None means no response."""
    if parsed is None:
        return CallOutcome.UNAVAILABLE
    status = parsed["ResponseMetadata"].get("HTTPStatusCode", 0)
    if "Error" in parsed:
        return outcome(parsed["Error"].get("Code", ""), status)
    return CallOutcome.OK if status < 300 else outcome("", status)


def outcome(code: str, status: int) -> CallOutcome:
    """Classify an error code and its HTTP status."""
    if code in THROTTLING or status == 429:
        return CallOutcome.THROTTLED
    if code in DENIAL:
        return CallOutcome.DENIED
    if code == ABSENCE:
        return CallOutcome.ABSENT
    if code in TRANSIENT or status == 408 or status >= 500:
        return CallOutcome.UNAVAILABLE
    # Secrets Manager itself says 400 with each of its errors; what answers 401 or 403 may be a firewall.
    return CallOutcome.DENIED if status in (401, 403) else CallOutcome.REFUSED


def unusable_settings(error: Exception) -> AccessDenied:
    """Say that the SDK makes no client by the operator's settings. Its error quotes the setting."""
    remedy = ENDPOINT_REMEDY if INVALID_ENDPOINT in str(error) else CONFIG_REMEDY
    return AccessDenied(f"the AWS settings of the operator cannot be used: {str(error).rstrip('.')}; {remedy}")


def is_skewed(code: str, words: str) -> bool:
    """Whether AWS refuses a request because the clock that signed it is wrong."""
    return code in SKEWED or (code in BAD_CREDENTIALS and _SIGNED_AT_ANOTHER_TIME.match(words) is not None)


def translate(error: ClientError | BotoCoreError, aws_call: AwsCall) -> StoreError:
    """Return the store's error for one of botocore's. Raise it outside the ``except``, to drop botocore's as context.

    The same failure gives the same message each time, so that conditions stay the same and Events are counted; the log
    has the request id that AWS support asks for.
    """
    if isinstance(error, ClientError):
        return _from_response(error, aws_call)
    return _from_client(error, aws_call)


def _from_response(error: ClientError, aws_call: AwsCall) -> StoreError:
    code = str(error.response["Error"].get("Code", ""))
    metadata = error.response["ResponseMetadata"]
    status = metadata.get("HTTPStatusCode", 0)
    # The SDK may have assumed a role before the call: then that operation may be the one that was denied.
    operation = error.operation_name
    detail = _detail(error, code, operation)
    kind = outcome(code, status)
    log.log(
        logging.DEBUG if kind is CallOutcome.ABSENT else logging.INFO,
        "AWS answered %s with %s: request id %s, attempts %d",
        aws_call,
        code or status,
        metadata.get("RequestId", "unknown"),
        metadata.get("RetryAttempts", 0) + 1,
    )
    match kind:
        case CallOutcome.THROTTLED:
            return StoreThrottled(f"AWS throttles {aws_call} ({code or status}); it is tried again later")
        case CallOutcome.DENIED if code in BAD_CREDENTIALS:
            return _bad_credentials(code, _words(error), detail, aws_call)
        case CallOutcome.DENIED:
            service = "secretsmanager" if operation == aws_call.operation else "sts"
            advice = remedy(_words(error), operation, aws_call.identity_name, service)
            return AccessDenied(f"AWS denies {aws_call}{detail}; {advice}")
        case CallOutcome.ABSENT if aws_call.secret:
            return SecretNotFound(
                f"AWS Secrets Manager finds no secret {aws_call.secret}{aws_call.detail} in {aws_call.region}; "
                "create it, or correct its name or region"
            )
        case CallOutcome.UNAVAILABLE:
            return StoreUnavailable(f"AWS failed at {aws_call} ({code or status}); it is tried again later")
    if code == USED_TOKEN:
        return VersionExists(f"secret {aws_call.secret}{aws_call.detail} exists already and holds another value")
    if code in KMS_ERRORS or code.startswith("KMS"):
        return StoreRefused(f"AWS refuses {aws_call}{detail}; check that the secret's KMS key exists and is enabled")
    return StoreRefused(f"AWS refuses {aws_call}{detail}; correct the secret or the request before trying again")


def _bad_credentials(code: str, words: str, detail: str, aws_call: AwsCall) -> AccessDenied:
    if is_skewed(code, words):
        return AccessDenied(
            f"AWS refuses {aws_call}{detail}: the operator's clock and AWS's differ; correct the time of the node that "
            "the operator runs on"
        )
    if aws_call.identity_name != OPERATOR:
        return AccessDenied(
            f"AWS does not accept the credentials of {aws_call.identity_name} for {aws_call}{detail}; "
            "new ones are requested"
        )
    refused = f"AWS does not accept the operator's credentials for {aws_call}{detail}; they are loaded again"
    if code in EXPIRED:
        return AccessDenied(f"{refused}; if this goes on, what provides them gives old ones: see that it renews them")
    return AccessDenied(
        f"{refused}; if this goes on, give the operator's ServiceAccount an IAM role, or renew its access key"
    )


def _words(error: ClientError) -> str:
    """AWS's own message."""
    return str(error.response["Error"].get("Message") or "")[:MAX_MESSAGE]


def _detail(error: ClientError, code: str, operation: str) -> str:
    words = "" if operation == PUT and code in QUOTING else VARYING.sub("…", _words(error))
    return f" ({': '.join(part for part in (code, words) if part)})"


def _from_client(error: BotoCoreError, aws_call: AwsCall) -> StoreError:
    kind = type(error).__name__
    match error:
        case sdk.NoCredentialsError() | sdk.PartialCredentialsError():
            return AccessDenied(
                f"no AWS credentials for {aws_call}; give the operator's ServiceAccount an IAM role, or the operator "
                "an access key in its environment"
            )
        case NotAws():
            return StoreUnavailable(
                f"what answered {aws_call} is not AWS ({error.what}); check the operator's endpoint for AWS, its DNS, "
                "and whether a proxy stands between; it is tried again later"
            )
        case sdk.HTTPClientError() if isinstance(error.kwargs.get("error"), AnswerTooLarge):
            return StoreUnavailable(
                f"what answered {aws_call} sends more than AWS would; check the operator's endpoint for AWS, and "
                "whether a proxy stands between; it is tried again later"
            )
        case sdk.ProfileNotFound() | sdk.ConfigParseError() | sdk.ConfigNotFound() | sdk.InvalidConfigError():
            return unusable_settings(error)
        case sdk.NoRegionError() | sdk.InvalidRegionError():
            return StoreRefused(
                f"{aws_call.region or 'none'} is not an AWS region; set source.region or the operator's region"
            )
        case sdk.SSLError():
            # The error names the endpoint and why its certificate isn't trusted.
            return StoreUnavailable(
                f"no trusted connection to AWS for {aws_call}: {error}; check the endpoint's certificate, and the file "
                "that AWS_CA_BUNDLE names, if it is set"
            )
        case sdk.ProxyConnectionError():
            # With *** for a login. The SDK puts http:// before whatever has no scheme that it knows.
            proxy = str(error.kwargs.get("proxy_url")).rpartition("@")[2].removeprefix("http://")
            why = str(getattr(error.kwargs.get("error"), "original_error", "")).rpartition(": ")[2]
            return StoreUnavailable(
                f"no way to AWS for {aws_call} through the proxy {proxy}: {why}; check HTTPS_PROXY, NO_PROXY and the "
                "proxy; it is tried again later"
            )
        case sdk.HTTPClientError() if isinstance(error.kwargs.get("error"), LocationParseError):
            return StoreUnavailable(f"the proxy for {aws_call} is no URL; in HTTPS_PROXY, write http://HOST:PORT")
        case sdk.ConnectionError() | sdk.HTTPClientError() | sdk.CredentialRetrievalError():
            host = urlsplit(str(error.kwargs.get("endpoint_url", ""))).hostname
            from_host = f" from {host}" if host else ""
            return StoreUnavailable(f"no answer from AWS to {aws_call} ({kind}{from_host}); it is tried again later")
    return StoreRefused(
        f"the AWS client refuses {aws_call} ({kind}); correct the secret's name or the operator's settings"
    )
