"""One call to an API of AWS that tells of databases, and the ways in which it can fail.

Must not know what is asked for, nor by whom the answer is used.
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
"""Those of the caller, not what they ask for. Source: the same."""
THROTTLING: Final = frozenset({"Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestThrottled"})


_RENEWED: Final = "new ones are requested"
OPERATOR: Final = "the operator's identity"
"""Who asks, unless somebody else does."""


class CloudError(Exception):
    """A call failed; the message names what was asked for, the cause and the next step."""


class CloudUnavailable(CloudError):
    """Try again later."""


class CloudDenied(CloudError):
    """The identity may not ask, or is not believed to be who it is; the message says what to mend."""


class CloudRefused(CloudError):
    """Trying again will not help."""


class NotThere(CloudRefused):
    """There is no such instance or cluster."""


def ask(service: str, operation: str, about: str, whom: str, call: Callable[[], T]) -> T:
    """Make a call; ``about`` says in words what it is about, and ``whom`` who makes it.

    Raises: CloudError.
    """
    try:
        return call()
    except ClientError as error:
        failure = _answered(error, service, operation, about, whom)
    except BotoCoreError as error:
        failure = CloudUnavailable(f"no answer from AWS to {operation} on {about} ({type(error).__name__})")
    raise failure


def _answered(error: ClientError, service: str, operation: str, about: str, whom: str) -> CloudError:
    code = str(error.response["Error"].get("Code", ""))
    status = error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
    if code in DENIAL:
        return CloudDenied(f"AWS denies {operation} on {about} ({code}); allow {service}:{operation} to {whom}")
    if code in BAD_CREDENTIALS:
        remedy = "give its ServiceAccount an IAM role, or renew its access key" if whom == OPERATOR else _RENEWED
        return CloudDenied(f"AWS does not accept {whom} for {operation} on {about}: its credentials ({code}); {remedy}")
    if "NotFound" in code:
        return NotThere(f"AWS finds no {about} ({operation}: {code})")
    if status >= 500 or code in THROTTLING:
        return CloudUnavailable(f"AWS failed at {operation} on {about} ({code or status}); it is tried again later")
    return CloudRefused(f"AWS refuses {operation} on {about} ({code})")
