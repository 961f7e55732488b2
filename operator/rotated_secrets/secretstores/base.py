"""What a secret store does for a rotation, and the ways in which it can say no.

Knows nothing of databases, Kubernetes or rotation strategies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Protocol

from rotated_secrets.values import Arn, SecretId, SecretValue, Stage, VersionId

Stages = Mapping[VersionId, frozenset[Stage]]
"""Which labels each version carries; versions without one of :class:`Stage`'s labels are not listed."""


class StoreError(Exception):
    """A call to the store failed; the message names the secret, the cause and the next step, never a value."""


class StoreUnavailable(StoreError):
    """The store could not be reached, timed out or failed inside: try again later."""


class StoreThrottled(StoreUnavailable):
    """The store asked for fewer requests: try again later, and more slowly."""


class AccessDenied(StoreError):
    """The identity may not do this; the message names the action to allow."""


class SecretNotFound(StoreError):
    """No such secret, version or stage."""


class VersionExists(StoreError):
    """PutSecretValue with a ClientRequestToken that another value has used already."""


class StoreRefused(StoreError):
    """The request itself is not acceptable (scheduled for deletion, too many versions, a stage that has moved)."""


@dataclass(frozen=True)
class SecretDescription:
    """What DescribeSecret says of one secret."""

    arn: Arn
    name: str
    stages: Stages
    rotation_enabled: bool = False
    owning_service: str | None = None
    """The AWS service that manages this secret (``rds`` for an RDS-managed admin secret), if one does."""
    primary_region: str | None = None
    """Set on replicas: the region whose secret this one copies."""
    deleted_at: datetime | None = None
    """When its deletion was asked for; None for a secret in use."""
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What its tags say, by key. Those whose keys begin with ``aws:`` are AWS's own: nobody else can write them."""

    def version_at(self, stage: Stage) -> VersionId | None:
        """The version that carries a stage, if one does."""
        return next((version for version, stages in self.stages.items() if stage in stages), None)


@dataclass(frozen=True)
class StoredVersion:
    """One version as GetSecretValue returns it."""

    version_id: VersionId
    value: SecretValue
    created_at: datetime
    arn: Arn
    """Whose version it is, by the store's word: what was asked for may have been a name."""


@dataclass(frozen=True)
class SecretSummary:
    """One row of ListSecrets: enough to see that a version moved."""

    arn: Arn
    name: str
    stages: Stages


class SecretStore(Protocol):
    """One identity's view of one region's secrets. Safe to use from several threads.

    Every call may raise :class:`StoreUnavailable`, :class:`StoreThrottled` and :class:`AccessDenied`.
    """

    def describe(self, secret: SecretId | Arn) -> SecretDescription:
        """Raises: SecretNotFound."""

    def get(
        self, secret: SecretId | Arn, *, stage: Stage | None = None, version_id: VersionId | None = None
    ) -> StoredVersion:
        """The version that carries ``stage``, or the one named, or both at once; AWSCURRENT where neither is given.

        Raises:
            SecretNotFound: no such secret, or no version carries that stage.
            InvalidSecretValue: the value is binary.
            StoreRefused: the secret is scheduled for deletion.
        """

    def put_pending(self, arn: Arn, version_id: VersionId, value: SecretValue) -> None:
        """Create a version that carries AWSPENDING alone. Repeating it with the same value changes nothing.

        Raises:
            VersionExists: the version exists already and holds another value.
        """

    def move_stage(
        self, arn: Arn, stage: Stage, *, to: VersionId | None = None, remove_from: VersionId | None = None
    ) -> None:
        """Attach a stage to one version and take it off another, in one step (UpdateSecretVersionStage).

        Raises:
            StoreRefused: the stage is not on ``remove_from`` (any more).
        """

    def rotate(self, arn: Arn, version_id: VersionId) -> None:
        """Have AWS rotate a secret by what is configured for it, now; ``version_id`` is what it is to call the new one.

        Returns when AWS has begun. Repeating it with the same id does not make a second version.

        Raises:
            StoreRefused: no rotation is configured, or an earlier one has not ended.
        """

    def list_summaries(self) -> Iterator[SecretSummary]:
        """Every secret of this account and region, in pages of 100 a call."""
