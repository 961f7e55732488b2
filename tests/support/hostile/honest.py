"""The tenant that does nothing wrong: how long its rotations take."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sandbox.waiting import eventually
from tests.support.applied import Applied

MOST_REQUESTS = 7
"""Rotations that one RotatedSecret is asked for: from ten changes in a short time on, each has to wait two seconds."""
PATIENCE = 90.0
EVERY = 0.02


@dataclass
class Times:
    """Seconds that each rotation took, and why one did not end."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds) if self.seconds else float("inf")


class Honest:
    """Rotates one application after the other, each for as often as it may be asked."""

    def __init__(self, make: Callable[[], Applied]) -> None:
        self._make = make
        self._current: Applied | None = None
        self._asked = 0

    def rotate(self) -> float:
        """The seconds from a request to its end. Raises: TimeoutError."""
        if self._current is None or self._asked == MOST_REQUESTS:
            if self._current is not None:
                self._current.delete()  # else an operator that starts would have more to look at with each attack
            self._current, self._asked = self._make().apply(), 0
            self._current.until("Ready", "True", seconds=PATIENCE)
        self._asked += 1
        applied, request = self._current, f"number {self._asked}"
        began = time.monotonic()
        applied.ask(request)
        eventually(lambda: _is_served(applied, request), f"{request} is served", seconds=PATIENCE, every=EVERY)
        return time.monotonic() - began

    def times(self, count: int) -> Times:
        """So many rotations, one after the other."""
        return Times([self.rotate() for _ in range(count)])

    @contextmanager
    def rotating(self, pause: float) -> Iterator[Times]:
        """With so many seconds between two rotations, until the ``with`` ends."""
        times, stop = Times(), threading.Event()

        def work() -> None:
            while not stop.wait(pause):
                try:
                    times.seconds.append(self.rotate())
                except (TimeoutError, OSError) as error:
                    times.failures.append(str(error))
                    self._current = None

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield times
        finally:
            stop.set()
            thread.join(2 * PATIENCE)


def _is_served(applied: Applied, request: str) -> bool:
    status = applied.status
    return (status.get("handledRequests") or {}).get("rotate") == request and not status.get("rotation")
