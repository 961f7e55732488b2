"""Table and metadata-only forms of an answer, as `kubectl get` and informers of metadata ask for them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sandbox.kubernetes.embedded.listing import Render
from sandbox.kubernetes.embedded.resources import Resource
from sandbox.kubernetes.embedded.store import Entry, Obj

Cell = Callable[[Obj], Any]
_NAME, _INDEX, _QUOTED = (
    r"\.?(?P<name>(?:[^.\[\]\\]|\\.)+)",
    r"\[(?P<index>-?\d+|\*)\]",
    r"\[['\"](?P<quoted>[^'\"]+)['\"]\]",
)
_FILTER = r"""\[\?\(@\.(?P<key>[^=!]+?)\s*==\s*["'](?P<value>[^"']*)["']\)\]"""
_STEP = re.compile("|".join((_NAME, _FILTER, _INDEX, _QUOTED)))
_PYTHON: dict[str, Any] = {"integer": int, "number": (int, float), "boolean": bool}


def age(since: str | None) -> str:
    """As kubectl tells how long ago: 5s, 3m12s, 47h, 5d2h."""
    if not since:
        return "<unknown>"
    seconds = max(0, int((datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    for limit, unit, small, part in (
        (10, minutes, "s", seconds % 60),
        (8, hours, "m", minutes % 60),
        (8, days, "h", hours % 24),
    ):
        name = {"s": "m", "m": "h", "h": "d"}[small]
        if (small == "s" and minutes >= 180) or (small == "m" and hours >= 48):
            continue
        return f"{unit}{name}{part}{small}" if unit < limit and part else f"{unit}{name}"
    return f"{days}d"


def json_path(path: str) -> Cell:
    """The part of JSONPath that printer columns use: names, indexes, and a filter by equality."""
    steps = [found.groupdict() for found in _STEP.finditer(path)]

    def first(obj: Obj) -> Any:
        values: list[Any] = [obj]
        for step in steps:
            values = [inner for value in values for inner in _step(value, step)]
        return values[0] if values else None

    return first


def _step(value: Any, step: dict[str, str | None]) -> list[Any]:
    name = step["name"] or step["quoted"]
    if name is not None:
        name = name.replace("\\", "")
        return [value[name]] if isinstance(value, dict) and name in value else []
    if not isinstance(value, list):
        return []
    if step["key"]:
        return [item for item in value if isinstance(item, dict) and str(item.get(step["key"])) == step["value"]]
    return value if step["index"] == "*" else value[int(step["index"] or 0) :][:1]


def _created(obj: Obj) -> Any:
    return obj["metadata"]["creationTimestamp"]


def _age(obj: Obj) -> str:
    return age(_created(obj))


def _event_age(obj: Obj) -> str:
    series = obj.get("series") or {}
    return age(series.get("lastObservedTime") or obj.get("lastTimestamp") or obj.get("eventTime"))


def _about(obj: Obj) -> str:
    about = obj.get("involvedObject", {})
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _ready(obj: Obj) -> str:
    ready = [each for each in obj.get("status", {}).get("containerStatuses", ()) if each.get("ready")]
    return f"{len(ready)}/{len(obj.get('spec', {}).get('containers', ()))}"


def _path(path: str, default: Any = "") -> Cell:
    find = json_path(path)
    return lambda obj: default if (found := find(obj)) is None else found


def _restarts(obj: Obj) -> int:
    return sum(each.get("restartCount", 0) for each in obj.get("status", {}).get("containerStatuses", ()))


def _replicas(obj: Obj) -> str:
    return f"{obj.get('status', {}).get('readyReplicas', 0)}/{obj['spec'].get('replicas', 1)}"


def _keys(obj: Obj) -> int:
    return len(obj.get("data") or ())


def _role(obj: Obj) -> str:
    return f"{obj['roleRef']['kind']}/{obj['roleRef']['name']}"


_READY, _AGE, _BOUND = ("Ready", _replicas), ("Age", _age), ("Role", _role)
_BUILT_IN: dict[str, list[tuple[str, Cell]]] = {
    "namespaces": [("Status", _path(".status.phase")), _AGE],
    "secrets": [("Type", _path(".type")), ("Data", _keys), _AGE],
    "configmaps": [("Data", _keys), _AGE],
    "serviceaccounts": [_AGE],
    "services": [("Type", _path(".spec.type", "ClusterIP")), ("Cluster-IP", _path(".spec.clusterIP", "<none>")), _AGE],
    "pods": [("Ready", _ready), ("Status", _path(".status.phase")), ("Restarts", _restarts), _AGE],
    "events": [
        ("Last Seen", _event_age),
        ("Type", _path(".type")),
        ("Reason", _path(".reason")),
        ("Object", _about),
        ("Message", lambda obj: obj.get("message", "").strip()),
    ],
    "deployments.apps": [
        _READY,
        ("Up-to-date", _path(".status.updatedReplicas", 0)),
        ("Available", _path(".status.availableReplicas", 0)),
        _AGE,
    ],
    "statefulsets.apps": [_READY, _AGE],
    "leases.coordination.k8s.io": [("Holder", _path(".spec.holderIdentity")), _AGE],
    "rolebindings.rbac.authorization.k8s.io": [_BOUND, _AGE],
    "clusterrolebindings.rbac.authorization.k8s.io": [_BOUND, _AGE],
}


def _columns(resource: Resource) -> list[tuple[dict[str, Any], Cell]]:
    def definition(name: str, kind: str, extra: dict[str, Any] | None = None) -> dict[str, Any]:
        base = {"name": name, "type": kind, "format": "", "description": "", "priority": 0} | (extra or {})
        return {key: base[key] for key in ("name", "type", "format", "description", "priority")}

    name = (definition("Name", "string", {"format": "name"}), json_path(".metadata.name"))
    if not resource.is_custom:
        listed = _BUILT_IN.get(resource.storage, [("Created At", _created)])
        found = [(definition(each, "string"), cell) for each, cell in listed]
        return found if resource.storage == "events" else [name, *found]
    written = resource.columns or ({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},)
    return [name, *((definition(each["name"], each["type"], each), _custom_cell(each)) for each in written)]


def _custom_cell(column: dict[str, Any]) -> Cell:
    find, kind = json_path(column["jsonPath"]), column["type"]

    def cell(obj: Obj) -> Any:
        value = find(obj)
        if value is None:
            return None
        if kind == "date":
            return age(value)
        is_right = isinstance(value, _PYTHON.get(kind, str))
        return value if is_right else (json.dumps(value) if kind == "string" else None)

    return cell


class MetadataRender(Render):
    """PartialObjectMetadata: what informers that need no content ask for."""

    def entry(self, entry: Entry) -> bytes:
        return json.dumps(
            {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": entry.meta}
        ).encode()

    def envelope(self, meta: Obj, items: list[bytes]) -> bytes:
        head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
        return json.dumps(head).encode()[:-1] + b',"items":[' + b",".join(items) + b"]}"

    def bookmark(self, version: int, annotations: Obj) -> bytes:
        meta = {"resourceVersion": str(version), "creationTimestamp": None} | annotations
        return json.dumps({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta}).encode()


class TableRender(Render):
    def __init__(self, resource: Resource, objects: Any, include: str) -> None:
        super().__init__(resource, objects)
        self._columns, self._include = _columns(resource), include

    def entry(self, entry: Entry) -> bytes:
        """One row."""
        about: Obj = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": entry.meta}
        row: Obj = {"cells": [cell(entry.obj) for _, cell in self._columns]}
        if self._include != "None":
            row["object"] = about if self._include == "Metadata" else entry.obj
        return json.dumps(row).encode()

    def single(self, entry: Entry) -> bytes:
        return self._table({"resourceVersion": entry.meta["resourceVersion"]}, [self.entry(entry)], with_columns=True)

    def event(self, entry: Entry, *, is_first: bool) -> bytes:
        return self._table(
            {"resourceVersion": entry.meta["resourceVersion"]}, [self.entry(entry)], with_columns=is_first
        )

    def envelope(self, meta: Obj, items: list[bytes]) -> bytes:
        return self._table(meta, items, with_columns=True)

    def bookmark(self, version: int, annotations: Obj) -> bytes:
        return self._table({"resourceVersion": str(version)} | annotations, [], with_columns=False)

    def _table(self, meta: Obj, rows: list[bytes], *, with_columns: bool) -> bytes:
        columns = [definition for definition, _ in self._columns] if with_columns else None
        head = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "columnDefinitions": columns}
        return json.dumps(head).encode()[:-1] + b',"rows":[' + b",".join(rows) + b"]}"
