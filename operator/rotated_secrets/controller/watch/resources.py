"""Reads and lists RotatedSecrets at the API server, and writes their status.

Knows nothing of what a status means. Safe to use from several threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rotated_secrets.api.key import Key
from rotated_secrets.api.names import API_VERSION, MANAGED_BY, MANAGED_BY_LABEL, PLURAL
from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.cluster import MERGE_PATCH, METADATA_LIST, Cluster, Json, NotFound


class Resources:
    """The RotatedSecrets of the namespaces that are served."""

    def __init__(self, cluster: Cluster, namespaces: Iterable[str] = ()) -> None:
        """``namespaces`` to serve; empty means all."""
        self._cluster = cluster
        self._namespaces = tuple(namespaces)
        self._lock = threading.Lock()
        self._unseen_write: float | None = None
        self._delivered: float | None = None

    def read_object(self, key: Key) -> Json | None:
        """Read the object, whose spec may not parse; None if there is none."""
        try:
            return self._cluster.request("GET", _path(key))
        except NotFound:
            return None

    def read(self, key: Key) -> RotatedSecret | None:
        """Read a RotatedSecret; None if there is none.

        Raises:
            InvalidSpec: this version of the operator cannot parse its spec or status.
            ClusterError: the API server did not answer, or refused.
        """
        found = self.read_object(key)
        return None if found is None else RotatedSecret.parse(found)

    def write_status(self, resource: RotatedSecret, patch: Mapping[str, Any]) -> RotatedSecret:
        """Merge ``patch`` into the status, unless the object changed since ``resource`` was read.

        Returns:
            The RotatedSecret after the write.

        Raises:
            Conflict: it has changed, or is another object of the same name: read it again.
            NotFound: it is gone.
            ClusterError: the API server did not answer, or refused. The write may have happened.
        """
        return RotatedSecret.parse(
            self.write_status_of(
                resource.key, uid=resource.uid, resource_version=resource.resource_version, patch=patch
            )
        )

    def write_status_of(self, key: Key, *, uid: str, resource_version: str, patch: Mapping[str, Any]) -> Json:
        """:meth:`write_status` for an object whose spec does not parse. Same errors; returns the object."""
        body = {"metadata": {"uid": uid, "resourceVersion": resource_version}, "status": dict(patch)}
        began = time.monotonic()
        written = self._cluster.request("PATCH", f"{_path(key)}/status", body=body, content_type=MERGE_PATCH)
        if written["metadata"]["resourceVersion"] != resource_version:
            with self._lock:
                # The watch may have shown the write before the response came.
                if self._delivered is None or self._delivered < began:
                    self._unseen_write = began if self._unseen_write is None else min(self._unseen_write, began)
        return written

    def pages(self) -> Iterator[list[Json]]:
        """Every RotatedSecret, in chunks."""
        for path in self._lists():
            yield from self._cluster.pages(path)

    def metadata_pages(self) -> Iterator[list[Json]]:
        """The metadata of every RotatedSecret, in chunks."""
        for path in self._lists():
            yield from self._cluster.pages(path, accept=METADATA_LIST)

    def check_access(self) -> None:
        """Make the requests that the watches will make, so that something missing gives a clear error.

        Raises:
            ClusterError: NotFound if the CRD is missing, Forbidden if a permission is missing, Unreachable.
        """
        for path in self._lists():
            self._cluster.request("GET", path, query={"limit": 1}, accept=METADATA_LIST)
        selector = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
        for path in _namespaced("/api/v1", "secrets", self._namespaces):
            self._cluster.request("GET", path, query={"limit": 1, "labelSelector": selector}, accept=METADATA_LIST)

    def watch_delivered(self) -> None:
        """Record that the watch has delivered an event, so it is alive."""
        with self._lock:
            self._delivered = time.monotonic()
            self._unseen_write = None

    def unseen_write_age(self) -> float:
        """Seconds since the oldest status write after which the watch has delivered nothing; 0 if there is none."""
        with self._lock:
            return 0.0 if self._unseen_write is None else time.monotonic() - self._unseen_write

    def _lists(self) -> list[str]:
        return _namespaced(f"/apis/{API_VERSION}", PLURAL, self._namespaces)


def _path(key: Key) -> str:
    return f"/apis/{API_VERSION}/namespaces/{key.namespace}/{PLURAL}/{key.name}"


def _namespaced(root: str, plural: str, namespaces: tuple[str, ...]) -> list[str]:
    return [f"{root}/namespaces/{each}/{plural}" for each in namespaces] or [f"{root}/{plural}"]
