"""What a deletion sets off: finalizers, garbage collection by ownerReference, and the end of a namespace or a CRD."""

from __future__ import annotations

import asyncio

from sandbox.kubernetes.embedded import errors
from sandbox.kubernetes.embedded.objects import Objects, now
from sandbox.kubernetes.embedded.resources import CRDS, Resource
from sandbox.kubernetes.embedded.store import Entry, Key, Obj


class Deletion:
    def __init__(self, objects: Objects) -> None:
        self._objects, self._store, self._registry = objects, objects.store, objects.registry
        objects.on_gone = self._gone
        objects.on_created = self._created

    def delete(self, resource: Resource, entry: Entry, options: Obj) -> tuple[Entry, bool]:
        """Gives the object as it was left, and whether it is gone."""
        wanted, meta = options.get("preconditions") or {}, entry.meta
        for part, label in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
            given, has = wanted.get(part, meta[part]), meta[part]
            if given != has:
                why = f"Precondition failed: {label} in precondition: {given}, {label} in object meta: {has}"
                raise errors.conflict(resource.plural, resource.group, meta["name"], why)
        if "All" in (options.get("dryRun") or ()):
            return entry, True
        policy = options.get("propagationPolicy") or ("Orphan" if options.get("orphanDependents") else "Background")
        if policy == "Orphan":
            self._orphan(meta["uid"])
        elif policy == "Foreground":
            self._collect(meta["uid"], is_owner_there=True)
        return self._mark_or_remove(resource.storage, entry)

    def _mark_or_remove(self, storage: str, entry: Entry) -> tuple[Entry, bool]:
        holds = (
            bool(entry.meta.get("finalizers"))
            or storage == "namespaces"
            or (storage == CRDS and self._instances(entry))
        )
        if not holds:
            return self._objects.remove(storage, entry), True
        if entry.meta.get("deletionTimestamp"):
            return entry, False
        marked = entry.copy()
        marked["metadata"] |= {"deletionTimestamp": now(), "deletionGracePeriodSeconds": 0}
        if "generation" in marked["metadata"]:
            marked["metadata"]["generation"] += 1
        if storage == "namespaces":
            marked["status"] = {"phase": "Terminating"}
        left = self._store.put(storage, marked)
        _soon(self._empty_namespace, left.key[1]) if storage == "namespaces" else None
        _soon(self._empty_crd, left.key) if storage == CRDS else None
        return left, False

    # ---- what follows

    def _created(self, storage: str, entry: Entry) -> None:
        """As the garbage collector does with an object whose owners never were."""
        owners = entry.meta.get("ownerReferences") or ()
        if owners and not any(self._is_owner(owner, entry) for owner in owners):
            _soon(self._drop, storage, entry.key, entry.meta["uid"])

    def _gone(self, entry: Entry) -> None:
        if self._store.dependents.get(entry.meta["uid"]):
            _soon(self._collect, entry.meta["uid"])
        if entry.obj["kind"] == "CustomResourceDefinition":
            spec = entry.obj["spec"]
            self._registry.uninstall(spec["group"], spec["names"]["plural"])
            self._store.drop(entry.key[1])
        namespace = self._store.get("namespaces", ("", entry.key[0]))
        if namespace and namespace.meta.get("deletionTimestamp"):
            _soon(self._finish_namespace, entry.key[0])
        crd = self._crd_of(entry)
        if crd and crd.meta.get("deletionTimestamp") and not self._instances(crd):
            _soon(self._drop, CRDS, crd.key, crd.meta["uid"])

    def _collect(self, uid: str, *, is_owner_there: bool = False) -> None:
        for storage, key in list(self._store.dependents.get(uid, ())):
            entry = self._store.get(storage, key)
            if not entry:
                continue
            others = [each for each in entry.meta["ownerReferences"] if each["uid"] != uid]
            if any(self._is_owner(each, entry) for each in others):
                self._let_go(storage, entry, uid)
            else:
                self._mark_or_remove(storage, entry)
        if not is_owner_there:
            self._store.dependents.pop(uid, None)

    def _orphan(self, uid: str) -> None:
        for storage, key in list(self._store.dependents.get(uid, ())):
            if entry := self._store.get(storage, key):
                self._let_go(storage, entry, uid)

    def _let_go(self, storage: str, entry: Entry, uid: str) -> None:
        freed = entry.copy()
        left = [each for each in freed["metadata"].pop("ownerReferences") if each["uid"] != uid]
        freed["metadata"] |= {"ownerReferences": left} if left else {}
        self._store.put(storage, freed)

    def _is_owner(self, reference: Obj, dependent: Entry) -> bool:
        found = self._store.by_uid.get(reference["uid"])
        return (
            bool(found) and found[1] in ((dependent.key[0], reference["name"]), ("", reference["name"]))
            if found
            else False
        )

    def _drop(self, storage: str, key: Key, uid: str) -> None:
        entry = self._store.get(storage, key)
        if entry and entry.meta["uid"] == uid:
            self._mark_or_remove(storage, entry)

    def _empty_namespace(self, name: str) -> None:
        for storage in self._store.names():
            for entry in self._store.collection(storage).under(name) if storage != "namespaces" else ():
                self._mark_or_remove(storage, entry)
        self._finish_namespace(name)

    def _finish_namespace(self, name: str) -> None:
        held = any(
            self._store.collection(storage).under(name) for storage in self._store.names() if storage != "namespaces"
        )
        entry = self._store.get("namespaces", ("", name))
        if entry and entry.meta.get("deletionTimestamp") and not held and not entry.meta.get("finalizers"):
            self._objects.remove("namespaces", entry)

    def _empty_crd(self, key: Key) -> None:
        for entry in self._store.collection(key[1]).under(None):
            self._mark_or_remove(key[1], entry)

    def _instances(self, crd: Entry) -> bool:
        return bool(self._store.collection(crd.key[1]).entries)

    def _crd_of(self, entry: Entry) -> Entry | None:
        group, _, version = entry.obj["apiVersion"].rpartition("/")
        if not group or "." not in group:
            return None
        resource = next(
            (each for each in self._registry.in_version(group, version) if each.kind == entry.obj["kind"]), None
        )
        return self._store.get(CRDS, ("", resource.storage)) if resource and resource.is_custom else None


def _soon(what: object, *arguments: object) -> None:
    asyncio.get_running_loop().call_soon(what, *arguments)  # type: ignore[arg-type]
