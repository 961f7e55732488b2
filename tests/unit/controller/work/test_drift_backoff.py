"""What is fought over is put back ten times, and then once a minute."""

from __future__ import annotations

from rotated_secrets.api.key import Key
from rotated_secrets.controller.work.drift_backoff import AT_ONCE, EVERY, DriftBackoff
from rotated_secrets.values import VersionId

KEY, OTHER = Key("shop", "orders"), Key("shop", "other")
ONE = VersionId("1")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def fought_over(clock: Clock) -> DriftBackoff:
    repairs = DriftBackoff(clock)
    repairs.wrote(KEY, ONE)
    for _ in range(AT_ONCE):
        assert not repairs.is_used_up(KEY)
        repairs.wrote(KEY, ONE)
    return repairs


def test_ten_repairs_in_a_row_are_made_and_then_one_a_minute() -> None:
    clock = Clock()
    repairs = fought_over(clock)
    for _ in range(3):
        assert repairs.is_used_up(KEY)
        clock.now += EVERY.total_seconds()
        assert not repairs.is_used_up(KEY)
        repairs.wrote(KEY, ONE)


def test_another_version_is_no_repair_and_a_long_peace_gives_all_back() -> None:
    clock = Clock()
    repairs = DriftBackoff(clock)
    for number in range(100):
        repairs.wrote(KEY, VersionId(str(number)))
    assert not repairs.is_used_up(KEY)
    repairs = fought_over(clock)
    clock.now += AT_ONCE * EVERY.total_seconds()
    for _ in range(AT_ONCE):
        assert not repairs.is_used_up(KEY)
        repairs.wrote(KEY, ONE)
    assert repairs.is_used_up(KEY)


def test_a_fight_is_over_one_secret_and_forgotten_with_it() -> None:
    repairs = fought_over(Clock())
    assert not repairs.is_used_up(OTHER)
    repairs.forget(KEY)
    assert not repairs.is_used_up(KEY)
