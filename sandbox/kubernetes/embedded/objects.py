"""What a write goes through, from the body a client sends to the object that is stored: admission, schema, metadata.

Synchronous throughout, so that a write is never seen half done.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sandbox.kubernetes.embedded import builtin, crds, errors, models, ownership
from sandbox.kubernetes.embedded.errors import FieldError
from sandbox.kubernetes.embedded.resources import CRDS, EVENTS_V1, Registry, Resource
from sandbox.kubernetes.embedded.schema import MISSING
from sandbox.kubernetes.embedded.store import Entry, Obj, Store

Transform = Callable[[Obj], Obj]
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
_KEPT_METADATA = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "namespace",
)


@dataclass(frozen=True)
class WriteOptions:
    manager: str = "unknown"
    operation: str = "Update"
    field_validation: str = "Warn"
    dry_run: bool = False


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Objects:
    """Reads and writes; what follows from a deletion is `deletion.py`'s, told through `on_change`."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self.store, self.registry, self._definitions = store, registry, crds.Definitions()
        self.on_gone: Callable[[Entry], None] = lambda _: None
        self.on_created: Callable[[str, Entry], None] = lambda *_: None

    def get(self, resource: Resource, namespace: str, name: str) -> Entry:
        entry = self.store.get(resource.storage, (namespace, name))
        if not entry:
            raise resource.not_found(name)
        return entry

    def create(self, resource: Resource, namespace: str, obj: Obj, options: WriteOptions, warnings: list[str]) -> Entry:
        self._check_kind(resource, obj)
        meta = obj.setdefault("metadata", {})
        if meta.get("namespace", namespace) != namespace:
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        if meta.get("resourceVersion"):
            raise errors.bad_request("resourceVersion should not be set on objects to be created")
        self._check_namespace(resource, namespace, meta)
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + "".join(secrets.choice(_SUFFIX) for _ in range(5))
        if not meta.get("name"):
            problem = errors.required("metadata.name", "name or generateName is required")
            raise resource.invalid("", [problem])
        for part in ("selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
            meta.pop(part, None)
        meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()} | ({"namespace": namespace} if namespace else {})
        if resource.counts_generations:
            meta["generation"] = 1
        if resource.has_status:
            obj.pop("status", None)
        obj = self._finish(resource, obj, None, options, warnings)
        if self.store.get(resource.storage, (namespace, meta["name"])):
            raise errors.already_exists(resource.plural, resource.group, meta["name"])
        if resource.storage == CRDS:
            self._serve(obj, dry_run=options.dry_run)
        if options.dry_run:
            return Entry(obj)
        entry = self.store.put(resource.storage, obj)
        self.on_created(resource.storage, entry)
        return entry

    def update(
        self,
        resource: Resource,
        old: Entry,
        change: Transform,
        options: WriteOptions,
        warnings: list[str],
        subresource: str = "",
    ) -> Entry:
        before = old.obj
        new = change(self.shown(resource, old.copy()))
        self._check_kind(resource, new)
        self._check_identity(resource, before["metadata"], new)
        new = self._confine(resource, before, new, subresource)
        new = self._finish(resource, new, before, options, warnings, subresource)
        if resource.counts_generations and _content(new, resource) != _content(before, resource):
            new["metadata"]["generation"] = before["metadata"].get("generation", 0) + 1
        if _without_owners(new) == _without_owners(before) and options.operation == "Update":
            return old
        if resource.storage == CRDS:
            self._serve(new, dry_run=options.dry_run)
        if options.dry_run:
            return Entry(new)
        if (
            new["metadata"].get("deletionTimestamp")
            and not new["metadata"].get("finalizers")
            and resource.storage != "namespaces"
        ):
            return self.remove(resource.storage, Entry(new))
        return self.store.put(resource.storage, new)

    def apply(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        wanted: Obj,
        options: WriteOptions,
        warnings: list[str],
        *,
        force: bool,
        subresource: str = "",
    ) -> tuple[Entry, bool]:
        """Server-side apply; tells whether the object was created."""
        if not wanted.get("metadata", {}).get("name") == name:
            raise errors.bad_request("metadata.name must be the name in the request's path")
        if wanted["metadata"].pop("managedFields", None):
            raise errors.bad_request("metadata.managedFields must be nil")
        self._check_kind(resource, wanted)
        live = self.store.get(resource.storage, (namespace, name))
        owner = (options.manager, "Apply", resource.api_version, subresource)
        self._prune(resource, wanted, options, warnings)
        if resource.has_status and not subresource:
            wanted.pop("status", None)
        if not live:
            if subresource:
                raise resource.not_found(name)
            created = ownership.apply(None, wanted, resource.schema, owner, now(), force=force)
            return self.create(resource, namespace, created, options, warnings), True

        def change(_: Obj) -> Obj:
            return ownership.apply(live.copy(), wanted, resource.schema, owner, now(), force=force)

        return self.update(resource, live, change, options, warnings, subresource), False

    def remove(self, storage: str, entry: Entry) -> Entry:
        """Take an object away for good; what hangs on it follows."""
        gone = self.store.remove(storage, entry.key)
        self.on_gone(gone)
        return gone

    # ---- steps

    def shown(self, resource: Resource, obj: Obj) -> Obj:
        """A stored object as this version of the resource has it."""
        if resource.group == EVENTS_V1:
            return builtin.event_from_v1(obj)
        return obj if obj["apiVersion"] == resource.api_version else obj | {"apiVersion": resource.api_version}

    def _check_kind(self, resource: Resource, obj: Obj) -> None:
        if resource.is_custom and not obj.get("kind"):
            why = f"must be of type {resource.kind}): Object 'Kind' is missing"
            raise errors.bad_request(f"the object provided is unrecognized ({why}")
        for part, wanted in (("apiVersion", resource.api_version), ("kind", resource.kind)):
            given = obj.setdefault(part, wanted)
            if given != wanted:
                label = "API version" if part == "apiVersion" else "kind"
                raise errors.bad_request(
                    f"the {label} in the data ({given}) does not match the expected {label} ({wanted})"
                )

    def _check_namespace(self, resource: Resource, namespace: str, meta: Obj) -> None:
        if not resource.namespaced:
            return
        found = self.store.get("namespaces", ("", namespace))
        if not found:
            raise errors.not_found("namespaces", "", namespace)
        if found.meta.get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise errors.forbidden(resource.plural, resource.group, meta.get("name", ""), why)

    def _check_identity(self, resource: Resource, before: Obj, new: Obj) -> None:
        meta, name = new.setdefault("metadata", {}), before["name"]
        if meta.get("name", name) != name:
            raise errors.bad_request(
                f"the name of the object ({meta['name']}) does not match the name on the URL ({name})"
            )
        if meta.get("namespace", before.get("namespace")) != before.get("namespace"):
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        if meta.get("uid", before["uid"]) != before["uid"]:
            why = f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {before['uid']}"
            raise errors.conflict(resource.plural, resource.group, name, why)
        version = meta.get("resourceVersion")
        if not version and resource.needs_version:
            problem = errors.invalid_value("metadata.resourceVersion", 0, "must be specified for an update")
            raise resource.invalid(name, [problem])
        if version and version != before["resourceVersion"]:
            raise errors.conflict(resource.plural, resource.group, name)

    def _confine(self, resource: Resource, before: Obj, new: Obj, subresource: str) -> Obj:
        """What this request may not change stays as it was."""
        if subresource:
            fields = new["metadata"].get("managedFields")
            kept = before | {"metadata": before["metadata"] | ({"managedFields": fields} if fields else {})}
            return (
                (kept | {"status": new["status"]})
                if "status" in new
                else {k: v for k, v in kept.items() if k != "status"}
            )
        if resource.has_status:
            new = {key: value for key, value in new.items() if key != "status"} | {
                k: before[k] for k in ("status",) if k in before
            }
        old_meta, meta = before["metadata"], new["metadata"]
        for part in _KEPT_METADATA:
            meta.pop(part, None)
            if part in old_meta:
                meta[part] = old_meta[part]
        return new | {"metadata": meta}

    def _finish(
        self,
        resource: Resource,
        new: Obj,
        before: Obj | None,
        options: WriteOptions,
        warnings: list[str],
        subresource: str = "",
    ) -> Obj:
        name = new["metadata"]["name"]
        problems: list[FieldError] = []
        is_applied = options.operation == "Apply"
        self._prune(resource, new, options, warnings)
        if resource.schema:
            resource.schema.default(new)
        if resource.group == EVENTS_V1:
            new = builtin.event_to_v1(new)
        problems += builtin.admit(resource.storage, new, before)
        if resource.group == EVENTS_V1 and before is None:
            problems += builtin.new_event_errors(new)
        for part in ("labels", "annotations", "finalizers", "ownerReferences"):
            if not new["metadata"].get(part, True):
                del new["metadata"][part]
        problems += builtin.metadata_errors(new, resource.storage)
        problems += _finalizer_errors(before, new)
        if resource.schema:
            problems += resource.schema.problems(new, MISSING if before is None else before)
        if problems:
            raise resource.invalid(name, problems)
        if not is_applied:
            owner = (options.manager, "Update", resource.api_version, subresource)
            new["metadata"]["managedFields"] = ownership.after_update(before, new, resource.schema, owner, now())
        return new

    def _prune(self, resource: Resource, obj: Obj, options: WriteOptions, warnings: list[str]) -> None:
        what = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
        try:
            if resource.schema:
                found = list(resource.schema.prune(obj, is_root=True))
                found += models.decode(obj["metadata"], models.model(models.METADATA), "metadata")
            else:
                known = models.model("EventsV1Event") if resource.group == EVENTS_V1 else models.of_kind(resource.kind)
                found = models.decode(obj, known)
        except models.DecodeError as error:
            raise errors.bad_request(f"{what}: {error}") from error
        unknown = [f'unknown field "{path}"' for path in found]
        if not unknown or options.field_validation == "Ignore":
            return
        if options.field_validation == "Strict":
            raise errors.bad_request(f"{what}: strict decoding error: {', '.join(unknown)}")
        warnings += unknown

    def _serve(self, crd: Obj, *, dry_run: bool) -> None:
        resources = self._definitions.compile(crd)
        if not dry_run:
            names = crd["spec"]["names"]
            self.registry.install(crd["spec"]["group"], names["plural"], resources)
            self.store.collection(crd["metadata"]["name"])
            crds.establish(crd)


def _finalizer_errors(before: Obj | None, new: Obj) -> list[FieldError]:
    if not before or not before["metadata"].get("deletionTimestamp"):
        return []
    added = [
        each for each in new["metadata"].get("finalizers") or () if each not in before["metadata"].get("finalizers", ())
    ]
    listed = ", ".join(f'"{each}"' for each in added)
    why = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}"
    return [errors.field_forbidden("metadata.finalizers", why)] if added else []


def _content(obj: Obj, resource: Resource) -> Obj:
    """What a generation counts: all but metadata, and all but status where it is a subresource."""
    return {
        key: value for key, value in obj.items() if key != "metadata" and not (key == "status" and resource.has_status)
    }


def _without_owners(obj: Obj) -> tuple[Obj, dict[str, Any]]:
    meta = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {key: value for key, value in obj.items() if key != "metadata"}, meta
