"""Makes one call to an AWS API that describes databases, and translates its errors.

Must not know what is requested, nor how the response is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

T = TypeVar("T")

DENIAL: Final = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized", "OptInRequired"}
)
"""Source: "Common Errors", Amazon RDS and Amazon Redshift API References."""
BAD_CREDENTIALS: Final = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""Errors of the caller's credentials. Source: the same."""
SKEWED: Final = frozenset({"RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed"})
SIGNED_AT_ANOTHER_TIME: Final = ("Signature expired", "Signature not yet current")
"""How AWS's words begin where it refuses the time of a request's signature."""
PASSING: Final = frozenset(
    {
        "InternalFailure",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
MAX_MESSAGE: Final = 1000
"""Characters of AWS's own message that are repeated."""

_RENEWED: Final = "new ones are requested"
OPERATOR: Final = "the operator's identity"
"""Description of the default identity."""


class CloudError(Exception):
    """A call failed; the message names what was requested, the cause and the next step."""


class CloudUnavailable(CloudError):
    """Try again later."""


class CloudDenied(CloudError):
    """The identity may not make the call, or AWS rejects its credentials; the message says what to correct."""


class CloudRefused(CloudError):
    """Trying again will not help."""


class DatabaseNotFound(CloudRefused):
    """There is no such instance or cluster."""


def ask(service: str, operation: str, about: str, identity_name: str, call: Callable[[], T]) -> T:
    """Make a call; ``about`` describes the resource in messages, and ``identity_name`` the caller.

    Raises: CloudError.
    """
    try:
        return call()
    except ClientError as error:
        failure = _from_response(error, service, operation, about, identity_name)
    except BotoCoreError as error:
        # NotAws among them: what answered was a proxy.
        failure = CloudUnavailable(f"no answer from AWS to {operation} on {about} ({type(error).__name__})")
    raise failure


def _from_response(error: ClientError, service: str, operation: str, about: str, identity_name: str) -> CloudError:
    code = str(error.response["Error"].get("Code", ""))
    status = error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
    words = str(error.response["Error"].get("Message") or "")[:MAX_MESSAGE]
    said = ": ".join(filter(None, (code or str(status), words)))
    # AWS's words name the policy that denies it.
    denied = f"AWS denies {operation} on {about} ({said}); allow {service}:{operation} to {identity_name}"
    if code in DENIAL:
        return CloudDenied(denied)
    if code in SKEWED or (code in BAD_CREDENTIALS and words.startswith(SIGNED_AT_ANOTHER_TIME)):
        return CloudDenied(
            f"AWS refuses {operation} on {about} ({code}): the operator's clock and AWS's differ; correct the time of "
            "the node that the operator runs on"
        )
    if code in BAD_CREDENTIALS:
        remedy = (
            "they are loaded again; if this goes on, give its ServiceAccount an IAM role, or renew its access key"
            if identity_name == OPERATOR
            else _RENEWED
        )
        return CloudDenied(
            f"AWS does not accept {identity_name} for {operation} on {about}: its credentials ({code}); {remedy}"
        )
    if "NotFound" in code:
        return DatabaseNotFound(f"AWS finds no {about} ({operation}: {code})")
    if status >= 500 or status in (408, 429) or code in PASSING:
        return CloudUnavailable(f"AWS failed at {operation} on {about} ({code or status}); it is tried again later")
    if status in (401, 403):  # a firewall's, for instance
        return CloudDenied(denied)
    return CloudRefused(f"AWS refuses {operation} on {about} ({said})")
