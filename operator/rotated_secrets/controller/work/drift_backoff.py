"""How often a target Secret is put back that somebody else goes on changing.

Two controllers that both know best would otherwise fight for as long as both live, each round at the price of calls to
the store. In memory alone: a new leader begins anew. Safe from any thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from rotated_secrets.api.key import Key
from rotated_secrets.values import VersionId

AT_ONCE: Final = 10
"""How often the same version is written in a row, before it is written now and then."""
EVERY: Final = timedelta(minutes=1)


@dataclass
class _Written:
    version_id: VersionId
    left: float
    at: float


class DriftBackoff:
    """What was written for each RotatedSecret, and whether the same may be written again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._written: dict[Key, _Written] = {}

    def wrote(self, key: Key, version_id: VersionId) -> None:
        """The target Secret was written; another version than before is no repair."""
        with self._lock:
            left = self._left(key)
            before = self._written.get(key)
            again = before is not None and before.version_id == version_id
            self._written[key] = _Written(version_id, left - 1 if again else left, self._clock())

    def is_used_up(self, key: Key) -> bool:
        """Whether the version that was written last is to wait."""
        with self._lock:
            return self._left(key) < 1

    def forget(self, key: Key) -> None:
        """The RotatedSecret is gone."""
        with self._lock:
            self._written.pop(key, None)

    def _left(self, key: Key) -> float:
        found = self._written.get(key)
        if found is None:
            return AT_ONCE
        return min(AT_ONCE, found.left + (self._clock() - found.at) / EVERY.total_seconds())


def fought_over(namespace: str, name: str) -> str:
    """What is told of a target Secret while it is left as somebody has it."""
    return (
        f"Secret {namespace}/{name} was restored {AT_ONCE} times, but something else still changes it, so it is now "
        "restored only once a minute; to see what changes it: "
        f"kubectl get secret -n {namespace} {name} -o yaml --show-managed-fields"
    )
