"""Bounds how much several owners keep together: what was used least recently is dropped. Must not know what it is."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from typing import Any, Protocol


class Owner(Protocol):
    """Keeps things by key."""

    def drop(self, key: Any) -> None:
        """Keep this no longer, if it is kept."""


class LeastRecent:
    """Safe to use from several threads. Owners are not kept alive by it."""

    def __init__(self, most: int) -> None:
        """``most``: things that all owners keep together, beside one that is just made in each thread."""
        self._most = most
        self._lock = threading.Lock()
        self._order: OrderedDict[tuple[weakref.ref[Owner], Any], None] = OrderedDict()

    def use(self, owner: Owner, key: Any) -> None:
        """Record that the owner uses this now, and have another dropped where there are too many.

        Call it without a lock that ``drop`` takes: the other may be anyone's.
        """
        entry = weakref.ref(owner), key
        with self._lock:
            self._order[entry] = None
            self._order.move_to_end(entry)
            dropped = [self._order.popitem(last=False)[0] for _ in range(len(self._order) - self._most)]
        for of, its_key in dropped:
            if (other := of()) is not None:
                other.drop(its_key)
