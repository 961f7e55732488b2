"""Which RotatedSecrets were looked at and need no other look before something about them changes, or is due.

Without it, every resync and every echo of our own writes would cost calls to the store. Kept in memory alone: a new
leader looks at everything once. Safe from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rotated_secrets.api.key import Key
from rotated_secrets.api.resource import RotatedSecret


@dataclass(frozen=True)
class LookInputs:
    """What a look depends on, as far as the cluster tells of it."""

    uid: str
    generation: int
    requests: Mapping[str, str]
    """What the annotations that ask for something say, by their names."""
    target_version: str | None
    """The target Secret's resourceVersion; None where there is no such Secret."""
    policy: object
    """The access policy in force: what it no longer allows is to show, also where nothing is due."""

    @classmethod
    def of(cls, resource: RotatedSecret, target_version: str | None, policy: object) -> LookInputs:
        return cls(resource.uid, resource.generation, resource.requests, target_version, policy)


@dataclass(frozen=True)
class _Rest:
    looks: LookInputs
    until: datetime | None
    glance: timedelta | None


class ObservedCache:
    """The last look at each RotatedSecret."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._settled: dict[Key, _Rest] = {}
        self._looking: dict[Key, object] = {}

    def begin(self, key: Key) -> object:
        """A look begins; its token settles the key unless something changes meanwhile that the look may not see."""
        token = object()
        with self._lock:
            self._settled.pop(key, None)
            self._looking[key] = token
        return token

    def settle(
        self, key: Key, token: object, looks: LookInputs, until: datetime | None, *, glance: timedelta | None = None
    ) -> None:
        """Nothing is to be done before ``until`` (None: ever) while it looks so.

        ``glance`` is how often to see whether it still does, where no watch tells.
        """
        with self._lock:
            if self._looking.pop(key, None) is token:
                self._settled[key] = _Rest(looks, until, glance)

    def is_settled(self, key: Key, looks: LookInputs, now: datetime) -> bool:
        """Whether there is nothing to be done now."""
        with self._lock:
            rest = self._settled.get(key)
        return rest is not None and rest.looks == looks and (rest.until is None or now < rest.until)

    def is_settled_but_for_target(self, key: Key, looks: LookInputs, now: datetime) -> bool:
        """Whether somebody's change of the target Secret is all that there is to look at."""
        with self._lock:
            rest = self._settled.get(key)
        if rest is None or (rest.until is not None and now >= rest.until):
            return False
        return rest.looks != looks and replace(rest.looks, target_version=looks.target_version) == looks

    def next_look(self, key: Key, now: datetime) -> datetime | None:
        """When something is due, or the next glance."""
        with self._lock:
            rest = self._settled.get(key)
        if rest is None or rest.glance is None:
            return rest.until if rest is not None else None
        return min(now + rest.glance, rest.until or now + rest.glance)

    def unsettle(self, key: Key) -> None:
        """Something that the cluster doesn't tell of has changed, or the object is gone: look again."""
        with self._lock:
            self._settled.pop(key, None)
            self._looking.pop(key, None)
