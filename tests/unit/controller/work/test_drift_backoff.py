"""A target Secret that something else keeps changing is restored ten times, and then once a minute."""

from __future__ import annotations

from rotated_secrets.api.key import Key
from rotated_secrets.controller.work.drift_backoff import BURST, REFILL_INTERVAL, DriftBackoff
from rotated_secrets.values import VersionId

KEY, OTHER = Key("shop", "orders"), Key("shop", "other")
ONE = VersionId("1")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def contested(clock: Clock) -> DriftBackoff:
    backoff = DriftBackoff(clock)
    backoff.record_write(KEY, ONE)
    for _ in range(BURST):
        assert not backoff.must_wait(KEY)
        backoff.record_write(KEY, ONE)
    return backoff


def test_ten_repairs_are_made_at_once_and_then_one_a_minute() -> None:
    clock = Clock()
    backoff = contested(clock)
    for _ in range(3):
        assert backoff.must_wait(KEY)
        clock.now += REFILL_INTERVAL.total_seconds()
        assert not backoff.must_wait(KEY)
        backoff.record_write(KEY, ONE)


def test_new_version_takes_no_token_and_tokens_are_refilled() -> None:
    clock = Clock()
    backoff = DriftBackoff(clock)
    for number in range(100):
        backoff.record_write(KEY, VersionId(str(number)))
    assert not backoff.must_wait(KEY)
    backoff = contested(clock)
    clock.now += BURST * REFILL_INTERVAL.total_seconds()
    for _ in range(BURST):
        assert not backoff.must_wait(KEY)
        backoff.record_write(KEY, ONE)
    assert backoff.must_wait(KEY)


def test_limit_is_for_each_resource_and_ends_with_it() -> None:
    backoff = contested(Clock())
    assert not backoff.must_wait(OTHER)
    backoff.forget(KEY)
    assert not backoff.must_wait(KEY)
