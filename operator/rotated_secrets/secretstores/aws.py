"""AWS Secrets Manager by boto3.

Must not know rotation strategies, databases or Kubernetes. What the SDK raises ends in ``aws_errors``; nothing that
leaves this room holds a secret value outside ``SecretText``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import boto3
import stamina
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from rotated_secrets.secretstores.aws_errors import WRITES, Asked, Outcome, outcome, translate
from rotated_secrets.secretstores.base import SecretDescription, SecretNotFound, SecretSummary, Stages, StoredVersion
from rotated_secrets.secretstores.quota import TokenBucket
from rotated_secrets.values import Arn, InvalidSecretValue, SecretId, SecretValue, Stage, VersionId

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

T = TypeVar("T")

OnRequest = Callable[[str, str], None]
"""Told of every request with its operation and :class:`Outcome`: each attempt of a retried call is one."""

LABELS: Final = frozenset(stage.value for stage in Stage)
PAGE: Final = 100
"""Most that ListSecrets returns at once."""
SETTLED_AFTER: Final = 60.0
"""Seconds after which a version that was put must be there for everyone to read."""

_until_visible: Final = stamina.RetryingCaller(attempts=None, timeout=5.0, wait_initial=0.1, wait_max=1.0)


@dataclass(frozen=True)
class AwsSettings:
    """How to reach AWS; credentials come from the SDK's own chain. Seconds, unless said otherwise."""

    region: str | None = None
    """Where secrets are that name no region; None takes the SDK's own setting."""
    endpoint_url: str | None = None
    """Of Secrets Manager in ``region``; every other endpoint is the SDK's own."""
    connect_timeout: float = 3.0
    read_timeout: float = 10.0
    attempts: int = 4
    """Requests a call may take, the first included (botocore's standard mode)."""
    connections: int = 32
    writes_per_second: float = 40.0
    """Of PutSecretValue and UpdateSecretVersionStage in one region, whose quota is 50 a second and not adjustable.

    Source: "AWS Secrets Manager quotas", AWS Secrets Manager User Guide.
    """


class AwsStores:
    """The stores of one identity, one for each region. Safe to use from several threads."""

    def __init__(
        self, settings: AwsSettings, on_request: OnRequest | None = None, session: boto3.session.Session | None = None
    ) -> None:
        # At DEBUG these print requests and answers, secret values included.
        for library in ("boto3", "botocore", "urllib3"):
            logger = logging.getLogger(library)
            logger.setLevel(max(logger.level, logging.INFO))
        self._settings = settings
        self._on_request = on_request
        self._session = session or boto3.session.Session()
        self._region = settings.region or self._session.region_name
        self._stores: dict[str, AwsStore] = {}
        self._account: str | None = None
        self._lock = threading.Lock()  # sessions are not safe to use from several threads, clients are
        self._account_lock = threading.Lock()

    @property
    def region(self) -> str:
        """The operator's own region; empty where none is set."""
        return self._region or ""

    def at(self, region: str | None = None) -> AwsStore:
        """The store in this region, or in the operator's own.

        Raises:
            StoreRefused: there is no such region, or none is set.
        """
        name = region or self._region or ""
        with self._lock:
            if name not in self._stores:
                client = _ask(Asked("a client", name), lambda: self._made("secretsmanager", name))
                self._stores[name] = AwsStore(client, TokenBucket(self._settings.writes_per_second, 1))
            return self._stores[name]

    def account(self) -> str:
        """The twelve digits of the account that this identity belongs to, asked for once.

        Raises: StoreError, as every call to the store.
        """
        with self._account_lock:
            if self._account is None:
                asked = Asked("GetCallerIdentity", self._region or "")
                client = self.client("sts", self._region)
                self._account = _ask(asked, lambda: client.get_caller_identity()["Account"])
            return self._account

    def client(self, service: Any, region: str | None) -> Any:
        """A client of one of AWS's services, with this identity, these time-outs and retries, and the same counting.

        Raises:
            StoreRefused: there is no such region, or none is set.
        """
        with self._lock:
            return _ask(Asked(f"a client of {service}", region or ""), lambda: self._made(service, region))

    def _made(self, service: Any, region: str | None) -> Any:
        # An endpoint serves one service in one region: elsewhere it would answer with other secrets of the same name.
        is_ours = service == "secretsmanager" and region == self._region
        client = self._session.client(
            service,
            region_name=region or None,
            endpoint_url=self._settings.endpoint_url if is_ours else None,
            config=Config(
                connect_timeout=self._settings.connect_timeout,
                read_timeout=self._settings.read_timeout,
                retries={"mode": "standard", "total_max_attempts": self._settings.attempts},
                max_pool_connections=self._settings.connections,
                tcp_keepalive=True,
                user_agent_extra="rotated-secrets",
            ),
        )
        if self._on_request:
            client.meta.events.register("response-received", _report_to(self._on_request))
        return client


class AwsStore:
    """One identity's view of one region's secrets: a :class:`~rotated_secrets.secretstores.base.SecretStore`."""

    def __init__(self, client: SecretsManagerClient, writes: TokenBucket) -> None:
        self._client = client
        self._region = client.meta.region_name
        self._put: dict[Arn, tuple[VersionId, float]] = {}
        for operation in WRITES:
            # Before each attempt rather than each call, for retries count as well.
            client.meta.events.register(f"before-send.secrets-manager.{operation}", _taking_from(writes))

    def describe(self, secret: SecretId | Arn) -> SecretDescription:
        """DescribeSecret. Source: API_DescribeSecret."""
        asked = Asked("DescribeSecret", self._region, secret)
        answer = _ask(asked, lambda: self._client.describe_secret(SecretId=secret))
        primary = answer.get("PrimaryRegion")
        deleted = answer.get("DeletedDate")
        return SecretDescription(
            arn=Arn(answer["ARN"]),
            name=answer["Name"],
            stages=_stages(answer.get("VersionIdsToStages", {})),
            rotation_enabled=answer.get("RotationEnabled", False),
            owning_service=answer.get("OwningService"),
            # A primary with replicas names its own region there.
            primary_region=primary if primary and f":{primary}:" not in answer["ARN"] else None,
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
        asked = Asked("GetSecretValue", self._region, secret, _of(version_id, stage))

        def call() -> StoredVersion:
            answer = _ask(asked, lambda: self._client.get_secret_value(SecretId=secret, **which))
            if "SecretString" not in answer:
                raise InvalidSecretValue(
                    f"secret {secret}{asked.detail} holds binary data; store its JSON or text as SecretString"
                )
            return StoredVersion(
                VersionId(answer["VersionId"]),
                SecretValue.parse(answer["SecretString"]),
                answer["CreatedDate"].astimezone(UTC),
                Arn(answer["ARN"]),
            )

        if self._just_put(secret, version_id, pending=stage is Stage.PENDING):
            return _until_visible(SecretNotFound, call)
        return call()

    def put_pending(self, arn: Arn, version_id: VersionId, value: SecretValue) -> None:
        """PutSecretValue with AWSPENDING alone. Source: API_PutSecretValue."""
        asked = Asked("PutSecretValue", self._region, arn, _of(version_id, None))
        _ask(
            asked,
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
                # Where the answer to the first attempt was lost, the second is refused: the stage has moved already.
                retried = error.response["ResponseMetadata"].get("RetryAttempts", 0)
                refused = _outcome(error.response) is Outcome.REFUSED
                if not (retried and refused and self._shows(arn, stage, to, remove_from)):
                    raise

        asked = Asked("UpdateSecretVersionStage", self._region, arn, _of(to or remove_from, stage))
        if self._just_put(arn, to):
            _until_visible(SecretNotFound, _ask, asked, call)
        else:
            _ask(asked, call)
        if stage is Stage.PENDING and remove_from:
            self._put.pop(arn, None)

    def rotate(self, arn: Arn, version_id: VersionId) -> None:
        """RotateSecret, which rotates at once unless told otherwise. Source: "RotateImmediately", API_RotateSecret."""
        asked = Asked("RotateSecret", self._region, arn)
        _ask(asked, lambda: self._client.rotate_secret(SecretId=arn, ClientRequestToken=version_id))

    def list_summaries(self) -> Iterator[SecretSummary]:
        """ListSecrets, in pages; it may lag minutes behind, and leaves deleted ones out. Source: API_ListSecrets."""
        pages = iter(self._client.get_paginator("list_secrets").paginate(PaginationConfig={"PageSize": PAGE}))
        asked = Asked("ListSecrets", self._region)
        while page := _ask(asked, lambda: next(pages, None)):
            for row in page["SecretList"]:
                yield SecretSummary(Arn(row["ARN"]), row["Name"], _stages(row.get("SecretVersionsToStages", {})))

    def _just_put(self, secret: SecretId | Arn, version_id: VersionId | None, *, pending: bool = False) -> bool:
        """Whether this version (or the pending one) was put here so lately that a read may not show it yet."""
        put, at = self._put.get(Arn(secret), (None, 0.0))
        return (
            bool(put) and (put == version_id or (pending and not version_id)) and time.monotonic() - at < SETTLED_AFTER
        )

    def _shows(self, arn: Arn, stage: Stage, to: VersionId | None, remove_from: VersionId | None) -> bool:
        found = self.describe(arn).version_at(stage)
        return found == to if to else found != remove_from


def _ask(asked: Asked, call: Callable[[], T]) -> T:
    try:
        return call()
    except (ClientError, BotoCoreError) as error:
        failure = translate(error, asked)
    # Outside the handler: the SDK's exception must not come along as its context.
    raise failure


def _stages(labels: Mapping[str, Iterable[str]]) -> Stages:
    rotation = {
        VersionId(version): frozenset(Stage(each) for each in LABELS & set(found)) for version, found in labels.items()
    }
    return {version: stages for version, stages in rotation.items() if stages}


def _of(version_id: VersionId | None, stage: Stage | None) -> str:
    return (f", version {version_id}" if version_id else "") + (f", stage {stage}" if stage else "")


def _taking_from(bucket: TokenBucket) -> Callable[..., None]:
    def take(**_: object) -> None:
        bucket.take()

    return take


def _report_to(on_request: OnRequest) -> Callable[..., None]:
    def report(event_name: str, parsed_response: Mapping[str, Any] | None, **_: object) -> None:
        on_request(event_name.rpartition(".")[2], _outcome(parsed_response))

    return report


def _outcome(parsed: Mapping[str, Any] | None) -> Outcome:
    if parsed is None:
        return Outcome.UNAVAILABLE
    status = parsed["ResponseMetadata"].get("HTTPStatusCode", 0)
    if "Error" in parsed:
        return outcome(parsed["Error"].get("Code", ""), status)
    return Outcome.OK if status < 300 else outcome("", status)
