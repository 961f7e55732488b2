"""The journal: one ConfigMap in the operator's namespace for each rotation that has begun, until it has ended.

A RotatedSecret can be deleted in the middle of its rotation, also while no operator runs, and its status goes with it.
Its entry here stays, so the rotation is ended nevertheless, and no finalizer can hold up the deletion of a namespace.
Knows nothing of how a rotation is ended. Safe from several threads.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import defaultdict
from dataclasses import replace
from typing import Final

from pydantic import ValidationError

from rotated_secrets.api.key import Key
from rotated_secrets.api.names import JOURNAL_LABEL, OWNER_ANNOTATION
from rotated_secrets.api.resource import InvalidSpec, RotatedSecret
from rotated_secrets.api.status import Claim
from rotated_secrets.api.target import CreationPolicy
from rotated_secrets.cluster import METADATA_LIST, Cluster, Conflict, Json, NotFound

log = logging.getLogger(__name__)

LONGEST: Final = 64 * 1024
"""Characters of an entry. A spec that is longer is kept without its target: tenants choose how long it is, and the
operator's namespace has no quota for them."""
_FIELD: Final = "rotatedSecret"


class Journal:
    """Entries by RotatedSecret. An entry has the uid of the object: a later one of the same name is another one."""

    def __init__(self, cluster: Cluster, *, namespace: str, lease: str) -> None:
        """``lease`` is the name of the operator's Lease: operators that share a namespace differ in it."""
        self._cluster = cluster
        self._path = f"/api/v1/namespaces/{namespace}/configmaps"
        self._prefix = f"{lease[:200]}-"
        self._label = lease[:63].strip("-.")
        self._lock = threading.Lock()
        self._entries: defaultdict[Key, set[str]] = defaultdict(set)

    def check_access(self) -> None:
        """Read the list as :meth:`load` does. Raises: ClusterError."""
        self._cluster.request("GET", self._path, query=self._query | {"limit": 1}, accept=METADATA_LIST)

    def load(self) -> list[Key]:
        """Read which entries there are; before work starts, since another replica may have written them.

        Returns:
            The RotatedSecrets that have one.

        Raises:
            ClusterError: the API server did not answer, or refused.
        """
        found: defaultdict[Key, set[str]] = defaultdict(set)
        for page in self._cluster.pages(
            self._path, lambda obj, _: obj["metadata"], query=self._query, accept=METADATA_LIST
        ):
            for metadata in page:
                namespace, _, name = str((metadata.get("annotations") or {}).get(OWNER_ANNOTATION)).partition("/")
                found[Key(namespace, name)].add(metadata["name"].removeprefix(self._prefix))
        with self._lock:
            self._entries = found
        return list(found)

    def has(self, key: Key, uid: str | None = None) -> bool:
        """Whether there is an entry for a RotatedSecret; without ``uid``, for any object of this name."""
        with self._lock:
            found = self._entries.get(key, set())
            return uid in found if uid is not None else bool(found)

    def open(self, resource: RotatedSecret, claim: Claim) -> None:
        """Make an entry, unless there is one. Raises: ClusterError."""
        if self.has(resource.key, resource.uid):
            return
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": self._prefix + resource.uid,
                "labels": {JOURNAL_LABEL: self._label},
                "annotations": {OWNER_ANNOTATION: str(resource.key)},
            },
            "data": {_FIELD: _written(resource, claim)},
        }
        try:
            self._cluster.request("POST", self._path, body=body)
        except Conflict:
            log.debug("the entry of RotatedSecret %s is there", resource)
        with self._lock:
            self._entries[resource.key].add(resource.uid)

    def close(self, key: Key, uid: str) -> None:
        """Remove an entry, if there is one. Raises: ClusterError."""
        if not self.has(key, uid):
            return
        try:
            self._cluster.request("DELETE", f"{self._path}/{self._prefix}{uid}")
        except NotFound:
            log.debug("the entry of RotatedSecret %s is gone", key)
        with self._lock:
            self._entries[key].discard(uid)
            if not self._entries[key]:
                del self._entries[key]

    def left_by(self, key: Key, living: str | None) -> list[RotatedSecret]:
        """The RotatedSecrets of this name that are gone and have an entry, as they were when it was made.

        ``living`` is the uid of the object that has the name now. Raises: ClusterError.
        """
        with self._lock:
            uids = sorted(self._entries.get(key, set()) - {living})
        return [resource for uid in uids if (resource := self._read(key, uid)) is not None]

    def _read(self, key: Key, uid: str) -> RotatedSecret | None:
        by_name = {"fieldSelector": f"metadata.name={self._prefix}{uid}"}
        entry = next(iter(self._cluster.request("GET", self._path, query=by_name).get("items") or ()), None)
        if entry is None:
            self.close(key, uid)
            return None
        try:
            found = RotatedSecret.parse(json.loads((entry.get("data") or {})[_FIELD]))
        except (InvalidSpec, ValidationError, ValueError, KeyError, TypeError) as error:
            log.error("ConfigMap %s%s is not an entry of the journal and is removed: %r", self._prefix, uid, error)
            self.close(key, uid)
            return None
        return replace(found, deleting=True)

    @property
    def _query(self) -> dict[str, str | int]:
        return {"labelSelector": f"{JOURNAL_LABEL}={self._label}"}


def _written(resource: RotatedSecret, claim: Claim) -> str:
    # No workload is restarted for what is gone.
    spec = resource.spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"rollout"})
    written = _as_json(resource, spec, claim)
    if len(written) <= LONGEST:
        return written
    return _as_json(resource, spec | {"target": {"creationPolicy": CreationPolicy.NONE}}, claim)


def _as_json(resource: RotatedSecret, spec: Json, claim: Claim) -> str:
    metadata = {
        "namespace": resource.namespace,
        "name": resource.name,
        "uid": resource.uid,
        "generation": resource.generation,
        "resourceVersion": resource.resource_version,
        "creationTimestamp": resource.created_at.isoformat(),
    }
    rotation = claim.model_dump(mode="json", by_alias=True, exclude_none=True)
    return json.dumps({"metadata": metadata, "spec": spec, "status": {"rotation": rotation}}, separators=(",", ":"))
