"""The four calls to ElastiCache's API, and what its errors mean.

The only module of the databases that knows AWS's SDK. Its errors can quote what was sent, so none is passed on. The
caller passes the client, so a secret value never chooses an endpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from rotated_secrets.databases.base import DatabaseError, Refused, Unavailable
from rotated_secrets.databases.elasticache.user import CacheUser

if TYPE_CHECKING:
    from mypy_boto3_elasticache import ElastiCacheClient

T = TypeVar("T")

_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "OptInRequired"})
_NOT_NOW = frozenset(
    {
        "InvalidUserState",
        "InvalidUserStateFault",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "RequestTimeout",
        "RequestTimeoutException",
        # Of the operator's own credentials, which are fetched again, and of its clock: nothing of the user is wrong.
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "RequestExpired",
        "RequestInTheFuture",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_NOT_THERE = frozenset({"UserNotFound", "UserNotFoundFault"})


@dataclass(frozen=True)
class Described:
    """What DescribeUsers says of a user."""

    arn: str
    name: str
    status: str
    authentication: str
    """``password``, ``no-password`` or ``iam``."""
    passwords: int


class ElastiCacheApi:
    """One identity's calls. Safe to use from several threads."""

    def __init__(self, client: Callable[[str, str], Any], whom: str = "the operator's identity") -> None:
        """``client`` returns a boto3 client of a service in a region; ``whom`` names its identity in messages."""
        self._client = client
        self.whom = whom

    def describe(self, user: CacheUser) -> Described:
        answer = self._ask("DescribeUsers", user, lambda client: client.describe_users(UserId=user.id))
        found = [each for each in answer["Users"] if each.get("UserId") == user.id]
        if not found:
            raise Refused(f"{user.arn} does not exist; correct user_arn in the secret value")
        how: Mapping[str, Any] = found[0].get("Authentication") or {}
        return Described(
            found[0].get("ARN", ""),
            found[0].get("UserName", ""),
            found[0].get("Status", ""),
            how.get("Type", ""),
            how.get("PasswordCount") or 0,
        )

    def tags(self, user: CacheUser) -> Mapping[str, str]:
        call = self._ask(
            "ListTagsForResource", user, lambda client: client.list_tags_for_resource(ResourceName=user.arn)
        )
        return {tag["Key"]: tag.get("Value", "") for tag in call["TagList"] if "Key" in tag}

    def modify(self, user: CacheUser, passwords: Sequence[str]) -> None:
        """Make these the user's only passwords, two at most. The change is complete when the user is active again."""
        self._ask("ModifyUser", user, lambda client: client.modify_user(UserId=user.id, Passwords=list(passwords)))

    def _ask(self, operation: str, user: CacheUser, call: Callable[[ElastiCacheClient], T]) -> T:
        try:
            return call(self._client("elasticache", user.region))
        except ClientError as error:
            failure = _answered(error, operation, user, self.whom)
        except (BotoCoreError, ValueError) as error:
            failure = Unavailable(f"no answer from AWS to {operation} on {user.arn} ({type(error).__name__})")
        raise failure


def _answered(error: ClientError, operation: str, user: CacheUser, whom: str) -> DatabaseError:
    code = str(error.response["Error"].get("Code", ""))
    status = error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
    if code in _DENIED:
        return Refused(f"AWS denies {operation} on {user.arn} ({code}); allow elasticache:{operation} on it to {whom}")
    if code in _NOT_THERE:
        return Refused(f"{user.arn} does not exist ({operation}: {code}); correct user_arn in the secret value")
    if code in _NOT_NOW or status >= 500 or status in (408, 429):
        return Unavailable(f"AWS cannot do {operation} on {user.arn} now ({code or status}); it is tried again")
    return Refused(f"AWS refuses {operation} on {user.arn} ({code})")
