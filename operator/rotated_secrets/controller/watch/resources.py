"""Reads and lists RotatedSecrets at the API server, and writes their status.

Knows nothing of what a status means. Safe to use from several threads. Of a list only what :mod:`transform` keeps is
ever in memory, and of an object that is too large only what its report needs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rotated_secrets.api.key import Key
from rotated_secrets.api.names import API_VERSION, MANAGED_BY, MANAGED_BY_LABEL, PLURAL
from rotated_secrets.api.resource import InvalidSpec, RotatedSecret, parse_status, requests_in
from rotated_secrets.api.status import RotatedSecretStatus
from rotated_secrets.cluster import MERGE_PATCH, METADATA_LIST, MOST_VALUES, Cluster, Json, NotFound, ObjectTooLarge
from rotated_secrets.controller.watch.transform import LARGEST, only_metadata, parts_by_size, transform


@dataclass(frozen=True)
class LargeResource:
    """A RotatedSecret that is too large to be worked on, as far as it can be reported."""

    uid: str
    generation: int
    resource_version: str
    requests: Mapping[str, str]
    status: RotatedSecretStatus
    """Empty, where it cannot be parsed."""
    message: str
    """How large it is, and what to remove."""
    seen: Json
    """For the index."""


class Resources:
    """The RotatedSecrets of the namespaces that are served."""

    def __init__(self, cluster: Cluster, namespaces: Iterable[str] = ()) -> None:
        """``namespaces`` to serve; empty means all."""
        self._cluster = cluster
        self._namespaces = tuple(namespaces)
        self._lock = threading.Lock()
        self._unseen_write: float | None = None
        self._delivered: float | None = None
        self._reading_large = threading.Lock()

    def read_object(self, key: Key) -> Json | None:
        """Read the object, whose spec may not parse; None if there is none.

        Raises:
            ObjectTooLarge: see :meth:`read_large`.
            ClusterError: the API server did not answer, or refused.
        """
        try:
            return self._cluster.request("GET", _path(key), largest=LARGEST)
        except NotFound:
            return None

    def read_large(self, key: Key) -> LargeResource | None:
        """Read what can be said of an object that is too large; None if there is none. One at a time.

        Raises:
            ClusterError: the API server did not answer, or refused.
        """
        with self._reading_large:
            try:
                obj = self._cluster.request("GET", _path(key), largest=None)
            except NotFound:
                return None
            try:
                status = parse_status(obj)
            except InvalidSpec:
                status = RotatedSecretStatus()
            metadata = obj["metadata"]
            return LargeResource(
                uid=metadata["uid"],
                generation=metadata.get("generation", 0),
                resource_version=metadata["resourceVersion"],
                requests=requests_in(metadata),
                status=status,
                message=_too_large(key, obj),
                seen=transform(obj, LARGEST + 1),
            )

    def see(self, key: Key) -> Json | None:
        """Read what the index needs of an object; None if there is none. Raises: ClusterError."""
        try:
            found = self.read_object(key)
        except ObjectTooLarge:
            large = self.read_large(key)
            return None if large is None else large.seen
        return None if found is None else transform(found, 0)

    def read(self, key: Key) -> RotatedSecret | None:
        """Read a RotatedSecret; None if there is none.

        Raises:
            InvalidSpec: this version of the operator cannot parse its spec or status.
            ObjectTooLarge: see :meth:`read_large`.
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
        """:meth:`write_status` for an object whose spec does not parse. Same errors, and ObjectTooLarge: it was
        written, but cannot be returned."""
        body = {"metadata": {"uid": uid, "resourceVersion": resource_version}, "status": dict(patch)}
        began = time.monotonic()
        written = self._cluster.request(
            "PATCH", f"{_path(key)}/status", body=body, content_type=MERGE_PATCH, largest=LARGEST
        )
        if written["metadata"]["resourceVersion"] != resource_version:
            with self._lock:
                # The watch may have shown the write before the response came.
                if self._delivered is None or self._delivered < began:
                    self._unseen_write = began if self._unseen_write is None else min(self._unseen_write, began)
        return written

    def pages(self) -> Iterator[list[Json]]:
        """What the index needs of every RotatedSecret, in chunks."""
        for path in self._lists():
            yield from self._cluster.pages(path, transform)

    def metadata_pages(self) -> Iterator[list[Json]]:
        """Namespace, name and uid of every RotatedSecret, in chunks."""
        for path in self._lists():
            yield from self._cluster.pages(path, only_metadata, accept=METADATA_LIST)

    def check_access(self) -> None:
        """Make the requests that the watches will make, so that something missing gives a clear error.

        Raises:
            ClusterError: NotFound if the CRD is missing, Forbidden if a permission is missing, Unreachable.
        """
        for path in self._lists():
            self._cluster.page(path, only_metadata, query={"limit": 1}, accept=METADATA_LIST)
        for path in secret_lists(self._namespaces):
            query: dict[str, str | int] = {"limit": 1, "labelSelector": OUR_SECRETS}
            self._cluster.page(path, only_metadata, query=query, accept=METADATA_LIST)

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


OUR_SECRETS = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
"""The label selector of target Secrets."""


def secret_lists(namespaces: Iterable[str]) -> list[str]:
    """Return where to list the Secrets of these namespaces; of all, if there are none."""
    return _namespaced("/api/v1", "secrets", tuple(namespaces))


def _too_large(key: Key, obj: Json) -> str:
    parts = parts_by_size(obj)
    name, size = parts[0]
    total = sum(length for _, length in parts)
    return (
        f"RotatedSecret {key} is too large: {total >> 10} KiB as JSON with {name} alone {size >> 10} KiB, and the "
        f"operator reads at most {LARGEST >> 10} KiB and {MOST_VALUES} values; remove what fills {name}"
    )


def _path(key: Key) -> str:
    return f"/apis/{API_VERSION}/namespaces/{key.namespace}/{PLURAL}/{key.name}"


def _namespaced(root: str, plural: str, namespaces: tuple[str, ...]) -> list[str]:
    return [f"{root}/namespaces/{each}/{plural}" for each in namespaces] or [f"{root}/{plural}"]
