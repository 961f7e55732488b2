"""Events that wait to be posted, and which of them is next: fair between namespaces, in order within one.

Pure: starts nothing. Not safe from several threads.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final, Generic, TypeVar

E = TypeVar("E")

REMEMBERED: Final = 1000
"""Namespaces whose Events were posted last that are remembered; the others count as if none of theirs had been."""


class EventQueue(Generic[E]):
    """The next Event is of the namespace that has posted none for longest.

    In a full queue a new Event takes the place of one of the namespace that has the most: a namespace with fewer always
    gets a place.
    """

    def __init__(self, most: int) -> None:
        """``most``: how many Events may wait."""
        self._most = most
        self._waiting: dict[str, deque[E]] = {}
        self._posted: OrderedDict[str, None] = OrderedDict()
        """Namespaces, the one that has posted none for longest first."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, namespace: str, event: E) -> bool:
        """Make an Event wait. Returns False where one was dropped for that, or this one."""
        is_full = self._count >= self._most
        if is_full:
            fullest = max(self._waiting, key=lambda each: len(self._waiting[each]))
            if len(self._waiting.get(namespace, ())) >= len(self._waiting[fullest]):
                return False
            self._waiting[fullest].pop()
            self._removed_from(fullest)
        self._waiting.setdefault(namespace, deque()).append(event)
        self._count += 1
        return not is_full

    def take(self) -> E | None:
        """Take the next Event; None where none waits."""
        if not self._count:
            return None
        namespace = self._next_namespace()
        event = self._waiting[namespace].popleft()
        self._removed_from(namespace)
        self._posted[namespace] = None
        self._posted.move_to_end(namespace)
        if len(self._posted) > REMEMBERED:
            self._posted.popitem(last=False)
        return event

    def _next_namespace(self) -> str:
        new = next((each for each in self._waiting if each not in self._posted), None)
        return new if new is not None else next(each for each in self._posted if each in self._waiting)

    def _removed_from(self, namespace: str) -> None:
        self._count -= 1
        if not self._waiting[namespace]:
            del self._waiting[namespace]
