"""Keys that wait for a worker, and which of them is next: fair between namespaces, first come first served within one.

Pure: starts nothing. Every operation takes the same time, however many keys and namespaces wait.
"""

from __future__ import annotations

from collections import Counter

from rotated_secrets.api.key import Key


class WaitingKeys:
    """The namespace with the fewest keys in work is next; of those with equally many, the one that was served first."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[Key, None]] = {}
        self._in_work: Counter[str] = Counter()
        self._namespaces: dict[int, dict[str, None]] = {}
        """Namespaces with waiting keys, by how many keys of them are in work."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, key: Key) -> None:
        """Make this key wait, unless it does already."""
        keys = self._waiting.setdefault(key.namespace, {})
        if not keys:
            self._place(key.namespace)
        self._count += key not in keys
        keys[key] = None

    def take_next(self, free: int) -> Key | None:
        """Take the next key into work; None where none waits, or where its namespace has as many as are ``free``."""
        fewest = min(self._namespaces, default=free)
        if fewest >= free:
            return None
        namespace = next(iter(self._namespaces[fewest]))
        keys = self._waiting[namespace]
        key = next(iter(keys))
        del keys[key]
        self._count -= 1
        self._change(namespace, 1)
        return key

    def end(self, key: Key) -> None:
        """A key that was taken is no longer in work."""
        self._change(key.namespace, -1)

    def clear(self) -> None:
        """Drop all keys that wait."""
        self._waiting.clear()
        self._namespaces.clear()
        self._count = 0

    def _change(self, namespace: str, by: int) -> None:
        level = self._namespaces.get(self._in_work[namespace], {})
        if namespace in level:
            del level[namespace]
            if not level:
                del self._namespaces[self._in_work[namespace]]
        self._in_work[namespace] += by
        if not self._in_work[namespace]:
            del self._in_work[namespace]
        if self._waiting.get(namespace):
            self._place(namespace)
        else:
            self._waiting.pop(namespace, None)

    def _place(self, namespace: str) -> None:
        self._namespaces.setdefault(self._in_work[namespace], {})[namespace] = None
