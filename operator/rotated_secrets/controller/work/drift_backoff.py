"""Rate limit of restoring a target Secret that something else keeps changing.

Without it, two controllers that write the same Secret would overwrite each other without end, each time at the cost of
calls to the store. Kept in memory only: a new leader starts with full limits. Safe from any thread.
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

BURST: Final = 10
"""How often the same version is written in a row before the rate is limited."""
REFILL_INTERVAL: Final = timedelta(minutes=1)
"""Time after which one more write is allowed."""


@dataclass
class _Written:
    version_id: VersionId
    tokens: float
    at: float


class DriftBackoff:
    """A token bucket for each RotatedSecret; only writing the same version again takes a token."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._written: dict[Key, _Written] = {}

    def record_write(self, key: Key, version_id: VersionId) -> None:
        """Record that the target Secret was written; a new version is not a repair and takes no token."""
        with self._lock:
            tokens = self._tokens_now(key)
            before = self._written.get(key)
            again = before is not None and before.version_id == version_id
            self._written[key] = _Written(version_id, tokens - 1 if again else tokens, self._clock())

    def must_wait(self, key: Key) -> bool:
        """Whether writing the last version again must wait."""
        with self._lock:
            return self._tokens_now(key) < 1

    def forget(self, key: Key) -> None:
        """Drop what is recorded of a RotatedSecret that is gone."""
        with self._lock:
            self._written.pop(key, None)

    def _tokens_now(self, key: Key) -> float:
        found = self._written.get(key)
        if found is None:
            return BURST
        return min(BURST, found.tokens + (self._clock() - found.at) / REFILL_INTERVAL.total_seconds())


def contested_message(namespace: str, name: str) -> str:
    """Return the message of the condition while a changed target Secret is not restored."""
    return (
        f"Secret {namespace}/{name} was restored {BURST} times, but something else still changes it, so it is now "
        "restored only once a minute; to see what changes it: "
        f"kubectl get secret -n {namespace} {name} -o yaml --show-managed-fields"
    )
