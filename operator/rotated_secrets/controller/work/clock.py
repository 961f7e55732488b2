"""Whether the machine's clock was set: what was planned by the clock of before then counts no longer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from rotated_secrets.databases.idle import seconds_since_boot

JUMP: Final = 300.0
"""Seconds: time services correct a clock by less, little by little."""

Offset = Callable[[], float]
"""Returns by how many seconds the clock is ahead of one that cannot be set."""


def clock_offset() -> float:
    return time.time() - seconds_since_boot()


def was_set(before: float, now: float) -> bool:
    """Whether the clock was set between two offsets."""
    return abs(now - before) > JUMP
