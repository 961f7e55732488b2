"""A real store behind a proxy, an account of its own for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rotated_secrets.secretstores.aws import AwsSettings, AwsStores
from rotated_secrets.secretstores.aws_store import AwsStore
from rotated_secrets.values import Arn
from sandbox.secretsmanager import SecretsManager
from sandbox.store_proxy import StoreProxy, store_proxy

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

Requests = list[tuple[str, str]]
"""What ``on_request`` was told: operations and outcomes."""


@pytest.fixture
def account(running_store: SecretsManager) -> SecretsManager:
    """An account that holds nothing yet."""
    return running_store.empty_account()


@pytest.fixture
def aws(account: SecretsManager) -> SecretsManagerClient:
    """A person with a client of their own, past the proxy."""
    return account.client()


@pytest.fixture
def proxy(account: SecretsManager) -> Iterator[StoreProxy]:
    with store_proxy(account.endpoint_url) as running:
        yield running


@pytest.fixture
def requests() -> Requests:
    return []


@pytest.fixture
def connect(
    account: SecretsManager, proxy: StoreProxy, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> Callable[[AwsSettings], AwsStores]:
    """The operator's stores in the test's account, with other settings.

    The operator's own region is reached through the proxy; STS and other regions, where the SDK says, past it.
    """
    monkeypatch.setenv("AWS_ENDPOINT_URL", account.endpoint_url)

    def connected(settings: AwsSettings) -> AwsStores:
        session = account.session()
        return AwsStores(
            replace(settings, endpoint_url=proxy.endpoint_url),
            lambda operation, outcome: requests.append((operation, outcome)),
            session,
        )

    return connected


@pytest.fixture
def stores(account: SecretsManager, connect: Callable[[AwsSettings], AwsStores]) -> AwsStores:
    return connect(AwsSettings(region=account.region, read_timeout=5, attempts=2))


@pytest.fixture
def store(stores: AwsStores) -> AwsStore:
    return stores.at()


@pytest.fixture
def secret(aws: SecretsManagerClient) -> Arn:
    """A secret with one version."""
    return Arn(aws.create_secret(Name="shop/orders-db", SecretString='{"password": "one"}')["ARN"])
