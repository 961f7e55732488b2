"""One resource as it changes, for as long as somebody waits: told by a watch, which is opened anew whenever it ends.

Knows nothing of what is waited for.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from rotated_secrets.cli.events import Changed, CutOff, Deleted, Event, Failed
from rotated_secrets.cli.seen import Seen, read
from rotated_secrets.cluster import ClusterError, Gone, Json, Unreachable

if TYPE_CHECKING:
    from rotated_secrets.cli.resources import Resources

PAUSE = 1.0
"""Seconds until an API server that cannot be reached is asked again."""


class Watch(threading.Thread):
    """Follows one resource from a version on, and puts what happens into a queue."""

    def __init__(self, resources: Resources, seen: Seen, version: str, events: queue.SimpleQueue[Event]) -> None:
        super().__init__(name=f"watch {seen}", daemon=True)
        self._resources = resources
        self._seen = seen
        self._version: str | None = version
        self._tell: Callable[[Event], None] = events.put
        self._stopped = threading.Event()
        self._cut_off = False

    def stop(self) -> None:
        """It ends by itself soon; nothing that it still tells matters."""
        self._stopped.set()

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._version = self._version or self._look_again()
                self._follow(self._version)
            except Gone:
                self._version = None
            except Unreachable as error:
                self._cut_off = True
                self._tell(CutOff(self._seen.name, str(self._resources.problem_of_watch(error, self._seen.name))))
                self._stopped.wait(PAUSE)
            except ClusterError as error:
                self._tell(Failed(self._seen.name, self._resources.problem_of_watch(error, self._seen.name)))
                return

    def _follow(self, version: str) -> None:
        for event in self._resources.events(self._seen.name, version):
            if self._stopped.is_set():
                return
            self._reached()
            obj = event["object"]
            self._version = obj["metadata"]["resourceVersion"]
            if event["type"] == "DELETED":
                self._tell(Deleted(self._seen.name))
            elif event["type"] in ("ADDED", "MODIFIED"):
                self._tell(self._event(obj))
        self._reached()

    def _look_again(self) -> str:
        """The version is too old to go on from: how is it now?"""
        found, version = self._resources.list_one(self._seen.name)
        self._reached()
        self._tell(self._event(found[0]) if found else Deleted(self._seen.name))
        return version

    def _event(self, obj: Json) -> Event:
        seen = read(obj)
        return Changed(seen) if seen.uid == self._seen.uid else Deleted(self._seen.name)

    def _reached(self) -> None:
        if self._cut_off:
            self._cut_off = False
            self._tell(CutOff(self._seen.name, ""))
