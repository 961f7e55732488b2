"""One identity's view of one region's secrets at AWS Secrets Manager, by boto3.

Must not know rotation strategies, databases, Kubernetes or where its credentials come from. Returns secret values only
inside ``SecretText``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import stamina
from botocore.exceptions import BotoCoreError, ClientError

from rotated_secrets.secretstores.aws_errors import OPERATOR, WRITES, AwsCall, CallOutcome, outcome_of, translate
from rotated_secrets.secretstores.base import (
    AwsRotation,
    SecretDescription,
    SecretNotFound,
    SecretSummary,
    Stages,
    StoredVersion,
)
from rotated_secrets.secretstores.quota import TokenBucket
from rotated_secrets.values import Arn, SecretId, SecretValue, Stage, VersionId

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

T = TypeVar("T")

LABELS: Final = frozenset(stage.value for stage in Stage)
PAGE: Final = 100
"""Largest page of ListSecrets."""
MAX_PAGES: Final = 5000
"""Most pages that there can be. Source: "Secrets in an account: 500,000", AWS Secrets Manager quotas."""
VISIBLE_AFTER: Final = 60.0
"""Seconds after PutSecretValue from which every read shows the version."""

_until_visible: Final = stamina.RetryingCaller(attempts=None, timeout=5.0, wait_initial=0.1, wait_max=1.0)


class AwsStore:
    """One identity's view of one region's secrets: a :class:`~rotated_secrets.secretstores.base.SecretStore`."""

    def __init__(
        self,
        client: SecretsManagerClient,
        writes: TokenBucket,
        identity_name: str = OPERATOR,
        before_write: Callable[[], None] | None = None,
    ) -> None:
        """``identity_name`` is for messages; ``before_write`` is called before each request that changes something."""
        self._client = client
        self._identity_name = identity_name
        self._region = client.meta.region_name
        self._put: dict[Arn, tuple[VersionId, float]] = {}
        for operation in WRITES:
            # Before each attempt, not each call, because AWS counts retries as well.
            client.meta.events.register(f"before-send.secrets-manager.{operation}", _handler(writes.take))
        if before_write is not None:
            # Each attempt here too: an operator that was frozen during a call must not retry it afterwards.
            for operation in (*WRITES, "RotateSecret"):
                client.meta.events.register(f"before-send.secrets-manager.{operation}", _handler(before_write))

    def describe(self, secret: SecretId | Arn) -> SecretDescription:
        """DescribeSecret. Source: API_DescribeSecret."""
        aws_call = self._call("DescribeSecret", secret)
        answer = ask(aws_call, lambda: self._client.describe_secret(SecretId=secret))
        deleted = answer.get("DeletedDate")
        return SecretDescription(
            arn=Arn(answer["ARN"]),
            name=answer["Name"],
            stages=_stages(answer.get("VersionIdsToStages", {})),
            rotation_enabled=answer.get("RotationEnabled", False),
            owning_service=answer.get("OwningService"),
            primary_region=_primary_region(answer),
            deleted_at=deleted.astimezone(UTC) if deleted else None,
            tags=MappingProxyType({tag.get("Key", ""): tag.get("Value", "") for tag in answer.get("Tags", ())}),
        )

    def get(
        self, secret: SecretId | Arn, *, stage: Stage | None = None, version_id: VersionId | None = None
    ) -> StoredVersion:
        """GetSecretValue. Source: API_GetSecretValue."""
        which: dict[str, str] = {}
        if stage:
            which["VersionStage"] = stage.value
        if version_id:
            which["VersionId"] = version_id
        aws_call = self._call("GetSecretValue", secret, _which(version_id, stage))

        def call() -> StoredVersion:
            answer = ask(aws_call, lambda: self._client.get_secret_value(SecretId=secret, **which))
            text = answer.get("SecretString")
            return StoredVersion(
                VersionId(answer["VersionId"]),
                SecretValue.of_bytes(answer["SecretBinary"]) if text is None else SecretValue.parse(text),
                answer["CreatedDate"].astimezone(UTC),
                Arn(answer["ARN"]),
            )

        if self._just_put(secret, version_id, pending=stage is Stage.PENDING):
            return _until_visible(SecretNotFound, call)
        return call()

    def put_pending(self, arn: Arn, version_id: VersionId, value: SecretValue) -> None:
        """PutSecretValue with AWSPENDING alone. Source: API_PutSecretValue."""
        aws_call = self._call("PutSecretValue", arn, _which(version_id, None))
        ask(
            aws_call,
            lambda: self._client.put_secret_value(
                SecretId=arn,
                ClientRequestToken=version_id,
                SecretString=value.text.reveal(),
                VersionStages=[Stage.PENDING.value],
            ),
        )
        self._put[arn] = (version_id, time.monotonic())

    def move_stage(
        self, arn: Arn, stage: Stage, *, to: VersionId | None = None, remove_from: VersionId | None = None
    ) -> None:
        """UpdateSecretVersionStage. Source: API_UpdateSecretVersionStage."""
        named: dict[str, str] = {}
        if to:
            named["MoveToVersionId"] = to
        if remove_from:
            named["RemoveFromVersionId"] = remove_from

        def call() -> None:
            try:
                self._client.update_secret_version_stage(SecretId=arn, VersionStage=stage.value, **named)
            except ClientError as error:
                # If the response to the first attempt was lost, AWS refuses the second: the stage has moved already.
                retried = error.response["ResponseMetadata"].get("RetryAttempts", 0)
                refused = outcome_of(error.response) is CallOutcome.REFUSED
                if not (retried and refused and self._has_moved(arn, stage, to, remove_from)):
                    raise

        aws_call = self._call("UpdateSecretVersionStage", arn, _which(to or remove_from, stage))
        if self._just_put(arn, to):
            _until_visible(SecretNotFound, ask, aws_call, call)
        else:
            ask(aws_call, call)
        if stage is Stage.PENDING and remove_from:
            self._put.pop(arn, None)

    def rotate(self, arn: Arn, version_id: VersionId) -> None:
        """RotateSecret, which rotates at once by default. Source: "RotateImmediately", API_RotateSecret."""
        aws_call = self._call("RotateSecret", arn)
        ask(aws_call, lambda: self._client.rotate_secret(SecretId=arn, ClientRequestToken=version_id))

    def list_summaries(self) -> Iterator[SecretSummary]:
        """ListSecrets, in pages; it may lag by minutes, and omits deleted secrets. Source: API_ListSecrets."""
        pages = iter(self._client.get_paginator("list_secrets").paginate(PaginationConfig={"PageSize": PAGE}))
        aws_call = self._call("ListSecrets")
        for _ in range(MAX_PAGES):
            page = ask(aws_call, lambda: next(pages, None))
            if page is None:
                return
            for row in page["SecretList"]:
                stages = _stages(row.get("SecretVersionsToStages", {}))
                aws_rotation = AwsRotation(_primary_region(row), row.get("RotationEnabled", False))
                yield SecretSummary(Arn(row["ARN"]), row["Name"], stages, aws_rotation)

    def _call(self, operation: str, secret: str | None = None, detail: str = "") -> AwsCall:
        return AwsCall(operation, self._region, secret, detail, self._identity_name)

    def _just_put(self, secret: SecretId | Arn, version_id: VersionId | None, *, pending: bool = False) -> bool:
        """Whether this store put this version (or the pending one) so recently that a read may not show it yet."""
        put, at = self._put.get(Arn(secret), (None, 0.0))
        return (
            bool(put) and (put == version_id or (pending and not version_id)) and time.monotonic() - at < VISIBLE_AFTER
        )

    def _has_moved(self, arn: Arn, stage: Stage, to: VersionId | None, remove_from: VersionId | None) -> bool:
        found = self.describe(arn).version_at(stage)
        return found == to if to else found != remove_from


def ask(aws_call: AwsCall, call: Callable[[], T]) -> T:
    """Make a call, and translate the SDK's errors. Raises: StoreError."""
    try:
        return call()
    except (ClientError, BotoCoreError) as error:
        failure = translate(error, aws_call)
    # Raised outside the handler, so that the SDK's exception is not its context.
    raise failure


def _stages(labels: Mapping[str, Iterable[str]]) -> Stages:
    rotation = {
        VersionId(version): frozenset(Stage(each) for each in LABELS & set(found)) for version, found in labels.items()
    }
    return {version: stages for version, stages in rotation.items() if stages}


def _primary_region(answer: Mapping[str, Any]) -> str | None:
    """The primary's region of a replica; for a primary with replicas AWS returns its own."""
    primary = answer.get("PrimaryRegion")
    return primary if primary and primary != Arn(answer["ARN"]).region else None


def _which(version_id: VersionId | None, stage: Stage | None) -> str:
    return (f", version {version_id}" if version_id else "") + (f", stage {stage}" if stage else "")


def _handler(call: Callable[[], None]) -> Callable[..., None]:
    def handle(**_: object) -> None:
        call()

    return handle
