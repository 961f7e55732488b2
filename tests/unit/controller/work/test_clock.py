"""Whether the machine's clock was set."""

from __future__ import annotations

import time

import pytest

from rotated_secrets.controller.work import scheduler
from rotated_secrets.controller.work.scheduler import JUMP, clock_offset, was_set


def test_small_corrections_are_none() -> None:
    assert not was_set(1000.0, 1000.0 + JUMP)
    assert not was_set(1000.0, 1000.0 - JUMP)
    assert was_set(1000.0, 1000.5 + JUMP)
    assert was_set(1000.0, 999.5 - JUMP)


def test_offset_follows_the_clock_and_not_the_time_that_goes_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "seconds_since_boot", lambda: 50.0)
    monkeypatch.setattr(time, "time", lambda: 1050.0)
    assert clock_offset() == 1000.0
    monkeypatch.setattr(scheduler, "seconds_since_boot", lambda: 60.0)
    monkeypatch.setattr(time, "time", lambda: 1060.0)
    assert clock_offset() == 1000.0
    monkeypatch.setattr(time, "time", lambda: 9060.0)
    assert clock_offset() == 9000.0
