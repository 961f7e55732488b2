"""A RotatedSecret needs no new look until an input changes, or until it is due."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotated_secrets.api.key import Key
from rotated_secrets.controller.work.observed_cache import LookInputs, ObservedCache
from rotated_secrets.controller.work.scheduler import JUMP

KEY, NOW = Key("shop", "orders"), datetime(2026, 11, 22, tzinfo=UTC)
INPUTS = LookInputs(uid="u", generation=1, requests={}, policy="the policy")
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def test_key_without_entry_needs_a_look() -> None:
    assert ObservedCache().last_look(KEY, INPUTS, NOW) is None


@pytest.mark.parametrize(
    "change",
    [
        {"uid": "v"},
        {"generation": 2},
        {"requests": {"rotatedsecrets.io/rotate": "now"}},
        {"requests": {"rotatedsecrets.io/resync": "now"}},
        {"policy": "another policy"},
    ],
)
def test_any_changed_input_needs_a_look(change: dict[str, object]) -> None:
    cache = ObservedCache()
    cache.store(KEY, cache.start_look(KEY), INPUTS, "7", None)
    assert cache.last_look(KEY, INPUTS, NOW)
    assert cache.last_look(KEY, replace(INPUTS, **change), NOW) is None  # type: ignore[arg-type]


def test_due_time_needs_a_look() -> None:
    cache = ObservedCache()
    cache.store(KEY, cache.start_look(KEY), INPUTS, "7", NOW + HOUR)
    assert cache.last_look(KEY, INPUTS, NOW)
    assert cache.next_check(KEY, NOW) == NOW + HOUR
    assert cache.last_look(KEY, INPUTS, NOW + HOUR) is None


def test_checks_repeat_while_nothing_changes_and_never_come_after_the_due_time() -> None:
    cache = ObservedCache()
    cache.store(KEY, cache.start_look(KEY), INPUTS, "7", None, check_every=MINUTE)
    assert [cache.next_check(KEY, NOW + n * HOUR) for n in range(3)] == [NOW + n * HOUR + MINUTE for n in range(3)]
    cache.store(KEY, cache.start_look(KEY), INPUTS, "7", NOW + timedelta(seconds=10), check_every=MINUTE)
    assert cache.next_check(KEY, NOW) == NOW + timedelta(seconds=10)


def test_invalidate_needs_a_look() -> None:
    cache = ObservedCache()
    cache.store(KEY, cache.start_look(KEY), INPUTS, "7", None)
    cache.invalidate(KEY)
    assert cache.last_look(KEY, INPUTS, NOW) is None
    assert cache.next_check(KEY, NOW) is None


def test_invalidate_during_a_look_is_not_lost() -> None:
    cache = ObservedCache()
    token = cache.start_look(KEY)
    cache.invalidate(KEY)
    cache.store(KEY, token, INPUTS, "7", None)
    assert cache.last_look(KEY, INPUTS, NOW) is None


def test_older_look_does_not_store_after_a_newer_one_has_started() -> None:
    cache = ObservedCache()
    older, newer = cache.start_look(KEY), cache.start_look(KEY)
    cache.store(KEY, older, INPUTS, "7", None)
    assert cache.last_look(KEY, INPUTS, NOW) is None
    del newer


@pytest.mark.parametrize("version", ["7", None])
def test_last_look_tells_the_version_of_the_target_secret(version: str | None) -> None:
    cache = ObservedCache()
    cache.store(KEY, cache.start_look(KEY), INPUTS, version, None)
    last = cache.last_look(KEY, INPUTS, NOW)
    assert last is not None
    assert last.target_version == version


@pytest.mark.parametrize("seconds", [JUMP + 1, -JUMP - 1])
def test_clock_that_was_set_needs_a_look(seconds: float) -> None:
    """The due time was computed by the clock of before."""
    offset = 0.0
    cache = ObservedCache(lambda: offset)
    cache.store(KEY, cache.start_look(KEY), INPUTS, "7", NOW + timedelta(days=365))
    offset = JUMP if seconds > 0 else -JUMP
    assert cache.last_look(KEY, INPUTS, NOW)
    offset = seconds
    assert cache.last_look(KEY, INPUTS, NOW) is None
