"""A secret that moved without us is looked at, at one request a poll for all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import boto3
import pytest

from rotated_secrets.controller.feed import Feeds
from rotated_secrets.controller.key import Key
from rotated_secrets.controller.registry import Registry
from rotated_secrets.secretstores.aws import AwsSettings, AwsStores
from rotated_secrets.values import Arn, Stage, VersionId
from sandbox.secretsmanager import SecretsManager, secrets_manager


@pytest.fixture(scope="module")
def running_store() -> Iterator[SecretsManager]:
    with secrets_manager() as running:
        yield running


class Account:
    """A store's account with secrets, and what the feed asked of it."""

    def __init__(self, store: SecretsManager) -> None:
        self.client = store.client()
        self.region = store.region
        self.requests: list[str] = []
        self.looked: list[Key] = []
        self.registry = Registry(store.region)
        session = boto3.session.Session(store.access_key_id, store.secret_access_key, region_name=store.region)
        stores = AwsStores(
            AwsSettings(endpoint_url=store.endpoint_url), lambda operation, _: self.requests.append(operation), session
        )
        self.feeds = Feeds(stores, self.registry, self.looked.append)

    def make(self, name: str) -> Arn:
        return Arn(self.client.create_secret(Name=name, SecretString=json.dumps({"password": "first"}))["ARN"])

    def know(self, name: str, secret_id: str, region: str | None = None) -> Key:
        metadata = {"namespace": "shop", "name": name, "uid": name, "creationTimestamp": "2026-11-22T00:00:00Z"}
        self.registry.observe({"metadata": metadata, "spec": {"source": {"secretId": secret_id, "region": region}}})
        return Key("shop", name)

    def poll(self) -> list[Key]:
        self.looked.clear()
        self.requests.clear()
        self.feeds.poll()
        return list(self.looked)


@pytest.fixture
def account(running_store: SecretsManager) -> Account:
    return Account(running_store.empty_account())


def test_those_that_name_a_secret_hear_that_it_moved(account: Account) -> None:
    arn = account.make("shop/orders")
    account.make("shop/other")
    by_name, by_arn = account.know("by-name", "shop/orders"), account.know("by-arn", arn)
    account.know("other", "shop/other")
    account.poll()
    assert account.poll() == []
    account.client.put_secret_value(SecretId=arn, SecretString="moved")
    assert sorted(account.poll()) == sorted([by_name, by_arn])
    assert account.poll() == []


def test_what_was_noted_is_no_news(account: Account) -> None:
    arn = account.make("shop/orders")
    account.know("orders", "shop/orders")
    account.poll()
    version = VersionId(account.client.put_secret_value(SecretId=arn, SecretString="by us")["VersionId"])
    before = account.client.describe_secret(SecretId=arn)["VersionIdsToStages"]
    account.feeds.at(account.region).noted(
        arn, {VersionId(each): frozenset(map(Stage, stages)) for each, stages in before.items()}
    )
    assert version in before
    assert account.poll() == []


def test_a_poll_costs_one_request_a_hundred_secrets(account: Account) -> None:
    for n in range(101):
        account.make(f"shop/secret-{n}")
    account.know("orders", "shop/secret-1")
    account.poll()
    account.poll()
    assert account.requests == ["ListSecrets"] * 2


def test_without_rotated_secrets_nothing_is_asked(account: Account) -> None:
    account.make("shop/orders")
    assert account.poll() == []
    assert account.requests == []


def test_one_region_in_trouble_does_not_silence_the_others(account: Account, caplog: pytest.LogCaptureFixture) -> None:
    arn = account.make("shop/orders")
    key = account.know("orders", "shop/orders")
    account.know("lost", "shop/orders", region="no region at all")
    account.poll()
    account.client.put_secret_value(SecretId=arn, SecretString="moved")
    assert account.poll() == [key]
    assert "no region at all" in caplog.text
