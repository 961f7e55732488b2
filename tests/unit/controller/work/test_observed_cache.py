"""Who was looked at rests, until something about it changes or is due."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotated_secrets.api.key import Key
from rotated_secrets.controller.work.observed_cache import LookInputs, ObservedCache

KEY, NOW = Key("shop", "orders"), datetime(2026, 11, 22, tzinfo=UTC)
LOOKS = LookInputs(uid="u", generation=1, requests={}, target_version="7", policy="the policy")
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def test_what_was_never_looked_at_does_not_rest() -> None:
    assert not ObservedCache().is_settled(KEY, LOOKS, NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"uid": "v"},
        {"generation": 2},
        {"requests": {"rotatedsecrets.io/rotate": "now"}},
        {"requests": {"rotatedsecrets.io/resync": "now"}},
        {"target_version": None},
        {"policy": "another policy"},
    ],
)
def test_any_change_ends_the_rest(change: dict[str, object]) -> None:
    settled = ObservedCache()
    settled.settle(KEY, settled.begin(KEY), LOOKS, None)
    assert settled.is_settled(KEY, LOOKS, NOW)
    assert not settled.is_settled(KEY, replace(LOOKS, **change), NOW)  # type: ignore[arg-type]


def test_what_is_due_ends_the_rest() -> None:
    settled = ObservedCache()
    settled.settle(KEY, settled.begin(KEY), LOOKS, NOW + HOUR)
    assert settled.is_settled(KEY, LOOKS, NOW)
    assert settled.next_look(KEY, NOW) == NOW + HOUR
    assert not settled.is_settled(KEY, LOOKS, NOW + HOUR)


def test_glances_go_on_while_nothing_changes_and_never_miss_what_is_due() -> None:
    settled = ObservedCache()
    settled.settle(KEY, settled.begin(KEY), LOOKS, None, glance=MINUTE)
    assert [settled.next_look(KEY, NOW + n * HOUR) for n in range(3)] == [NOW + n * HOUR + MINUTE for n in range(3)]
    settled.settle(KEY, settled.begin(KEY), LOOKS, NOW + timedelta(seconds=10), glance=MINUTE)
    assert settled.next_look(KEY, NOW) == NOW + timedelta(seconds=10)


def test_news_from_the_store_ends_the_rest() -> None:
    settled = ObservedCache()
    settled.settle(KEY, settled.begin(KEY), LOOKS, None)
    settled.unsettle(KEY)
    assert not settled.is_settled(KEY, LOOKS, NOW)
    assert settled.next_look(KEY, NOW) is None


def test_news_that_comes_during_a_look_is_not_slept_through() -> None:
    settled = ObservedCache()
    token = settled.begin(KEY)
    settled.unsettle(KEY)
    settled.settle(KEY, token, LOOKS, None)
    assert not settled.is_settled(KEY, LOOKS, NOW)


def test_older_look_does_not_settle_what_a_newer_one_has_begun() -> None:
    settled = ObservedCache()
    older, newer = settled.begin(KEY), settled.begin(KEY)
    settled.settle(KEY, older, LOOKS, None)
    assert not settled.is_settled(KEY, LOOKS, NOW)
    del newer


def test_a_change_of_the_target_secret_alone_is_told_from_others() -> None:
    settled = ObservedCache()
    changed = replace(LOOKS, target_version="8")
    assert not settled.is_settled_but_for_target(KEY, changed, NOW)
    settled.settle(KEY, settled.begin(KEY), LOOKS, NOW + HOUR)
    assert not settled.is_settled_but_for_target(KEY, LOOKS, NOW)
    assert settled.is_settled_but_for_target(KEY, changed, NOW)
    assert not settled.is_settled_but_for_target(KEY, changed, NOW + HOUR)
    assert not settled.is_settled_but_for_target(KEY, replace(changed, generation=2), NOW)
