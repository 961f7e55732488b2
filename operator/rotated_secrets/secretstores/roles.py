"""IAM roles that the operator takes on for others, by a token of theirs or by its own identity.

Must not know Kubernetes, nor who may have a role: that is settled before. The credentials are kept in memory alone,
until shortly before they expire, and are fetched anew by whichever call then needs them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from botocore.credentials import DeferredRefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError

from rotated_secrets.secretstores.aws import AwsStores
from rotated_secrets.secretstores.sts_errors import translate_assuming
from rotated_secrets.values import Arn, SecretText

LONGEST_SESSION: Final = 64
"""Characters of a RoleSessionName, which may be letters, digits and ``_=,.@-``. Source: AssumeRole, AWS STS."""

Token = Callable[[], SecretText]
"""Asks for a fresh token. May raise StoreError."""


@dataclass(frozen=True)
class AssumedRole:
    """A role, and the one way by which it is taken on: by ``subject``'s token, or with ``external_id``."""

    arn: Arn
    session: str
    """Its RoleSessionName, by which CloudTrail tells who it was."""
    external_id: str | None = None
    """What the operator's own identity shows."""
    subject: str | None = None
    """Whose token is shown, as AWS's trust policies write it: ``system:serviceaccount:NAMESPACE:NAME``."""
    subject_uid: str | None = None
    """Tells a ServiceAccount from a later one of the same name."""

    @property
    def account(self) -> str:
        """That the role belongs to."""
        return self.arn.account

    def __str__(self) -> str:
        return f"role {self.arn}"


def session_name(namespace: str, name: str) -> str:
    """A RoleSessionName that tells whose session it is; a namespace holds no dot, so no two are alike."""
    full = re.sub(r"[^\w=,.@-]", "-", f"{namespace}.{name}", flags=re.ASCII)
    if len(full) <= LONGEST_SESSION:
        return full
    digest = hashlib.sha256(full.encode()).hexdigest()[:8]
    return f"{full[: LONGEST_SESSION - len(digest) - 1]}-{digest}"


def stores_as(own: AwsStores, role: AssumedRole, token: Token | None) -> AwsStores:
    """AWS as a role, nothing of which is asked for before it is needed.

    Every call may raise AccessDenied and StoreUnavailable for the role's sake, too.

    Args:
        own: the operator's.
        role: the role.
        token: of the role's subject, where it has one.
    """
    credentials = _Credentials(_Assuming(own, role, token))
    return own.with_credentials(credentials, whom=str(role), account=role.account, on_rejected=credentials.discard)


class _Credentials(DeferredRefreshableCredentials):
    """The SDK's own, but that they can be thrown away: a session may be revoked before it expires."""

    def __init__(self, refresh: _Assuming) -> None:
        self._discarded = False
        self._assuming = refresh
        super().__init__(self._refreshed, "rotated-secrets")

    def discard(self) -> None:
        """Have the next call fetch new ones."""
        self._discarded = True

    def refresh_needed(self, refresh_in: int | None = None) -> bool:
        return self._discarded or bool(super().refresh_needed(refresh_in))

    def _refreshed(self) -> dict[str, str]:
        found = self._assuming()
        self._discarded = False
        return found


class _Assuming:
    """Asks STS. One call at a time: the SDK's credentials see to that."""

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
            return {
                "access_key": found["AccessKeyId"],
                "secret_key": found["SecretAccessKey"],
                "token": found["SessionToken"],
                "expiry_time": found["Expiration"].isoformat(),
            }
        # Outside the handler: the SDK's exception must not come along as its context.
        raise failure
