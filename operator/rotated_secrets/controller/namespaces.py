"""Which of the served namespaces cannot be watched now. Knows neither how they are watched nor how that is told.

A tenant can delete its namespace, or what the operator may do in it. That must not end the work for others, so such a
namespace is set aside until the API server answers there again.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Final

EVERYWHERE: Final = ""
"""Stands for all namespaces, where one list shows them all."""

Changed = Callable[[str, str | None], None]
"""Called with a namespace that is set aside, and why; or with one that is watched again, and None."""


class ServedNamespaces:
    """The namespaces that are set aside, each with what is refused there. Safe from any thread."""

    def __init__(self, changed: Changed | None = None) -> None:
        self._changed: Changed = changed if changed is not None else lambda *_: None
        self._lock = threading.Lock()
        self._refused: defaultdict[str, set[str]] = defaultdict(set)
        """By namespace: the kinds of objects that cannot be listed or watched."""

    def refused(self, namespace: str, kind: str, why: str) -> None:
        """Record that the API server refuses to list or watch objects of a kind there."""
        with self._lock:
            is_new = namespace not in self._refused
            self._refused[namespace].add(kind)
        if is_new:
            self._changed(namespace, why)

    def answered(self, namespace: str, kind: str) -> None:
        """Record that objects of a kind are watched there."""
        with self._lock:
            if namespace not in self._refused:
                return
            self._refused[namespace].discard(kind)
            is_back = not self._refused[namespace]
            if is_back:
                del self._refused[namespace]
        if is_back:
            self._changed(namespace, None)

    def is_set_aside(self, namespace: str) -> bool:
        """Whether what happens in this namespace may not be seen now."""
        with self._lock:
            return namespace in self._refused or EVERYWHERE in self._refused
