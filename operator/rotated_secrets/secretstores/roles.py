"""IAM roles that the operator assumes for RotatedSecrets, with a ServiceAccount's token or with its own identity.

Must not know Kubernetes, nor who may use a role: this is decided before. Credentials are kept only in memory, until
shortly before they expire; the next call then fetches new ones.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.credentials import DeferredRefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError

from rotated_secrets.secretstores.base import AccessDenied
from rotated_secrets.secretstores.sts_errors import translate_assuming
from rotated_secrets.values import Arn, SecretText

if TYPE_CHECKING:
    from rotated_secrets.secretstores.aws import AwsStores

MAX_SESSION_NAME: Final = 64
"""Most characters of a RoleSessionName, which may be letters, digits and ``_=,.@-``. Source: AssumeRole, AWS STS."""

Token = Callable[[], SecretText]
"""Returns a fresh token. May raise StoreError."""


@dataclass(frozen=True)
class AssumedRole:
    """A role, and how it is assumed: with ``subject``'s token, or with ``external_id``."""

    arn: Arn
    session: str
    """Its RoleSessionName, which CloudTrail records."""
    external_id: str | None = None
    """The ExternalId that the operator's own identity sends."""
    subject: str | None = None
    """The ServiceAccount of the token, as AWS's trust policies write it: ``system:serviceaccount:NAMESPACE:NAME``."""
    subject_uid: str | None = None
    """Distinguishes a ServiceAccount from a later one of the same name."""

    @property
    def account(self) -> str:
        """The account of the role."""
        return self.arn.account

    def __str__(self) -> str:
        return f"role {self.arn}"


def session_name(namespace: str, name: str) -> str:
    """Return a RoleSessionName that names the resource; a namespace has no dot, so names are unique."""
    full = re.sub(r"[^\w=,.@-]", "-", f"{namespace}.{name}", flags=re.ASCII)
    if len(full) <= MAX_SESSION_NAME:
        return full
    digest = hashlib.sha256(full.encode()).hexdigest()[:8]
    return f"{full[: MAX_SESSION_NAME - len(digest) - 1]}-{digest}"


def stores_for_role(own: AwsStores, role: AssumedRole, token: Token | None) -> AwsStores:
    """Return stores that use a role. The role is assumed when a call first needs it.

    Every call may also raise AccessDenied and StoreUnavailable because of the role.

    Args:
        own: the operator's own stores.
        role: the role.
        token: returns a token of the role's subject, if it has one.
    """
    credentials = _Credentials(_RoleRequest(own, role, token))
    return own.with_credentials(
        credentials, identity_name=str(role), account=role.account, on_rejected=credentials.discard
    )


class _Credentials(DeferredRefreshableCredentials):
    """The SDK's refreshable credentials, which can also be discarded: a session may be revoked before it expires."""

    def __init__(self, refresh: _RoleRequest) -> None:
        self._discarded = False
        self._request = refresh
        super().__init__(self._refreshed, "rotated-secrets")

    def discard(self) -> None:
        """Make the next call fetch new credentials."""
        self._discarded = True

    def refresh_needed(self, refresh_in: int | None = None) -> bool:
        return self._discarded or bool(super().refresh_needed(refresh_in))

    def _refreshed(self) -> dict[str, str]:
        found = self._request()
        self._discarded = False
        return found


class _RoleRequest:
    """Requests credentials from STS. Not called concurrently, because the SDK's credentials take a lock."""

    def __init__(self, own: AwsStores, role: AssumedRole, token: Token | None) -> None:
        self._own = own
        self._role = role
        self._token = token

    def __call__(self) -> dict[str, str]:
        role, token = self._role, self._token() if self._token is not None else None
        named = {"RoleArn": role.arn, "RoleSessionName": role.session}
        client = self._own.client("sts", self._own.region, signed=token is None)
        try:
            if token is not None:
                answer: Any = client.assume_role_with_web_identity(**named, WebIdentityToken=token.reveal())
            else:
                answer = client.assume_role(**named, ExternalId=role.external_id)
        except (ClientError, BotoCoreError) as error:
            failure = translate_assuming(error, role, token, self._own.region)
        else:
            found = answer["Credentials"]
            if found["Expiration"] <= datetime.now(UTC):
                # Said here, because the SDK would raise a RuntimeError. These requests have no time that AWS compares.
                raise AccessDenied(
                    f"the credentials of {role} that AWS gives have expired already by the operator's clock; correct "
                    "the time of the node that the operator runs on"
                )
            return {
                "access_key": found["AccessKeyId"],
                "secret_key": found["SecretAccessKey"],
                "token": found["SessionToken"],
                "expiry_time": found["Expiration"].isoformat(),
            }
        # Raised outside the handler, so that the SDK's exception is not its context.
        raise failure
