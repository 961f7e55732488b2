"""What counts as a change between two listings, one of which may be late."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rotated_secrets.secretstores.base import (
    AccessDenied,
    SecretDescription,
    SecretNotFound,
    SecretSummary,
    Stages,
    StoreError,
    StoreRefused,
    StoreThrottled,
    StoreUnavailable,
)
from rotated_secrets.secretstores.feed import LIST_AGAIN, Change, PollFeed, account_of, differences
from rotated_secrets.values import Arn, SecretId, Stage, VersionId

ARN = Arn("arn:aws:secretsmanager:eu-west-1:111111111111:secret:shop/db-AbCdEf")
THEIRS = Arn("arn:aws:secretsmanager:eu-west-1:222222222222:secret:shared/db-AbCdEf")
OLD: Stages = {VersionId("a"): frozenset({Stage.CURRENT})}
NEW: Stages = {VersionId("a"): frozenset({Stage.PREVIOUS}), VersionId("b"): frozenset({Stage.CURRENT})}


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
    assert (account_of(ARN), account_of(THEIRS)) == ("111111111111", "222222222222")


class SharedStore:
    """A store with a few secrets of its own account, and one that another account shares."""

    def __init__(self) -> None:
        self.answer: Stages | Exception = OLD
        self.listed: dict[Arn, SecretSummary] = {}

    def list_summaries(self) -> Iterator[SecretSummary]:
        return iter(self.listed.values())

    def describe(self, secret: SecretId | Arn) -> SecretDescription:
        if isinstance(self.answer, Exception):
            raise self.answer
        return SecretDescription(Arn(secret), "shared/db", self.answer)


@pytest.mark.parametrize("error", [AccessDenied, StoreUnavailable, StoreThrottled, StoreRefused])
def test_a_shared_secret_is_followed_and_trouble_with_it_holds_nobody_up(error: type[StoreError]) -> None:
    store = SharedStore()
    feed = PollFeed(store, "111111111111")  # type: ignore[arg-type]  # the rest of the protocol is for rotations
    feed.noted(THEIRS, OLD)
    assert feed.changes() == []
    store.answer = NEW
    assert feed.changes() == [Change(THEIRS, "shared/db", NEW)]
    store.answer, store.listed = error("not now"), rows(NEW)
    assert feed.changes() == [Change(ARN, "shop/db", NEW)]
    store.answer = SecretNotFound("gone")
    assert feed.changes() == [Change(THEIRS, "shared/db", None)]


def test_a_feed_follows_what_was_noted_until_it_is_forgotten() -> None:
    feed = PollFeed(SharedStore(), "111111111111")  # type: ignore[arg-type]
    assert not feed.follows_any()
    feed.noted(ARN, OLD)
    feed.noted(THEIRS, OLD)
    feed.forget(ARN)
    assert feed.follows_any()
    feed.forget(THEIRS)
    assert not feed.follows_any()


class Unlisted(SharedStore):
    """A store that may not be listed, until it may; it counts who tried."""

    def __init__(self) -> None:
        super().__init__()
        self.tried, self.may = 0, False

    def list_summaries(self) -> Iterator[SecretSummary]:
        self.tried += 1
        if not self.may:
            raise AccessDenied("allow secretsmanager:ListSecrets")
        return super().list_summaries()


def test_identity_that_may_not_list_describes_what_is_followed_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, time = Unlisted(), [1.0]
    feed = PollFeed(store, "111111111111", whom="role orders", lists_only=False, clock=lambda: time[0])  # type: ignore[arg-type]
    feed.noted(ARN, OLD)
    assert feed.changes() == []
    store.answer = NEW
    assert feed.changes() == [Change(ARN, "shared/db", NEW)]
    assert store.tried == 1
    time[0] += LIST_AGAIN
    assert feed.changes() == []
    assert store.tried == 2
    assert caplog.text.count("each secret of role orders is described") == 1
    time[0] += LIST_AGAIN
    feed.noted(ARN, NEW)
    store.may, store.listed = True, rows(OLD)
    assert feed.changes() == [Change(ARN, "shop/db", OLD)]


def test_identity_that_must_list_describes_nothing_in_its_place() -> None:
    feed = PollFeed(Unlisted(), "111111111111")  # type: ignore[arg-type]
    feed.noted(ARN, OLD)
    with pytest.raises(AccessDenied):
        feed.changes()
