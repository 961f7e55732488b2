"""The feed sees what moves in the store, and what a poll costs."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from rotated_secrets.secretstores.aws import AwsStores
from rotated_secrets.secretstores.aws_store import AwsStore
from rotated_secrets.secretstores.base import StoreUnavailable
from rotated_secrets.secretstores.feed import Change, PollFeed
from rotated_secrets.values import Arn, SecretValue, VersionId
from sandbox.secretsmanager import SecretsManager
from sandbox.store_proxy import StoreProxy

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


def everything(_: Arn) -> bool:
    return True


@pytest.fixture
def feed(stores: AwsStores, store: AwsStore, proxy: StoreProxy) -> PollFeed:
    """A feed that has seen all there is."""
    feed = PollFeed(lambda: store, stores.account(), include=everything)
    feed.changes()
    proxy.clear()
    return feed


def test_an_idle_poll_costs_a_call_a_hundred_secrets(
    aws: SecretsManagerClient, stores: AwsStores, store: AwsStore, proxy: StoreProxy
) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: aws.create_secret(Name=f"s{number}", SecretString="{}"), range(101)))
    feed = PollFeed(lambda: store, stores.account(), include=everything)
    feed.changes()
    proxy.clear()
    for _ in range(3):
        assert feed.changes() == []
    assert [call.name for call in proxy.calls] == ["ListSecrets"] * 6


def test_sees_what_someone_else_moved(aws: SecretsManagerClient, store: AwsStore, secret: Arn, feed: PollFeed) -> None:
    aws.put_secret_value(SecretId=secret, SecretString='{"password": "theirs"}')
    assert feed.changes() == [Change(secret, "shop/orders-db", store.describe(secret).stages)]
    assert feed.changes() == []


def test_is_silent_about_what_we_moved_ourselves(store: AwsStore, secret: Arn, feed: PollFeed) -> None:
    store.put_pending(secret, VersionId(str(uuid.uuid4())), SecretValue.parse("{}"))
    feed.track(secret, store.describe(secret).stages)
    assert feed.changes() == []


def test_sees_a_secret_come_and_go(aws: SecretsManagerClient, store: AwsStore, feed: PollFeed) -> None:
    arn = Arn(aws.create_secret(Name="shop/new", SecretString="{}")["ARN"])
    assert feed.changes() == [Change(arn, "shop/new", store.describe(arn).stages)]
    aws.delete_secret(SecretId=arn)
    assert feed.changes() == [Change(arn, "shop/new", None)]
    aws.restore_secret(SecretId=arn)
    assert [change.arn for change in feed.changes()] == [arn]


def test_a_failed_poll_loses_nothing(aws: SecretsManagerClient, secret: Arn, feed: PollFeed, proxy: StoreProxy) -> None:
    aws.put_secret_value(SecretId=secret, SecretString="{}")
    proxy.answer_with("InternalServiceError", status=500)
    with pytest.raises(StoreUnavailable):
        feed.changes()
    proxy.clear()
    assert [change.arn for change in feed.changes()] == [secret]


def test_secrets_of_another_account_are_described_one_by_one(
    account: SecretsManager, aws: SecretsManagerClient, proxy: StoreProxy, secret: Arn, feed: PollFeed, store: AwsStore
) -> None:
    theirs = Arn(secret.replace(account.access_key_id, "999999999999"))
    feed.track(theirs, store.describe(secret).stages)
    proxy.clear()
    feed.changes()
    assert [call.name for call in proxy.calls] == ["ListSecrets", "DescribeSecret"]
    feed.forget(theirs)
    proxy.clear()
    feed.changes()
    assert [call.name for call in proxy.calls] == ["ListSecrets"]


def test_one_who_follows_few_secrets_keeps_few_rows_and_lists_only_where_that_is_fewer_calls(
    aws: SecretsManagerClient, stores: AwsStores, store: AwsStore, proxy: StoreProxy, secret: Arn
) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda number: aws.create_secret(Name=f"s{number}", SecretString="{}"), range(100)))
    others = [Arn(each["ARN"]) for each in made[:2]]
    feed = PollFeed(lambda: store, stores.account())
    calls = []
    for arn in (secret, *others, None):
        if arn is not None:
            feed.track(arn, store.describe(arn).stages)
        proxy.clear()
        assert feed.changes() == []
        calls.append([call.name for call in proxy.calls])
    assert calls[0] == ["DescribeSecret"]
    assert calls[1] == ["ListSecrets"] * 2, "how many pages there are is not known yet"
    assert calls[2] == calls[3] == ["ListSecrets"] * 2, "three secrets, two pages"
    assert len(feed) == 3
    feed.forget(others[1])
    proxy.clear()
    aws.put_secret_value(SecretId=secret, SecretString="moved")
    aws.put_secret_value(SecretId=others[1], SecretString="moved")
    assert [change.arn for change in feed.changes()] == [secret]
    assert [call.name for call in proxy.calls] == ["DescribeSecret"] * 2
    assert len(feed) == 2
