"""Objects in memory, their versions and their history; knows nothing of schemas, verbs or HTTP.

An object is never changed once stored: readers, watchers and list snapshots share it, and its JSON is made once.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from sandbox.kubernetes.embedded import errors

Obj = dict[str, Any]
Key = tuple[str, str]  # namespace ("" for cluster-scoped), name
ChangeKind = Literal["ADDED", "MODIFIED", "DELETED"]

HISTORY = 10_000  # changes a collection remembers; a watch that starts before them gets 410 Gone


class Entry:
    """A stored object and, once somebody asks for it, its JSON."""

    def __init__(self, obj: Obj) -> None:
        self.obj = obj

    @cached_property
    def raw(self) -> bytes:
        return json.dumps(self.obj, separators=(",", ":")).encode()

    def copy(self) -> Obj:
        duplicate: Obj = json.loads(self.raw)
        return duplicate

    @property
    def meta(self) -> Obj:
        meta: Obj = self.obj["metadata"]
        return meta

    @property
    def key(self) -> Key:
        return self.meta.get("namespace", ""), self.meta["name"]


@dataclass(frozen=True, slots=True)
class Change:
    version: int
    kind: ChangeKind
    new: Entry
    old: Entry | None


class Collection:
    """All objects of one resource, what happened to them, and who watches."""

    def __init__(self, floor: int) -> None:
        self.entries: dict[Key, Entry] = {}
        self.watchers: set[asyncio.Queue[Change]] = set()
        self._history: deque[Change] = deque(maxlen=HISTORY)
        self._floor = floor

    def since(self, version: int) -> Iterator[Change]:
        oldest = self._history[0].version - 1 if len(self._history) == HISTORY else self._floor
        if version < oldest:
            raise errors.expired(f"too old resource version: {version} ({oldest})")
        return (change for change in tuple(self._history) if change.version > version)

    def under(self, namespace: str | None) -> list[Entry]:
        """In the order of their keys, as etcd has them; None for all namespaces."""
        found = sorted(self.entries.items())
        return [entry for key, entry in found if namespace is None or key[0] == namespace]

    def record(self, change: Change) -> None:
        self._history.append(change)
        for queue in self.watchers:
            queue.put_nowait(change)


class Store:
    """Every collection, one counter of versions, and an index of who owns whom."""

    def __init__(self) -> None:
        self.version = 1
        self._collections: dict[str, Collection] = {}
        self.by_uid: dict[str, tuple[str, Key]] = {}
        self.dependents: dict[str, set[tuple[str, Key]]] = {}

    def collection(self, name: str) -> Collection:
        if name not in self._collections:
            self.version += 1
            self._collections[name] = Collection(self.version)
        return self._collections[name]

    def drop(self, name: str) -> None:
        self._collections.pop(name, None)

    def names(self) -> list[str]:
        return list(self._collections)

    def get(self, name: str, key: Key) -> Entry | None:
        return self.collection(name).entries.get(key)

    def put(self, name: str, obj: Obj) -> Entry:
        entry, place = Entry(obj), self.collection(name)
        old = place.entries.get(entry.key)
        self._advance(entry)
        place.entries[entry.key] = entry
        self._index(name, old, entry)
        place.record(Change(self.version, "MODIFIED" if old else "ADDED", entry, old))
        return entry

    def remove(self, name: str, key: Key) -> Entry:
        place = self.collection(name)
        old = place.entries.pop(key)
        gone = Entry(old.copy())
        self._advance(gone)
        self._index(name, old, None)
        place.record(Change(self.version, "DELETED", gone, old))
        return gone

    def _advance(self, entry: Entry) -> None:
        self.version += 1
        entry.meta["resourceVersion"] = str(self.version)

    def _index(self, name: str, old: Entry | None, new: Entry | None) -> None:
        for owner in old.meta.get("ownerReferences", ()) if old else ():
            self.dependents.get(owner["uid"], set()).discard((name, old.key)) if old else None
        for owner in new.meta.get("ownerReferences", ()) if new else ():
            self.dependents.setdefault(owner["uid"], set()).add((name, new.key)) if new else None
        if new:
            self.by_uid[new.meta["uid"]] = (name, new.key)
        elif old:
            self.by_uid.pop(old.meta["uid"], None)
