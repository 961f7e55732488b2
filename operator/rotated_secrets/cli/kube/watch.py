"""Watch one RotatedSecret, and open the watch again whenever it ends.

Must not know what the caller waits for.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from rotated_secrets.cli.kube.rotated_secret import RotatedSecretView, read
from rotated_secrets.cli.kube.watch_events import Changed, Deleted, Disconnected, WatchEvent, WatchFailed
from rotated_secrets.cluster import ClusterError, Gone, Json, Unreachable

if TYPE_CHECKING:
    from rotated_secrets.cli.kube.client import RotatedSecretClient

PAUSE = 1.0
"""Seconds between two attempts to reach the API server."""


class Watch(threading.Thread):
    """Watches one resource from a version on, and puts events into a queue."""

    def __init__(
        self,
        client: RotatedSecretClient,
        resource: RotatedSecretView,
        version: str,
        events: queue.SimpleQueue[WatchEvent],
    ) -> None:
        super().__init__(name=f"watch {resource}", daemon=True)
        self._client = client
        self._resource = resource
        self._version: str | None = version
        self._emit: Callable[[WatchEvent], None] = events.put
        self._stopped = threading.Event()
        self._disconnected = False

    def stop(self) -> None:
        """Let the thread end soon. Ignore what it still puts into the queue."""
        self._stopped.set()

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._version = self._version or self._read_again()
                self._follow(self._version)
            except Gone:
                self._version = None
            except Unreachable as error:
                self._disconnected = True
                self._emit(Disconnected(self._resource.name, str(self._client.watch_error(error, self._resource.name))))
                self._stopped.wait(PAUSE)
            except ClusterError as error:
                self._emit(WatchFailed(self._resource.name, self._client.watch_error(error, self._resource.name)))
                return

    def _follow(self, version: str) -> None:
        for event in self._client.events(self._resource.name, version):
            if self._stopped.is_set():
                return
            self._connected()
            obj = event["object"]
            self._version = obj["metadata"]["resourceVersion"]
            if event["type"] == "DELETED":
                self._emit(Deleted(self._resource.name))
            elif event["type"] in ("ADDED", "MODIFIED"):
                self._emit(self._event(obj))
        self._connected()

    def _read_again(self) -> str:
        """Read the resource, because the version is too old to watch from. Returns the new version."""
        found, version = self._client.list_named(self._resource.name)
        self._connected()
        self._emit(self._event(found[0]) if found else Deleted(self._resource.name))
        return version

    def _event(self, obj: Json) -> WatchEvent:
        resource = read(obj)
        return Changed(resource) if resource.uid == self._resource.uid else Deleted(self._resource.name)

    def _connected(self) -> None:
        if self._disconnected:
            self._disconnected = False
            self._emit(Disconnected(self._resource.name, ""))
