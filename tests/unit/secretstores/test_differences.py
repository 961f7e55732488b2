"""What counts as a change between two listings, one of which may be late."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rotated_secrets.secretstores.base import (
    AccessDenied,
    AwsRotation,
    SecretDescription,
    SecretNotFound,
    SecretSummary,
    Stages,
    StoreError,
    StoreRefused,
    StoreThrottled,
    StoreUnavailable,
)
from rotated_secrets.secretstores.feed import LIST_RETRY_SECONDS, Change, PollFeed, differences
from rotated_secrets.values import Arn, SecretId, Stage, VersionId

ARN = Arn("arn:aws:secretsmanager:eu-west-1:111111111111:secret:shop/db-AbCdEf")
THEIRS = Arn("arn:aws:secretsmanager:eu-west-1:222222222222:secret:shared/db-AbCdEf")
OTHER = Arn("arn:aws:secretsmanager:eu-west-1:111111111111:secret:shop/other-AbCdEf")
OLD: Stages = {VersionId("a"): frozenset({Stage.CURRENT})}
NEW: Stages = {VersionId("a"): frozenset({Stage.PREVIOUS}), VersionId("b"): frozenset({Stage.CURRENT})}


def many(count: int) -> list[Arn]:
    return [Arn(ARN.replace("shop/db", f"theirs/{number}")) for number in range(count)]


def rows(stages: Stages | None, arn: Arn = ARN) -> dict[Arn, SecretSummary]:
    return {} if stages is None else {arn: SecretSummary(arn, "shop/db", stages)}


@pytest.mark.parametrize(
    ("before", "now", "known", "changed"),
    [
        pytest.param(OLD, NEW, OLD, True, id="someone else moved it"),
        pytest.param(OLD, NEW, None, True, id="moved, and nobody had read it"),
        pytest.param(OLD, OLD, OLD, False, id="nothing happened"),
        pytest.param(OLD, NEW, NEW, False, id="the listing catches up with our own move"),
        pytest.param(OLD, OLD, NEW, False, id="the listing is late"),
        pytest.param(None, NEW, NEW, False, id="first listing, read before"),
        pytest.param(None, NEW, OLD, True, id="first listing, moved since it was read"),
        pytest.param(None, NEW, None, True, id="a new secret"),
        pytest.param(None, None, OLD, False, id="not listed yet"),
    ],
)
def test_differences(before: Stages | None, now: Stages | None, known: Stages | None, changed: bool) -> None:
    found = list(differences(rows(before), rows(now), {} if known is None else {ARN: known}))
    assert found == ([Change(ARN, "shop/db", now)] if changed else [])


def test_a_secret_that_left_the_listing_is_gone_once() -> None:
    assert list(differences(rows(OLD), {}, {ARN: OLD})) == [Change(ARN, "shop/db", None)]
    assert list(differences({}, {}, {ARN: OLD})) == []


def test_the_account_is_read_from_the_arn() -> None:
    assert (ARN.account, THEIRS.account) == ("111111111111", "222222222222")


REPLICA = AwsRotation(primary_region="us-east-1")
PROMOTED = AwsRotation()


@pytest.mark.parametrize(
    ("before", "now", "known", "changed"),
    [
        pytest.param(REPLICA, PROMOTED, REPLICA, True, id="a replica is promoted"),
        pytest.param(None, PROMOTED, REPLICA, True, id="promoted between the look and the first listing"),
        pytest.param(REPLICA, PROMOTED, None, True, id="promoted, and no look has read it"),
        pytest.param(REPLICA, PROMOTED, PROMOTED, False, id="the listing catches up with the look"),
        pytest.param(REPLICA, REPLICA, PROMOTED, False, id="the listing is late"),
        pytest.param(None, PROMOTED, None, False, id="first listing, no look has read it"),
        pytest.param(AwsRotation(), AwsRotation(enabled=True), AwsRotation(), True, id="AWS rotates it from now on"),
        pytest.param(AwsRotation(enabled=True), AwsRotation(), None, True, id="AWS rotates it no more"),
    ],
)
def test_a_secret_that_aws_rotates_otherwise_than_before_is_reported(
    before: AwsRotation | None, now: AwsRotation, known: AwsRotation | None, changed: bool
) -> None:
    def listing(rotation: AwsRotation | None) -> dict[Arn, SecretSummary]:
        return {} if rotation is None else {ARN: SecretSummary(ARN, "shop/db", OLD, rotation)}

    rotations = {} if known is None else {ARN: known}
    found = list(differences(listing(before), listing(now), {ARN: OLD}, rotations))
    assert found == ([Change(ARN, "shop/db", OLD)] if changed else [])


def everything(_: Arn) -> bool:
    return True


class SharedStore:
    """A store with a few secrets of its own account, and one that another account shares."""

    def __init__(self) -> None:
        self.described: list[str] = []
        self.answer: Stages | Exception = OLD
        self.listed: dict[Arn, SecretSummary] = {}
        self.replica = AwsRotation()

    def list_summaries(self) -> Iterator[SecretSummary]:
        return iter(self.listed.values())

    def describe(self, secret: SecretId | Arn) -> SecretDescription:
        self.described.append(secret)
        if isinstance(self.answer, Exception):
            raise self.answer
        return SecretDescription(Arn(secret), "shared/db", self.answer, primary_region=self.replica.primary_region)


def feed_of(store: SharedStore, **settings: Any) -> PollFeed:
    return PollFeed(lambda: store, "111111111111", **settings)  # type: ignore[arg-type, return-value]  # the rest rotates


@pytest.mark.parametrize("error", [AccessDenied, StoreUnavailable, StoreThrottled, StoreRefused])
def test_shared_secret_is_tracked_and_its_errors_do_not_block_others(error: type[StoreError]) -> None:
    store = SharedStore()
    feed = feed_of(store, include=everything)
    feed.track(THEIRS, OLD)
    assert feed.changes() == []
    store.answer = NEW
    assert feed.changes() == [Change(THEIRS, "shared/db", NEW)]
    store.answer, store.listed = error("not now"), rows(NEW)
    assert feed.changes() == [Change(ARN, "shop/db", NEW)]
    store.answer = SecretNotFound("gone")
    assert feed.changes() == [Change(THEIRS, "shared/db", None)]


@pytest.mark.parametrize("arn", [ARN, THEIRS], ids=["listed", "described"])
def test_promoted_replica_is_reported_at_the_next_poll(arn: Arn) -> None:
    store = SharedStore()
    feed = feed_of(store, include=everything)
    feed.track(arn, OLD, REPLICA)
    store.replica = REPLICA
    store.listed = {ARN: SecretSummary(ARN, "shop/db", OLD, REPLICA)} if arn == ARN else {}
    assert feed.changes() == []
    store.replica = PROMOTED
    store.listed = rows(OLD) if arn == ARN else {}
    assert [change.arn for change in feed.changes()] == [arn]
    assert feed.changes() == []


def test_replica_that_was_promoted_after_the_look_is_reported_at_the_first_poll() -> None:
    store = SharedStore()
    feed = feed_of(store, include=everything)
    feed.track(ARN, OLD, REPLICA)
    store.listed = rows(OLD)
    assert [change.arn for change in feed.changes()] == [ARN]
    feed.forget(ARN)
    feed.track(ARN, OLD)
    assert feed.changes() == []


def test_feed_tracks_a_secret_until_it_is_forgotten() -> None:
    feed = feed_of(SharedStore())
    assert not feed.tracks_any()
    feed.track(ARN, OLD)
    feed.track(THEIRS, OLD)
    feed.forget(ARN)
    assert feed.tracks_any()
    feed.forget(THEIRS)
    assert not feed.tracks_any()


class Unlisted(SharedStore):
    """A store that refuses ListSecrets until it is allowed; it counts the attempts."""

    def __init__(self) -> None:
        super().__init__()
        self.tried, self.may = 0, False

    def list_summaries(self) -> Iterator[SecretSummary]:
        self.tried += 1
        if not self.may:
            raise AccessDenied("allow secretsmanager:ListSecrets")
        return super().list_summaries()


def test_identity_that_may_not_list_describes_tracked_secrets_and_logs_it_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, time = Unlisted(), [1.0]
    feed = feed_of(store, identity_name="role orders", clock=lambda: time[0])
    feed.track(ARN, OLD)
    feed.track(OTHER, OLD)
    assert feed.changes() == []
    store.answer = NEW
    assert feed.changes() == [Change(ARN, "shared/db", NEW), Change(OTHER, "shared/db", NEW)]
    assert store.tried == 1
    time[0] += LIST_RETRY_SECONDS
    assert feed.changes() == []
    assert store.tried == 2
    assert caplog.text.count("each secret of role orders is described") == 1
    time[0] += LIST_RETRY_SECONDS
    feed.track(ARN, NEW)
    feed.track(OTHER, NEW)
    store.may, store.listed = True, rows(OLD) | rows(NEW, OTHER)
    assert feed.changes() == [Change(ARN, "shop/db", OLD)]


def test_identity_that_tracks_one_secret_never_lists() -> None:
    store = Unlisted()
    feed = feed_of(store)
    feed.track(ARN, OLD)
    feed.changes()
    assert (store.tried, store.described) == (0, [ARN])


def test_untracked_secret_is_neither_kept_nor_reported() -> None:
    store = Unlisted()
    store.may = True
    feed = feed_of(store)
    feed.track(ARN, OLD)
    feed.track(OTHER, OLD)
    for tried, stages in enumerate((OLD, NEW), start=1):
        store.listed = rows(OLD) | rows(OLD, OTHER)
        for arn in many(90):
            store.listed |= rows(stages, arn)
        assert feed.changes() == []
        assert (store.tried, len(feed)) == (tried, 2)
    store.listed |= rows(NEW)
    assert feed.changes() == [Change(ARN, "shop/db", NEW)]
    feed.forget(OTHER)
    feed.changes()
    assert len(feed) == 1


def test_large_account_is_listed_once_if_few_secrets_are_tracked() -> None:
    store = Unlisted()
    store.may = True
    feed = feed_of(store)
    feed.track(ARN, OLD)
    feed.track(OTHER, OLD)
    store.listed = {arn: SecretSummary(arn, "shop/db", OLD) for arn in (*many(5000), ARN, OTHER)}
    for _ in range(3):
        assert feed.changes() == []
        assert len(feed) == 2
    assert (store.tried, store.described) == (1, [ARN, OTHER] * 2)


def test_poll_that_takes_too_long_continues_at_the_next_poll() -> None:
    store, time = SharedStore(), [0.0]

    def clock() -> float:
        time[0] += 1  # with every look at it
        return time[0]

    feed = feed_of(store, seconds=2, clock=clock)
    wanted = [arn.replace("111111111111", "222222222222") for arn in many(5)]
    for arn in wanted:
        feed.track(Arn(arn), OLD)
    store.answer = NEW
    message = [{change.arn for change in feed.changes()} for _ in range(6)]
    assert max(map(len, message)) < len(wanted)
    assert set().union(*message) == set(wanted)
    assert store.described[: len(wanted)] == wanted


def test_identity_that_must_list_does_not_describe_instead() -> None:
    feed = feed_of(Unlisted(), include=everything)
    feed.track(ARN, OLD)
    with pytest.raises(AccessDenied):
        feed.changes()
