"""Cache of what the last look at each RotatedSecret depended on, and of how long its result holds.

Without it, every resync and every echo of our own writes would cost calls to the store. Kept in memory only: a new
leader looks at everything once. Safe from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotated_secrets.api.key import Key
from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.controller.work.scheduler import Offset, clock_offset, was_set


@dataclass(frozen=True)
class LookInputs:
    """What a look depends on, as far as the RotatedSecret and the operator's files show it."""

    uid: str
    generation: int
    requests: Mapping[str, str]
    """Values of the annotations that request something, by name."""
    policy: object
    """The access policy in force: a denial by a new policy must show, also when nothing is due."""

    @classmethod
    def of(cls, resource: RotatedSecret, policy: object) -> LookInputs:
        return cls(resource.uid, resource.generation, resource.requests, policy)


@dataclass(frozen=True)
class LastLook:
    """The last look at a RotatedSecret, and for how long its result holds."""

    inputs: LookInputs
    target_version: str | None
    """The target Secret's resourceVersion; None where there is no such Secret."""
    until: datetime | None
    check_every: timedelta | None
    offset: float
    """The clock's when it was stored."""


class ObservedCache:
    """One entry for each RotatedSecret whose last look came to an end."""

    def __init__(self, offset: Offset = clock_offset) -> None:
        self._offset = offset
        self._lock = threading.Lock()
        self._entries: dict[Key, LastLook] = {}
        self._left: dict[Key, str | None] = {}
        """The target Secret's resourceVersion by the last look that came to an end, while another one has begun."""
        self._tokens: dict[Key, object] = {}

    def start_look(self, key: Key) -> object:
        """Drop the entry and return the look's token; :meth:`invalidate` and a newer look make the token void."""
        token = object()
        with self._lock:
            last = self._entries.pop(key, None)
            if last is not None:
                self._left[key] = last.target_version
            self._tokens[key] = token
        return token

    def store(
        self,
        key: Key,
        token: object,
        inputs: LookInputs,
        target_version: str | None,
        until: datetime | None,
        *,
        check_every: timedelta | None = None,
    ) -> None:
        """Store that no look is needed before ``until`` (None: no limit) while neither inputs nor target Secret change.

        ``check_every`` is how often to compare them, where no watch shows that they change.
        """
        with self._lock:
            if self._tokens.pop(key, None) is token:
                self._entries[key] = LastLook(inputs, target_version, until, check_every, self._offset())
                self._left.pop(key, None)

    def is_as_left(self, key: Key, target_version: str | None) -> bool:
        """Whether the target Secret has the resourceVersion of the last look that came to an end.

        True also where no such look is remembered.
        """
        with self._lock:
            return self._left.get(key, target_version) == target_version

    def last_look(self, key: Key, inputs: LookInputs, now: datetime) -> LastLook | None:
        """The last look, where no other is needed as long as the target Secret has not changed.

        One is needed also if the clock was set: ``until`` was computed by it.
        """
        with self._lock:
            entry = self._entries.get(key)
        if entry is None or entry.inputs != inputs or was_set(entry.offset, self._offset()):
            return None
        return entry if entry.until is None or now < entry.until else None

    def next_check(self, key: Key, now: datetime) -> datetime | None:
        """When a look is due, or the inputs are to be compared; None where neither is."""
        with self._lock:
            entry = self._entries.get(key)
        if entry is None or entry.check_every is None:
            return entry.until if entry is not None else None
        return min(now + entry.check_every, entry.until or now + entry.check_every)

    def invalidate(self, key: Key) -> None:
        """Drop the entry: something has changed that the inputs do not show, or the object is gone."""
        with self._lock:
            self._entries.pop(key, None)
            self._left.pop(key, None)
            self._tokens.pop(key, None)
