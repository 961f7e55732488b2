"""The journal: one ConfigMap in the operator's namespace for each rotation that has begun, until it has ended.

A RotatedSecret can be deleted in the middle of its rotation, also while no operator runs, and its status goes with it.
Its entry here stays, so the rotation is ended nevertheless, and no finalizer can hold up the deletion of a namespace.
Knows nothing of how a rotation is ended. Safe from several threads.

An entry is in no tenant's quota, so it holds only what the end of a rotation needs, in :data:`LONGEST` bytes. Before
AWSCURRENT moves, the target Secret needs nothing: it held AWSCURRENT when the password was set, and does so after the
rollback. It is written only if the operator's process ended right after finishSecret; for that the entry has the spec's
target, if it fits.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from pydantic import ValidationError
from pydantic.main import IncEx

from rotated_secrets.api.key import Key
from rotated_secrets.api.names import JOURNAL_LABEL, OWNER_ANNOTATION
from rotated_secrets.api.resource import InvalidSpec, RotatedSecret
from rotated_secrets.api.status import Claim
from rotated_secrets.api.target import CreationPolicy
from rotated_secrets.cluster import METADATA_LIST, Cluster, Conflict, Json, NotFound, Rejected

log = logging.getLogger(__name__)

LONGEST: Final = 4096
"""Bytes of an entry; usual ones have about 1,000. A longer one is written without its target."""
_FIELD: Final = "rotatedSecret"
_TARGET_LEFT_OUT: Final = "targetLeftOut"
_NEEDED: Final[dict[str, bool | IncEx]] = {
    "source": True,
    "database": True,
    "rotation": {"strategy": True, "admin_secret_id": True, "clone_suffix": True, "random": {"keys": True}},
    "target": True,
}
"""Fields of the spec. For what is gone, no other rotation begins, no value is generated and no workload is restarted. A
rotation that has to be completed is not stopped by a verify query: no other password works."""
_FAILURE: Final = 256
"""Characters that are kept of why a rotation was being rolled back."""


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

    def count_left(self, namespace: str, living: Callable[[Key], str | None]) -> int:
        """Count the entries of a namespace whose RotatedSecret is gone.

        ``living`` returns the uid of the RotatedSecret that has a name now.
        """
        with self._lock:
            entries = [(key, uid) for key, uids in self._entries.items() if key.namespace == namespace for uid in uids]
        return sum(living(key) != uid for key, uid in entries)

    def open(self, resource: RotatedSecret, claim: Claim) -> None:
        """Make an entry, unless there is one. Raises: ClusterError; Rejected, where it would be too long."""
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
            "data": _written(resource, claim),
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
        data = entry.get("data") or {}
        try:
            found = RotatedSecret.parse(json.loads(data[_FIELD]))
        except (InvalidSpec, ValidationError, ValueError, KeyError, TypeError) as error:
            log.error("ConfigMap %s%s is not an entry of the journal and is removed: %r", self._prefix, uid, error)
            self.close(key, uid)
            return None
        if _TARGET_LEFT_OUT in data:
            log.warning(
                "RotatedSecret %s was deleted in the middle of its rotation, and its target was too long for the "
                "journal, so Secret %s is not written; if it stays and does not hold AWSCURRENT of %s, correct it",
                key,
                data[_TARGET_LEFT_OUT],
                found.spec.source.secret_id,
            )
        return replace(found, deleting=True)

    @property
    def _query(self) -> dict[str, str | int]:
        return {"labelSelector": f"{JOURNAL_LABEL}={self._label}"}


def _written(resource: RotatedSecret, claim: Claim) -> dict[str, str]:
    """The data of the ConfigMap. Raises: Rejected."""
    spec = resource.spec.model_dump(mode="json", by_alias=True, exclude_unset=True, include=_NEEDED)
    written = _as_json(resource, spec, claim)
    if len(written) <= LONGEST:
        return {_FIELD: written}
    written = _as_json(resource, spec | {"target": {"creationPolicy": CreationPolicy.NONE}}, claim)
    if len(written) > LONGEST:
        raise Rejected(
            f"the journal's entry would have {len(written)} bytes, and may have {LONGEST}; shorten source, database, "
            "rotation.adminSecretId or rotation.random.keys",
            status=413,
        )
    return {_FIELD: written} | ({_TARGET_LEFT_OUT: resource.target_name} if resource.spec.target.is_delivered else {})


def _as_json(resource: RotatedSecret, spec: Json, claim: Claim) -> str:
    metadata = {
        "namespace": resource.namespace,
        "name": resource.name,
        "uid": resource.uid,
        "generation": resource.generation,
        "resourceVersion": resource.resource_version,
        "creationTimestamp": resource.created_at.isoformat(),
    }
    shown = {"failure": claim.failure and claim.failure[:_FAILURE], "message": "", "request": None}
    rotation = claim.model_copy(update=shown).model_dump(mode="json", by_alias=True, exclude_none=True)
    return json.dumps({"metadata": metadata, "spec": spec, "status": {"rotation": rotation}}, separators=(",", ":"))
