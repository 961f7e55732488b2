"""A secret that moved without us is looked at, at one request a poll for all of them."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass

import pytest
from kubernetes.client import Configuration

from rotated_secrets.api.key import Key
from rotated_secrets.cluster import Cluster
from rotated_secrets.controller.aws.change_feeds import ChangeFeeds
from rotated_secrets.controller.aws.identities import Identities, Identity
from rotated_secrets.controller.aws.service_accounts import ServiceAccounts
from rotated_secrets.controller.watch.index import Index
from rotated_secrets.secretstores.aws import AwsSettings, AwsStores
from rotated_secrets.secretstores.base import SecretDescription, SecretStore, Stages, StoreUnavailable
from rotated_secrets.secretstores.roles import AssumedRole
from rotated_secrets.values import Arn, Stage, VersionId
from sandbox.secretsmanager import SecretsManager
from sandbox.waiting import eventually


@dataclass(frozen=True)
class Elsewhere:
    """A region with nothing but this store."""

    store: SecretStore

    def at(self, region: str) -> SecretStore:
        return self.store


class Hangs:
    """A store that does not answer until it may."""

    def __init__(self) -> None:
        self.asked, self.may = threading.Semaphore(0), threading.Event()
        self.calls = 0

    def describe(self, secret: Arn) -> SecretDescription:
        self.calls += 1
        self.asked.release()
        self.may.wait(10)
        raise StoreUnavailable("too late")


class Account:
    """A store's account with secrets, and what the feed asked of it."""

    def __init__(self, store: SecretsManager) -> None:
        self.client = store.client()
        self.region = store.region
        self.requests: list[str] = []
        self.looked: list[Key] = []
        self.registry = Index(store.region)
        stores = AwsStores(
            AwsSettings(endpoint_url=store.endpoint_url, attempts=1),
            lambda operation, _: self.requests.append(operation),
            store.session(store.region),
        )
        nowhere = ServiceAccounts(Cluster(Configuration(), timeout=1, connections=1, retries=0))
        self.identities = Identities(stores, nowhere, None)
        self.feeds = ChangeFeeds(self.identities, self.registry, self.looked.append)

    def identity(self, role: str, *, store: SecretStore | None = None) -> Identity:
        """Somebody else who reaches the same account, or only this store."""
        stores = self.identities.own.stores
        made = stores if store is None else Elsewhere(store)
        return Identity(lambda: made, AssumedRole(Arn(f"arn:aws:iam::{stores.account()}:role/{role}"), role))  # type: ignore[return-value, arg-type]

    def make(self, name: str) -> Arn:
        return Arn(self.client.create_secret(Name=name, SecretString=json.dumps({"password": "first"}))["ARN"])

    def know(self, name: str, secret_id: str, region: str | None = None) -> Key:
        metadata = {"namespace": "shop", "name": name, "uid": name, "creationTimestamp": "2026-11-22T00:00:00Z"}
        self.registry.observe({"metadata": metadata, "spec": {"source": {"secretId": secret_id, "region": region}}})
        return Key("shop", name)

    def look_at(self, arn: Arn) -> None:
        """What a look at a RotatedSecret of this secret tells the feed."""
        stages = self.client.describe_secret(SecretId=arn)["VersionIdsToStages"]
        known = {VersionId(version): frozenset(map(Stage, labels)) for version, labels in stages.items()}
        self.note(Key("shop", "looked-at"), arn, known)

    def note(self, key: Key, arn: Arn, stages: Stages, region: str | None = None) -> None:
        self.feeds.track(key, self.identities.own, region or self.region, arn, stages)

    def poll(self) -> list[Key]:
        self.looked.clear()
        self.requests.clear()
        self.feeds.poll()
        return list(self.looked)


@pytest.fixture
def account(running_store: SecretsManager, monkeypatch: pytest.MonkeyPatch) -> Account:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", running_store.endpoint_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")  # other regions are out of reach
    return Account(running_store.empty_account())


def test_those_that_name_a_secret_hear_that_it_moved(account: Account) -> None:
    arn = account.make("shop/orders")
    account.make("shop/other")
    by_name, by_arn = account.know("by-name", "shop/orders"), account.know("by-arn", arn)
    account.know("other", "shop/other")
    account.look_at(arn)
    account.poll()
    assert account.poll() == []
    account.client.put_secret_value(SecretId=arn, SecretString="moved")
    assert sorted(account.poll()) == sorted([by_name, by_arn])
    assert account.poll() == []


def test_what_was_noted_is_no_news(account: Account) -> None:
    arn = account.make("shop/orders")
    account.know("orders", "shop/orders")
    account.look_at(arn)
    account.poll()
    account.client.put_secret_value(SecretId=arn, SecretString="by us")
    account.look_at(arn)
    assert account.poll() == []


def test_a_poll_costs_one_request_a_hundred_secrets(account: Account) -> None:
    arns = [account.make(f"shop/secret-{n}") for n in range(101)]
    account.know("orders", arns[1])
    account.look_at(arns[1])
    account.poll()
    account.poll()
    assert account.requests == ["ListSecrets"] * 2


def test_what_no_look_has_read_is_not_asked_about(account: Account) -> None:
    """Anybody may name any region; whether they may have the secret is what the look asks first."""
    arn = account.make("shop/orders")
    account.know("orders", "shop/orders")
    account.know("denied", "shop/orders", region="us-east-1")
    assert account.poll() == []
    assert account.requests == []
    account.look_at(arn)
    account.feeds.forget(Key("shop", "looked-at"))
    assert account.poll() == []
    assert account.requests == []


def test_what_one_identity_is_told_wakes_those_that_use_it_and_nobody_else(account: Account) -> None:
    arn = account.make("shop/orders")
    own, theirs, others = account.know("own", arn), account.know("theirs", arn), account.know("others", arn)
    stages: Stages = {VersionId("before"): frozenset({Stage.CURRENT})}
    account.feeds.track(theirs, account.identity("theirs"), account.region, arn, stages)
    assert account.poll() == [theirs]
    assert account.requests == ["DescribeSecret"]
    account.look_at(arn)
    account.poll()
    account.client.put_secret_value(SecretId=arn, SecretString="moved")
    account.feeds.forget(theirs)
    assert set(account.poll()) == {own, theirs, others}, "the operator asks for all three as itself"


def test_operators_own_feed_keeps_what_a_resource_names_of_an_account(account: Account) -> None:
    arn = account.make("shop/orders")
    for number in range(20):
        account.make(f"other/{number}")
    account.know("orders", "shop/orders")
    waits = account.know("waits", "shop/later")
    account.look_at(arn)
    account.poll()
    (feed,) = account.feeds._feeds.values()
    assert len(feed) == 1
    account.make("shop/later")
    assert account.poll() == [waits]


def test_identity_that_hangs_holds_up_nobody_and_is_not_asked_twice(account: Account) -> None:
    arn = account.make("shop/orders")
    stages: Stages = {VersionId("before"): frozenset({Stage.CURRENT})}
    store = Hangs()
    hangs, works = account.know("hangs", arn), account.know("works", arn)
    slow, quick = account.identity("slow", store=store), account.identity("quick")  # type: ignore[arg-type]
    account.feeds.track(hangs, slow, account.region, arn, stages)
    account.feeds.track(works, quick, account.region, arn, stages)
    account.note(Key("shop", "own"), arn, stages)
    try:
        account.feeds.poll(timeout=0.5)
        assert store.asked.acquire(timeout=10)
        assert set(account.looked) == {hangs, works}
        account.requests.clear()
        account.feeds.poll(timeout=0.5)
        assert sorted(account.requests) == ["DescribeSecret", "ListSecrets"]
        assert store.calls == 1
    finally:
        store.may.set()

    # A poll that comes before the one that hung has ended waits for it, and asks nothing more.
    def asked_again() -> bool:
        account.poll()
        return store.calls > 1

    eventually(asked_again, "it is asked again")
    assert store.calls == 1 + 1


def test_one_region_in_trouble_does_not_silence_the_others(account: Account, caplog: pytest.LogCaptureFixture) -> None:
    elsewhere = Arn("arn:aws:secretsmanager:us-east-1:123456789012:secret:lost-AbCdEf")
    account.note(Key("shop", "lost"), elsewhere, {}, region="us-east-1")
    arn = account.make("shop/orders")
    key = account.know("orders", "shop/orders")
    account.look_at(arn)
    account.poll()
    account.client.put_secret_value(SecretId=arn, SecretString="moved")
    assert account.poll() == [key]
    assert "could not list changed secrets in region us-east-1" in caplog.text
