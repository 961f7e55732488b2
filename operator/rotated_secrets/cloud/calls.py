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
THROTTLING: Final = frozenset({"Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestThrottled"})


OPERATOR: Final = "the operator's identity"
"""Who asks, unless somebody else does."""


class CloudError(Exception):
    """A call failed; the message names what was asked for, the cause and the next step."""


class CloudUnavailable(CloudError):
    """Try again later."""


class CloudDenied(CloudError):
    """The identity may not ask; the message names the action to allow."""


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
    if "NotFound" in code:
        return NotThere(f"AWS finds no {about} ({operation}: {code})")
    if status >= 500 or code in THROTTLING:
        return CloudUnavailable(f"AWS failed at {operation} on {about} ({code or status}); it is tried again later")
    return CloudRefused(f"AWS refuses {operation} on {about} ({code})")
