"""Throttling, denial, absence and silence are told apart, counted, and never repeat a secret value."""

from __future__ import annotations

import logging
import traceback
import uuid
from collections.abc import Callable

import pytest

from rotated_secrets.databases.elasticache.api import ElastiCacheApi
from rotated_secrets.databases.elasticache.user import CacheUser
from rotated_secrets.secretstores.aws import AwsSettings, AwsStores
from rotated_secrets.secretstores.aws_store import AwsStore
from rotated_secrets.secretstores.base import (
    AccessDenied,
    SecretNotFound,
    StoreError,
    StoreRefused,
    StoreThrottled,
    StoreUnavailable,
)
from rotated_secrets.values import Arn, SecretValue, Stage, VersionId
from sandbox.proxy import Moment
from sandbox.secretsmanager import SecretsManager
from sandbox.store_proxy import StoreProxy

CANARY = "hunter2-canary"
DENIAL = (
    "User: arn:aws:sts::1:assumed-role/op/x is not authorized to perform: secretsmanager:{} because no identity-based "
    "policy allows the action"
)


def put(store: AwsStore, secret: Arn) -> None:
    store.put_pending(secret, VersionId(str(uuid.uuid4())), SecretValue.parse(f'{{"password": "{CANARY}"}}'))


OPERATIONS: dict[str, Callable[[AwsStore, Arn], object]] = {
    "DescribeSecret": lambda store, secret: store.describe(secret),
    "GetSecretValue": lambda store, secret: store.get(secret),
    "PutSecretValue": put,
    "UpdateSecretVersionStage": lambda store, secret: store.move_stage(
        secret, Stage.PENDING, remove_from=VersionId("0" * 32)
    ),
    "RotateSecret": lambda store, secret: store.rotate(secret, VersionId("0" * 32)),
    "ListSecrets": lambda store, secret: list(store.list_summaries()),
}
each_operation = pytest.mark.parametrize("operation", OPERATIONS)


@each_operation
def test_throttling_is_retried_then_said(
    store: AwsStore, secret: Arn, proxy: StoreProxy, requests: list[tuple[str, str]], operation: str
) -> None:
    proxy.answer_with("ThrottlingException", "Rate exceeded", name=operation)
    with pytest.raises(StoreThrottled, match=rf"throttles {operation}.* in eu-west-1 \(ThrottlingException\);"):
        OPERATIONS[operation](store, secret)
    assert requests == [(operation, "throttled")] * 2


@each_operation
def test_denial_names_the_action_and_is_not_retried(
    store: AwsStore, secret: Arn, proxy: StoreProxy, requests: list[tuple[str, str]], operation: str
) -> None:
    proxy.answer_with("AccessDeniedException", DENIAL.format(operation), name=operation)
    with pytest.raises(
        AccessDenied, match=f"no identity-based policy.*; allow secretsmanager:{operation} to"
    ) as caught:
        OPERATIONS[operation](store, secret)
    assert requests == [(operation, "denied")]
    assert operation == "ListSecrets" or secret in str(caught.value)


@each_operation
def test_a_lost_connection_is_retried_then_said(
    store: AwsStore, secret: Arn, proxy: StoreProxy, requests: list[tuple[str, str]], operation: str
) -> None:
    with proxy.partitioned(), pytest.raises(StoreUnavailable, match=f"no answer from AWS to {operation}") as caught:
        OPERATIONS[operation](store, secret)
    assert not isinstance(caught.value, StoreThrottled)
    assert requests == [(operation, "unavailable")] * 2


@pytest.mark.parametrize(
    ("code", "status", "kind", "words"),
    [
        ("UnrecognizedClientException", 400, AccessDenied, "does not accept the operator's credentials"),
        (
            "ExpiredTokenException",
            400,
            AccessDenied,
            "loaded again; if this goes on, what provides them gives old ones",
        ),
        ("InvalidClientTokenId", 403, AccessDenied, "renew its access key"),
        ("RequestExpired", 400, AccessDenied, "correct the time of the node"),
        ("RequestTimeoutException", 408, StoreUnavailable, "tried again later"),
        ("Forbidden", 403, AccessDenied, "allow secretsmanager:GetSecretValue"),
        ("ResourceNotFoundException", 400, SecretNotFound, "finds no secret"),
        ("InternalServiceError", 500, StoreUnavailable, "tried again later"),
        ("", 503, StoreUnavailable, "503"),
        ("DecryptionFailure", 400, StoreRefused, "KMS key exists and is enabled"),
        ("LimitExceededException", 400, StoreRefused, "LimitExceededException"),
        ("SomethingNewException", 400, StoreRefused, "SomethingNewException"),
    ],
)
def test_each_error_says_who_can_help(
    store: AwsStore, secret: Arn, proxy: StoreProxy, code: str, status: int, kind: type[StoreError], words: str
) -> None:
    proxy.answer_with(code, "as AWS says it", status=status)
    with pytest.raises(kind, match=words) as caught:
        store.get(secret)
    assert type(caught.value) is kind


def test_a_store_that_stays_silent_is_given_up(
    connect: Callable[[AwsSettings], AwsStores], secret: Arn, proxy: StoreProxy
) -> None:
    store = connect(AwsSettings(region="eu-west-1", read_timeout=0.2, attempts=1)).at()
    with proxy.stalled(), pytest.raises(StoreUnavailable, match=r"\(ReadTimeoutError from 127\.0\.0\.1\)"):
        store.describe(secret)


def test_an_identity_without_credentials_is_told_what_to_do(
    secret: Arn, proxy: StoreProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    store = AwsStores(AwsSettings(region="eu-west-1", endpoint_url=proxy.endpoint_url)).at()
    with pytest.raises(AccessDenied, match=r"no AWS credentials .*; give the operator's ServiceAccount an IAM role"):
        store.describe(secret)
    assert proxy.count() == 0


def test_every_attempt_is_counted(
    store: AwsStore, secret: Arn, proxy: StoreProxy, requests: list[tuple[str, str]]
) -> None:
    proxy.answer_with("ThrottlingException", times=1)
    store.get(secret)
    with pytest.raises(SecretNotFound):
        store.get(secret, stage=Stage.PENDING)
    assert requests == [("GetSecretValue", "throttled"), ("GetSecretValue", "ok"), ("GetSecretValue", "absent")]


@pytest.mark.parametrize("trouble", ["quoting", "refused", "malformed", "throttled", "lost", "exists"])
def test_no_error_and_no_log_shows_a_value(
    stores: AwsStores, secret: Arn, proxy: StoreProxy, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    caplog.set_level(logging.DEBUG)
    store, new = stores.at(), VersionId(str(uuid.uuid4()))
    value = SecretValue.parse(f'{{"password": "{CANARY}"}}')
    match trouble:
        case "quoting":
            proxy.answer_with("ValidationException", f"Value '{CANARY}' at 'secretString' failed to satisfy constraint")
        case "refused":
            proxy.answer_with("InvalidParameterException", f"what is {CANARY}?")
        case "malformed":
            new = VersionId("short")
        case "throttled":
            proxy.answer_with("ThrottlingException")
        case "lost":
            proxy.trap(1, lambda _: None, moment=Moment.ANSWERED)
            proxy.trap(2, lambda _: None, moment=Moment.ANSWERED)
        case "exists":
            store.put_pending(secret, new, SecretValue.parse("{}"))
    store_error = caught(lambda: store.put_pending(secret, new, value))
    shown = "".join(traceback.TracebackException.from_exception(store_error, capture_locals=True).format())
    assert store_error.__context__ is None
    assert store_error.__cause__ is None
    for text in (str(store_error), repr(store_error), shown, caplog.text):
        assert CANARY not in text


def test_what_is_read_shows_in_no_log(
    store: AwsStore, secret: Arn, caplog: pytest.LogCaptureFixture, proxy: StoreProxy
) -> None:
    caplog.set_level(logging.DEBUG)
    new = VersionId(str(uuid.uuid4()))
    store.put_pending(secret, new, SecretValue.parse(f'{{"password": "{CANARY}"}}'))
    proxy.answer_with("ResourceNotFoundException", name="GetSecretValue", times=1)
    found = store.get(secret, version_id=new)
    assert found.value.fields == {"password": CANARY}
    assert CANARY not in caplog.text
    assert CANARY not in repr(found)


def caught(call: Callable[[], object]) -> StoreError:
    with pytest.raises(StoreError) as found:
        call()
    return found.value


def test_who_may_write_no_more_sends_a_write_that_failed_not_again(
    account: SecretsManager, secret: Arn, proxy: StoreProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoMore(Exception):
        pass

    def ask() -> None:
        if proxy.count():
            raise NoMore

    for name, value in account.environment().items():
        monkeypatch.setenv(name, value)
    store = AwsStores(AwsSettings(region="eu-west-1", endpoint_url=proxy.endpoint_url), before_write=ask).at()
    proxy.answer_with("ThrottlingException", times=1)
    with pytest.raises(NoMore):
        store.move_stage(secret, Stage.PENDING, remove_from=VersionId(str(uuid.uuid4())))
    assert proxy.count() == 1
    store.describe(secret)


def test_who_may_write_no_more_sends_a_change_of_another_service_not_again(
    account: SecretsManager, proxy: StoreProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoMore(Exception):
        pass

    asked = []

    def ask() -> None:
        asked.append(proxy.count())
        if proxy.count():
            raise NoMore

    for name, value in account.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_ELASTICACHE", proxy.endpoint_url)
    stores = AwsStores(AwsSettings(region="eu-west-1"), before_write=ask)
    user = CacheUser("arn:aws:elasticache:…:user:orders", "orders", "eu-west-1", "orders", "arn:aws:secretsmanager:…")
    proxy.trap(1, lambda _: None)
    with pytest.raises(NoMore):
        ElastiCacheApi(stores.client).modify(user, ["a-long-enough-password"])
    assert ([call.name for call in proxy.calls], asked) == (["ModifyUser"], [0, 1])
    stores.client("sts", "eu-west-1").get_caller_identity()
    assert len(asked) == 2
