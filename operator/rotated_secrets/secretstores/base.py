"""The protocol of a secret store, and its errors.

Must not know databases, Kubernetes or rotation strategies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple, Protocol

from rotated_secrets.values import Arn, SecretId, SecretValue, Stage, VersionId

Stages = Mapping[VersionId, frozenset[Stage]]
"""The stages of each version; versions without one of :class:`Stage`'s labels are not included."""


class StoreError(Exception):
    """A call to the store failed; the message names the secret, the cause and the next step, never a value."""


class StoreUnavailable(StoreError):
    """The store could not be reached, timed out or had an internal error: try again later."""


class StoreThrottled(StoreUnavailable):
    """The store asked for fewer requests: try again later, and more slowly."""


class AccessDenied(StoreError):
    """The identity may not do this; the message names the action to allow."""


class SecretNotFound(StoreError):
    """There is no such secret, version or stage."""


class VersionExists(StoreError):
    """PutSecretValue with a ClientRequestToken that was used for another value already."""


class StoreRefused(StoreError):
    """The store rejects the request (the secret is scheduled for deletion, has too many versions, a stage moved)."""


class AwsRotation(NamedTuple):
    """What of a secret AWS itself changes or has changed, besides its versions."""

    primary_region: str | None = None
    """Set on replicas: the region of the primary secret. A replica that is promoted has none."""
    enabled: bool = False
    """Whether AWS rotates it."""


@dataclass(frozen=True)
class SecretDescription:
    """What DescribeSecret says of one secret."""

    arn: Arn
    name: str
    stages: Stages
    rotation_enabled: bool = False
    owning_service: str | None = None
    """The AWS service that manages this secret (``rds`` for an RDS-managed admin secret), if there is one."""
    primary_region: str | None = None
    """Set on replicas: the region of the primary secret."""
    deleted_at: datetime | None = None
    """When its deletion was requested; None for a secret in use."""
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Its tags. Only AWS can write those whose keys begin with ``aws:``."""

    @property
    def aws_rotation(self) -> AwsRotation:
        """See there."""
        return AwsRotation(self.primary_region, self.rotation_enabled)

    def version_at(self, stage: Stage) -> VersionId | None:
        """Return the version that carries a stage, if one does."""
        return next((version for version, stages in self.stages.items() if stage in stages), None)


@dataclass(frozen=True)
class StoredVersion:
    """One version as GetSecretValue returns it."""

    version_id: VersionId
    value: SecretValue
    created_at: datetime
    arn: Arn
    """The secret's ARN as the store returned it; the request may have had a name instead."""


@dataclass(frozen=True)
class SecretSummary:
    """One row of ListSecrets: enough to see that a version moved, or that AWS stopped or began to rotate it."""

    arn: Arn
    name: str
    stages: Stages
    aws_rotation: AwsRotation = AwsRotation()  # noqa: RUF009 - a tuple


class SecretStore(Protocol):
    """One identity's view of one region's secrets. Safe to use from several threads.

    Every call may raise :class:`StoreUnavailable`, :class:`StoreThrottled` and :class:`AccessDenied`.
    """

    def describe(self, secret: SecretId | Arn) -> SecretDescription:
        """Raises: SecretNotFound."""

    def get(
        self, secret: SecretId | Arn, *, stage: Stage | None = None, version_id: VersionId | None = None
    ) -> StoredVersion:
        """Return the version with this stage or id, or with both; AWSCURRENT if neither is given.

        Raises:
            SecretNotFound: no such secret, or no version carries that stage.
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
        """Attach a stage to one version and remove it from another, atomically (UpdateSecretVersionStage).

        Raises:
            StoreRefused: the stage is not, or no longer, on ``remove_from``.
        """

    def rotate(self, arn: Arn, version_id: VersionId) -> None:
        """Ask AWS to rotate a secret now, as configured for it; ``version_id`` is the id for the new version.

        Returns when AWS has begun. Repeating it with the same id does not create a second version.

        Raises:
            StoreRefused: no rotation is configured, or an earlier one has not ended.
        """

    def list_summaries(self) -> Iterator[SecretSummary]:
        """Every secret of this account and region, in pages of 100 a call."""
