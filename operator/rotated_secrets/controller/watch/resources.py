"""Reads and lists RotatedSecrets at the API server, and writes their status.

Knows nothing of what a status means. Safe to use from several threads. Of a list only what :mod:`transform` keeps is
ever in memory, and of an object that is too large only what its report needs.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rotated_secrets.api.key import Key
from rotated_secrets.api.names import API_VERSION, MANAGED_BY, MANAGED_BY_LABEL, PLURAL
from rotated_secrets.api.resource import InvalidSpec, RotatedSecret, parse_status, requests_in
from rotated_secrets.api.status import RotatedSecretStatus
from rotated_secrets.cluster import (
    MERGE_PATCH,
    METADATA_LIST,
    MOST_VALUES,
    Cluster,
    ClusterError,
    Forbidden,
    Json,
    NotFound,
    ObjectTooLarge,
)
from rotated_secrets.controller.namespaces import EVERYWHERE, ServedNamespaces
from rotated_secrets.controller.watch.transform import LARGEST, only_metadata, parts_by_size, transform

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LargeResource:
    """A RotatedSecret that is too large to be worked on, as far as it can be reported."""

    requests: Mapping[str, str]
    status: RotatedSecretStatus
    """Empty, where it cannot be parsed."""
    message: str
    """How large it is, and what to remove."""
    seen: Json
    """Which object it is, and what of it the index needs."""


class Resources:
    """The RotatedSecrets of the namespaces that are served."""

    def __init__(
        self, cluster: Cluster, namespaces: Iterable[str] = (), served: ServedNamespaces | None = None
    ) -> None:
        """``namespaces`` to serve; empty means all. ``served`` says which of them are set aside."""
        self._cluster = cluster
        self._namespaces = tuple(namespaces)
        self._served = served or ServedNamespaces()
        self._lock = threading.Lock()
        self._unseen_writes: dict[str, float] = {}
        """By namespace: when the oldest status was written that the watch has not shown."""
        self._delivered: float | None = None
        self._reading_large = threading.Lock()
        self._told: set[str] = set()
        """Fields of specs that the log says are skipped."""

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
            return LargeResource(
                requests=requests_in(obj["metadata"]),
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
        if found is None:
            return None
        resource = RotatedSecret.parse(found)
        self._tell_skipped(resource)
        return resource

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
                    self._unseen_writes.setdefault(key.namespace, began)
        return written

    def pages(self) -> Iterator[list[Json]]:
        """What the index needs of every RotatedSecret, in chunks. Namespaces that are refused are left out."""
        for namespace in self.places:
            with self._unless_refused(namespace):
                yield from self._cluster.pages(_resources(namespace), transform)

    def metadata_pages(self, namespace: str) -> Iterator[list[Json]]:
        """Namespace, name and uid of each RotatedSecret in one of the :attr:`places`. Raises: ClusterError."""
        yield from self._cluster.pages(_resources(namespace), only_metadata, accept=METADATA_LIST)

    @property
    def places(self) -> tuple[str, ...]:
        """The namespaces that are served, each listed by itself; or EVERYWHERE."""
        return self._namespaces or (EVERYWHERE,)

    def check_access(self) -> None:
        """Make the requests that the watches will make, so that something missing gives a clear error.

        Namespaces that are refused are set aside, as long as one is not.

        Raises:
            ClusterError: NotFound if the CRD is missing, Forbidden if a permission is missing, Unreachable.
        """
        refused: dict[str, tuple[str, ClusterError]] = {}
        for namespace in self.places:
            kind = PLURAL
            try:
                self._cluster.page(_resources(namespace), only_metadata, query={"limit": 1}, accept=METADATA_LIST)
                kind = SECRETS
                labelled: dict[str, str | int] = {"limit": 1, "labelSelector": OUR_SECRETS}
                self._cluster.page(_secrets(namespace), only_metadata, query=labelled, accept=METADATA_LIST)
            except (Forbidden, NotFound) as error:
                refused[namespace] = kind, error
        if len(refused) == len(self.places):
            raise next(iter(refused.values()))[1]
        for namespace, (kind, why) in refused.items():
            self._served.refused(namespace, kind, str(why))

    @contextlib.contextmanager
    def _unless_refused(self, namespace: str) -> Iterator[None]:
        """Set a namespace aside that is refused, unless there is no other."""
        try:
            yield
        except (Forbidden, NotFound) as error:
            if len(self.places) == 1:
                raise
            self._served.refused(namespace, PLURAL, str(error))

    def watch_delivered(self) -> None:
        """Record that the watch has delivered an event, so it is alive."""
        with self._lock:
            self._delivered = time.monotonic()
            self._unseen_writes.clear()

    def unseen_write_age(self) -> float:
        """Seconds since the oldest status write after which the watch has delivered nothing; 0 if there is none.

        Namespaces that are set aside do not count: a new process could not watch them either.
        """
        with self._lock:
            writes = [at for namespace, at in self._unseen_writes.items() if not self._served.is_set_aside(namespace)]
        return time.monotonic() - min(writes) if writes else 0.0

    def _tell_skipped(self, resource: RotatedSecret) -> None:
        """Log each field that this version skips once: with a default every RotatedSecret has it."""
        with self._lock:
            new = [field for field in resource.skipped if field not in self._told]
            self._told.update(new)
        if new:
            log.warning(
                "RotatedSecret %s: this version of the operator does not know %s and skips it, here and in every other "
                "RotatedSecret: the CustomResourceDefinition is of a newer version; upgrade the operator",
                resource,
                ", ".join(new),
            )


SECRETS: Final = "secrets"
OUR_SECRETS = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
"""The label selector of target Secrets."""


def secret_lists(namespaces: Iterable[str]) -> list[str]:
    """Return where to list the Secrets of these namespaces; of all, if there are none."""
    return [_secrets(namespace) for namespace in tuple(namespaces) or (EVERYWHERE,)]


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


def _resources(namespace: str) -> str:
    return _listed(f"/apis/{API_VERSION}", namespace, PLURAL)


def _secrets(namespace: str) -> str:
    return _listed("/api/v1", namespace, SECRETS)


def _listed(root: str, namespace: str, plural: str) -> str:
    return f"{root}/{plural}" if namespace == EVERYWHERE else f"{root}/namespaces/{namespace}/{plural}"
