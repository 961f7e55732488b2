"""Waiting for a condition instead of for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T], what: str, *, seconds: float = 20.0, every: float = 0.02) -> T:
    """The first answer of ``look`` that is true. Raises: TimeoutError, with ``what`` and the last answer."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not so after {seconds:g} s; at last: {found!r}")
        time.sleep(every)
    return found
