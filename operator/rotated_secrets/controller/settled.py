"""Which RotatedSecrets were looked at and need no other look before something about them changes, or is due.

Without it, every resync and every echo of our own writes would cost calls to the store. Kept in memory alone: a new
leader looks at everything once. Safe from any thread.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime

from rotated_secrets.controller.key import Key


@dataclass(frozen=True)
class Looks:
    """What a look depends on, as far as the cluster tells of it."""

    uid: str
    generation: int
    request: str | None
    target_version: str | None
    """The target Secret's resourceVersion; None where there is no such Secret."""


class Settled:
    """The last look at each RotatedSecret."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._settled: dict[Key, tuple[Looks, datetime | None]] = {}

    def settle(self, key: Key, looks: Looks, until: datetime | None) -> None:
        """Nothing is to be done before ``until`` (None: ever) while it looks so."""
        with self._lock:
            self._settled[key] = (looks, until)

    def is_settled(self, key: Key, looks: Looks, now: datetime) -> bool:
        """Whether there is nothing to be done now."""
        with self._lock:
            before, until = self._settled.get(key, (None, None))
        return before == looks and (until is None or now < until)

    def until(self, key: Key) -> datetime | None:
        """When something is due."""
        with self._lock:
            return self._settled.get(key, (None, None))[1]

    def unsettle(self, key: Key) -> None:
        """Something that the cluster doesn't tell of has changed, or the object is gone: look again."""
        with self._lock:
            self._settled.pop(key, None)
