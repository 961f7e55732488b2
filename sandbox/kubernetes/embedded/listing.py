"""Lists in chunks and watches from a version on, in whatever form the client asked for."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from sandbox.kubernetes.embedded import errors, selectors
from sandbox.kubernetes.embedded.objects import Objects
from sandbox.kubernetes.embedded.resources import Resource
from sandbox.kubernetes.embedded.store import Change, Entry, Obj, Store

BOOKMARK_EVERY = 60.0  # seconds
_LAST_BOOKMARK = 2.0  # seconds before a watch ends
_CONTINUATIONS = 200  # chunked lists that are kept for their next chunk
_INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True)
class Query:
    namespace: str | None
    matches: tuple[selectors.Matches, ...]
    watch: bool
    version: str
    limit: int
    token: str
    seconds: float
    bookmarks: bool
    initial_events: bool

    @classmethod
    def read(cls, query: Mapping[str, str], resource: Resource, namespace: str) -> Query:
        matches = selectors.labels(query.get("labelSelector", ""))
        matches += selectors.fields(query.get("fieldSelector", ""), resource.storage)
        initial = query.get("sendInitialEvents") == "true"
        if initial and query.get("resourceVersionMatch") != "NotOlderThan":
            problem = errors.required(
                "resourceVersionMatch", "resourceVersionMatch must be NotOlderThan with sendInitialEvents"
            )
            raise errors.invalid("ListOptions", "meta.k8s.io", "", [problem])
        return cls(
            namespace=namespace or None,
            matches=tuple(matches),
            watch=query.get("watch") in ("true", "1"),
            version=query.get("resourceVersion", ""),
            limit=int(query.get("limit") or 0),
            token=query.get("continue", ""),
            seconds=float(query.get("timeoutSeconds") or random.uniform(1800, 3600)),
            bookmarks=query.get("allowWatchBookmarks") in ("true", "1"),
            initial_events=initial,
        )

    def wants(self, entry: Entry) -> bool:
        if self.namespace is not None and entry.key[0] != self.namespace:
            return False
        return all(matches(entry.obj) for matches in self.matches)


class Render:
    """Objects as they are; other forms derive from it."""

    list_kind: str | None = None
    list_version: str | None = None

    def __init__(self, resource: Resource, objects: Objects) -> None:
        self.resource, self._objects = resource, objects

    def entry(self, entry: Entry) -> bytes:
        shown = self._objects.shown(self.resource, entry.obj)
        return entry.raw if shown is entry.obj else json.dumps(shown).encode()

    def single(self, entry: Entry) -> bytes:
        return self.entry(entry)

    def event(self, entry: Entry, *, is_first: bool) -> bytes:  # noqa: ARG002 - a Table names its columns once
        return self.entry(entry)

    def envelope(self, meta: Obj, items: list[bytes]) -> bytes:
        head = {"kind": f"{self.resource.kind}List", "apiVersion": self.resource.api_version, "metadata": meta}
        return json.dumps(head).encode()[:-1] + b',"items":[' + b",".join(items) + b"]}"

    def bookmark(self, version: int, annotations: Obj) -> bytes:
        meta = {"resourceVersion": str(version), "creationTimestamp": None} | annotations
        return json.dumps(
            {"kind": self.resource.kind, "apiVersion": self.resource.api_version, "metadata": meta}
        ).encode()


class Listing:
    def __init__(self, store: Store, objects: Objects) -> None:
        self._store, self._objects = store, objects
        self._rests: OrderedDict[str, tuple[int, list[Entry]]] = OrderedDict()

    def matching(self, resource: Resource, query: Query) -> list[Entry]:
        return [
            entry for entry in self._store.collection(resource.storage).under(query.namespace) if query.wants(entry)
        ]

    def page(self, resource: Resource, query: Query, render: Render) -> bytes:
        if query.token:
            if query.token not in self._rests:
                raise errors.expired("The provided continue parameter is too old to display a consistent list result.")
            version, entries = self._rests[query.token]
        else:
            version, entries = self._store.version, self.matching(resource, query)
        meta: Obj = {"resourceVersion": str(version)}
        chunk = entries[: query.limit] if query.limit else entries
        rest = entries[len(chunk) :]
        if rest:
            meta |= {"continue": secrets.token_urlsafe(12), "remainingItemCount": len(rest)}
            if query.matches:
                del meta["remainingItemCount"]
            self._rests[meta["continue"]] = (version, rest)
            if len(self._rests) > _CONTINUATIONS:
                self._rests.popitem(last=False)
        return render.envelope(meta, [render.entry(entry) for entry in chunk])

    def envelope(self, resource: Resource, items: list[bytes]) -> bytes:
        return Render(resource, self._objects).envelope({"resourceVersion": str(self._store.version)}, items)

    async def watch(self, resource: Resource, query: Query, render: Render) -> AsyncIterator[bytes]:
        place = self._store.collection(resource.storage)
        queue: asyncio.Queue[Change] = asyncio.Queue()
        try:
            first, last = self._first(resource, query)
        except errors.ApiError as error:
            yield _line(b"ERROR", json.dumps(error.status()).encode())
            return
        place.watchers.add(queue)
        try:
            is_first = True
            for kind, entry in first:
                yield _line(kind, render.event(entry, is_first=is_first))
                is_first = False
            if query.initial_events and query.bookmarks:
                yield _line(b"BOOKMARK", render.bookmark(last, {"annotations": {_INITIAL_EVENTS_END: "true"}}))
            async for change in self._live(queue, query, last):
                if isinstance(change, int):
                    yield _line(b"BOOKMARK", render.bookmark(change, {}))
                    continue
                seen = _as_seen(change, query)
                if seen:
                    yield _line(seen[0], render.event(seen[1], is_first=is_first))
                    is_first = False
        finally:
            place.watchers.discard(queue)

    def _first(self, resource: Resource, query: Query) -> tuple[list[tuple[bytes, Entry]], int]:
        """What a watch begins with, and the version it goes on from."""
        if query.version in ("", "0") or query.initial_events:
            return [(b"ADDED", entry) for entry in self.matching(resource, query)], self._store.version
        changes = self._store.collection(resource.storage).since(int(query.version))
        found = [seen for change in changes if (seen := _as_seen(change, query))]
        return found, max(self._store.version, int(query.version))

    async def _live(self, queue: asyncio.Queue[Change], query: Query, last: int) -> AsyncIterator[Change | int]:
        """Changes as they come, and a version wherever a bookmark is due."""
        clock = asyncio.get_running_loop().time
        end = clock() + query.seconds
        last_bookmark = end - _LAST_BOOKMARK

        def next_bookmark() -> float:
            return min(clock() + BOOKMARK_EVERY, last_bookmark) if query.bookmarks and clock() < last_bookmark else end

        bookmark = next_bookmark()
        while (now := clock()) < end:
            try:
                async with asyncio.timeout(bookmark - now):
                    change = await queue.get()
            except TimeoutError:
                if bookmark < end:
                    yield self._store.version
                bookmark = next_bookmark()
                continue
            if change.version > last:
                yield change


def _as_seen(change: Change, query: Query) -> tuple[bytes, Entry] | None:
    """An object that begins to match was added, and one that stops was deleted, for this watcher."""
    before = change.old is not None and query.wants(change.old)
    after = change.kind != "DELETED" and query.wants(change.new)
    if after:
        return (b"MODIFIED" if before else b"ADDED"), change.new
    if not before or change.old is None:
        return None
    if change.kind == "DELETED":
        return b"DELETED", change.new
    left = Entry(change.old.copy())  # it is shown as it was when it still matched, at the version that took it away
    left.meta["resourceVersion"] = str(change.version)
    return b"DELETED", left


def _line(kind: bytes, obj: bytes) -> bytes:
    return b'{"type":"' + kind + b'","object":' + obj + b"}\n"
