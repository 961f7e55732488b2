"""The proxy in front of the store counts calls, stops them where asked, and breaks the network."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import botocore.exceptions
import pytest
from botocore.exceptions import ClientError, HTTPClientError

from sandbox.proxy import Call, Moment
from sandbox.secretsmanager import SecretsManager
from sandbox.store_proxy import StoreProxy, store_proxy

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

LOST = (botocore.exceptions.ConnectionError, HTTPClientError)


@pytest.fixture
def proxy(store: SecretsManager) -> Iterator[StoreProxy]:
    with store_proxy(store.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def through(store: SecretsManager, proxy: StoreProxy) -> SecretsManager:
    """The same account, by way of the proxy."""
    return replace(store, endpoint_url=proxy.endpoint_url)


@pytest.fixture
def client(through: SecretsManager) -> SecretsManagerClient:
    client = through.client()
    client.create_secret(Name="shop/db", SecretString="{}")
    return client


def test_lists_calls_by_operation_and_secret(
    client: SecretsManagerClient, through: SecretsManager, proxy: StoreProxy
) -> None:
    client.get_secret_value(SecretId="shop/db")
    client.list_secrets()
    through.client("sts").get_caller_identity()
    assert proxy.calls == (
        Call(1, "CreateSecret", "shop/db"),
        Call(2, "GetSecretValue", "shop/db"),
        Call(3, "ListSecrets"),
        Call(4, "GetCallerIdentity"),
    )
    assert (proxy.count(), proxy.count("GetSecretValue")) == (4, 1)
    proxy.clear()
    assert proxy.count() == 0


def test_what_is_stopped_when_seen_never_reaches_the_store(
    client: SecretsManagerClient, store: SecretsManager, proxy: StoreProxy
) -> None:
    sprung: list[Call] = []
    proxy.trap(2, sprung.append, name="PutSecretValue")
    client.put_secret_value(SecretId="shop/db", SecretString="first")
    with pytest.raises(LOST):
        client.put_secret_value(SecretId="shop/db", SecretString="second")
    assert [call.name for call in sprung] == ["PutSecretValue"]
    assert store.client().get_secret_value(SecretId="shop/db")["SecretString"] == "first"


def test_what_is_stopped_when_answered_was_done(
    client: SecretsManagerClient, store: SecretsManager, proxy: StoreProxy
) -> None:
    done: list[str] = []

    def look(_: Call) -> None:
        done.append(store.client().get_secret_value(SecretId="shop/db")["SecretString"])

    proxy.trap(1, look, moment=Moment.ANSWERED)
    with pytest.raises(LOST):
        client.put_secret_value(SecretId="shop/db", SecretString="second")
    assert done == ["second"]


def test_something_can_happen_between_two_calls(
    client: SecretsManagerClient, store: SecretsManager, proxy: StoreProxy
) -> None:
    proxy.trap(1, lambda _: store.client().put_secret_value(SecretId="shop/db", SecretString="theirs"), cut=False)
    assert client.get_secret_value(SecretId="shop/db")["SecretString"] == "theirs"


def test_answers_with_an_error_as_often_as_asked(client: SecretsManagerClient, proxy: StoreProxy) -> None:
    proxy.answer_with("ThrottlingException", "Rate exceeded", name="GetSecretValue", subject="shop/db", times=1)
    client.describe_secret(SecretId="shop/db")
    with pytest.raises(ClientError, match=r"\(ThrottlingException\).*: Rate exceeded"):
        client.get_secret_value(SecretId="shop/db")
    client.get_secret_value(SecretId="shop/db")


def test_nobody_gets_through_a_partition(client: SecretsManagerClient, proxy: StoreProxy) -> None:
    with proxy.partitioned(), pytest.raises(LOST):
        client.list_secrets()
    assert proxy.count("ListSecrets") == 0
    client.list_secrets()


def test_a_stalled_call_goes_on_afterwards(client: SecretsManagerClient, proxy: StoreProxy) -> None:
    caller = threading.Thread(target=client.list_secrets)
    with proxy.stalled():
        caller.start()
        caller.join(0.1)
        assert caller.is_alive()
    caller.join(10)
    assert not caller.is_alive()


def test_calls_are_delayed(client: SecretsManagerClient, proxy: StoreProxy) -> None:
    proxy.delay(0.2)
    started = time.monotonic()
    client.list_secrets()
    assert time.monotonic() - started >= 0.2


def test_a_trap_that_fails_fails_the_test(store: SecretsManager) -> None:
    def fail(_: Call) -> None:
        raise AssertionError("seen too early")

    with pytest.raises(AssertionError, match="seen too early"), store_proxy(store.endpoint_url) as proxy:
        proxy.trap(1, fail)
        with pytest.raises(LOST):
            replace(store, endpoint_url=proxy.endpoint_url).client().list_secrets()
