"""Secrets Manager in memory, for several accounts and regions, and what one identity sees of it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from rotated_secrets.rotation.observation import with_stage_moved
from rotated_secrets.secretstores.base import (
    AwsRotation,
    SecretDescription,
    SecretNotFound,
    SecretSummary,
    Stages,
    StoredVersion,
    StoreRefused,
    VersionExists,
)
from rotated_secrets.values import Arn, SecretId, SecretValue, Stage, VersionId

HOME = "123456789012"
"""The operator's own account."""
REGION = "eu-west-1"
CREATED = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class FakeSecret:
    """One secret with its versions."""

    arn: Arn
    name: str
    versions: dict[VersionId, StoredVersion] = field(default_factory=dict)
    stages: Stages = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    """What DescribeSecret says beside the stages."""

    def put(self, value: Mapping[str, Any] | str, version_id: str) -> VersionId:
        """A person puts a value: it becomes AWSCURRENT."""
        text = value if isinstance(value, str) else json.dumps(value)
        version = VersionId(version_id)
        self.versions[version] = StoredVersion(version, SecretValue.parse(text), CREATED, self.arn)
        before = next((each for each, labels in self.stages.items() if Stage.CURRENT in labels), None)
        self.stages = with_stage_moved(self.stages, Stage.CURRENT, to=version, remove_from=before)
        return version

    @property
    def current(self) -> StoredVersion:
        return self.versions[next(each for each, labels in self.stages.items() if Stage.CURRENT in labels)]


class FakeAws:
    """All secrets of all accounts. ``calls`` are the operations that were asked for, each with who asked for what."""

    def __init__(self) -> None:
        self.secrets: dict[Arn, FakeSecret] = {}
        self.calls: list[tuple[str, str, str]] = []
        self.before_call: Callable[[str, str], None] = lambda operation, secret: None
        """Called before each call; may raise what the store would."""
        self.returns: dict[str, str] = {}
        """By what is asked for: the ARN of another secret, which a store that lies returns."""
        self._numbers = itertools.count(1)

    def create(
        self, name: str, value: Mapping[str, Any] | str, *, account: str = HOME, region: str = REGION
    ) -> FakeSecret:
        arn = Arn(f"arn:aws:secretsmanager:{region}:{account}:secret:{name}-AbCdEf")
        secret = self.secrets[arn] = FakeSecret(arn, name)
        secret.put(value, f"00000000-0000-0000-0000-{next(self._numbers):012}")
        return secret

    def find(self, name: str) -> FakeSecret:
        """The secret of this name."""
        return next(secret for secret in self.secrets.values() if secret.name == name)

    def operations(self, *, of: str = "") -> list[str]:
        """What was asked for, in order; of one secret by a part of its name."""
        return [operation for operation, _, asked in self.calls if of in asked]


@dataclass
class FakeStore:
    """One identity's view of one region. Has the protocol ``SecretStore``."""

    aws: FakeAws
    account: str
    region: str
    identity_name: str

    def describe(self, secret: SecretId | Arn) -> SecretDescription:
        found = self._found("DescribeSecret", secret)
        return SecretDescription(found.arn, found.name, found.stages, **found.about)

    def get(
        self, secret: SecretId | Arn, *, stage: Stage | None = None, version_id: VersionId | None = None
    ) -> StoredVersion:
        found = self._found("GetSecretValue", secret)
        stage = stage or (None if version_id else Stage.CURRENT)
        for version, labels in found.stages.items():
            if (stage is None or stage in labels) and version_id in (None, version):
                return found.versions[version]
        raise SecretNotFound(f"secret {secret} has no such version")

    def put_pending(self, arn: Arn, version_id: VersionId, value: SecretValue) -> None:
        found = self._found("PutSecretValue", arn)
        if version_id in found.versions:
            raise VersionExists(version_id)
        found.versions[version_id] = StoredVersion(version_id, value, datetime.now(UTC), found.arn)
        found.stages = with_stage_moved(found.stages, Stage.PENDING, to=version_id)

    def move_stage(
        self, arn: Arn, stage: Stage, *, to: VersionId | None = None, remove_from: VersionId | None = None
    ) -> None:
        found = self._found("UpdateSecretVersionStage", arn)
        holder = next((version for version, labels in found.stages.items() if stage in labels), None)
        if holder not in (None, remove_from):
            raise StoreRefused(f"{stage} is on {holder}")
        found.stages = with_stage_moved(found.stages, stage, to=to, remove_from=remove_from)

    def rotate(self, arn: Arn, version_id: VersionId) -> None:
        self._found("RotateSecret", arn)

    def list_summaries(self) -> Iterator[SecretSummary]:
        self.aws.calls.append(("ListSecrets", self.identity_name, ""))
        self.aws.before_call("ListSecrets", "")
        for secret in self.aws.secrets.values():
            if secret.arn.split(":")[3:5] == [self.region, self.account]:
                about = secret.about
                rotation = AwsRotation(about.get("primary_region"), about.get("rotation_enabled", False))
                yield SecretSummary(secret.arn, secret.name, secret.stages, rotation)

    def _found(self, operation: str, secret: str) -> FakeSecret:
        self.aws.calls.append((operation, self.identity_name, secret))
        self.aws.before_call(operation, secret)
        secret = self.aws.returns.get(secret, secret)
        for found in self.aws.secrets.values():
            here = found.arn.split(":")[3:5] == [self.region, self.account] and secret == found.name
            if here or secret in (found.arn, found.arn[:-7]):
                return found
        raise SecretNotFound(f"there is no secret {secret}")


@dataclass
class FakeStores:
    """AWS as one identity reaches it. Takes the place of ``AwsStores``."""

    aws: FakeAws
    identity_name: str = "the operator"
    account_id: str = HOME
    region: str = REGION

    def at(self, region: str | None = None) -> Any:
        return FakeStore(self.aws, self.account_id, region or self.region, self.identity_name)

    def account(self) -> str:
        return self.account_id

    def client(self, service: str, region: str | None, *, signed: bool = True) -> Any:
        raise AssertionError(f"nothing is asked of {service}")

    def with_credentials(
        self, credentials: object, *, identity_name: str, account: str, on_rejected: Callable[[], None]
    ) -> FakeStores:
        return replace(self, identity_name=identity_name, account_id=account)
