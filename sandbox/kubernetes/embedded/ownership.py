"""Who manages which field: `managedFields`, and server-side apply on top of it; pure.

A set of fields is a set of paths; a path is a tuple of steps as FieldsV1 spells them (`f:name`, `k:{…}`, `v:…`).
Differences from a real server: a manager of a whole map (the `.` of FieldsV1) is kept for list items only, and
fields are compared after pruning and defaulting.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sandbox.kubernetes.embedded import errors
from sandbox.kubernetes.embedded.patch import MAP_LISTS, SET_LISTS
from sandbox.kubernetes.embedded.schema import Schema
from sandbox.kubernetes.embedded.store import Obj

Path = tuple[str, ...]
Leaves = dict[Path, Any]
Owner = tuple[str, str, str, str]  # manager, operation, apiVersion, subresource

_NOBODYS = {"name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp"}
_NOBODYS |= {"deletionGracePeriodSeconds", "managedFields", "selfLink"}
_WHOLE = object()


def leaves(obj: Obj, schema: Schema | None) -> Leaves:
    """Every field that can be owned, with its value."""
    found: Leaves = {}
    for name, value in obj.items():
        if name == "metadata":
            owned = {part: inner for part, inner in value.items() if part not in _NOBODYS}
            _walk(owned, None, "metadata", ("f:metadata",), found) if owned else None
        elif name not in ("apiVersion", "kind"):
            _walk(value, schema.child(name) if schema else None, name, (f"f:{name}",), found)
    return found


def _walk(value: Any, schema: Schema | None, field: str, at: Path, found: Leaves) -> None:
    if isinstance(value, dict) and value and not (schema and schema.is_atomic_map):
        for name, item in value.items():
            _walk(item, schema.child(name) if schema else None, name, (*at, f"f:{name}"), found)
    elif isinstance(value, list) and value and _kind(schema, field) != "atomic":
        for item in value:
            step = _step(item, schema, field)
            if isinstance(item, dict):
                found[(*at, step, ".")] = _WHOLE
                for name, inner in item.items():
                    child = schema.items.child(name) if schema and schema.items else None
                    _walk(inner, child, name, (*at, step, f"f:{name}"), found)
            else:
                found[(*at, step)] = item
    else:
        found[at] = value


def _kind(schema: Schema | None, field: str) -> str:
    if schema:
        return schema.list_type
    return "map" if field in MAP_LISTS else "set" if field in SET_LISTS else "atomic"


def _step(item: Any, schema: Schema | None, field: str) -> str:
    if not isinstance(item, dict):
        return "v:" + json.dumps(item)
    keys = schema.list_keys if schema else MAP_LISTS[field]
    return "k:" + json.dumps({key: item.get(key) for key in keys}, separators=(",", ":"), sort_keys=True)


# ---- managedFields, there and back


def read(meta: Obj) -> dict[Owner, tuple[set[Path], str]]:
    """What each owner has, and since when."""
    return {
        (each["manager"], each["operation"], each["apiVersion"], each.get("subresource", "")): (
            set(_paths(each.get("fieldsV1", {}))),
            each.get("time", ""),
        )
        for each in meta.get("managedFields") or ()
    }


def write(owned: dict[Owner, tuple[set[Path], str]]) -> list[Obj]:
    entries = []
    for (manager, operation, version, subresource), (paths, since) in owned.items():
        if paths:
            entry: Obj = {"manager": manager, "operation": operation, "apiVersion": version, "time": since}
            entry |= {"fieldsType": "FieldsV1", "fieldsV1": _tree(paths)}
            entries.append(entry | ({"subresource": subresource} if subresource else {}))
    return entries


def _paths(tree: Obj, at: Path = ()) -> Iterator[Path]:
    for step, below in tree.items():
        if below:
            yield from _paths(below, (*at, step))
        else:
            yield (*at, step)


def _tree(paths: set[Path]) -> Obj:
    root: Obj = {}
    for path in sorted(paths):
        node = root
        for step in path:
            node = node.setdefault(step, {})
    return root


# ---- an update, and an apply


def after_update(old: Obj | None, new: Obj, schema: Schema | None, owner: Owner, now: str) -> list[Obj]:
    """What changed belongs to the one who changed it, and to nobody else."""
    was: Obj = old or {"metadata": {}}
    touched = {name for name in was.keys() | new.keys() if name == "metadata" or was.get(name) != new.get(name)}
    before, after = (leaves({name: obj[name] for name in touched if name in obj}, schema) for obj in (was, new))
    changed = {path for path, value in after.items() if path not in before or before[path] != value}
    lost = changed | (before.keys() - after.keys())
    kept = {each: (paths - lost, since) for each, (paths, since) in read(was["metadata"]).items()}
    if changed:
        kept[owner] = (kept.get(owner, (set(), ""))[0] | changed, now)
    return write(kept)


def apply(live: Obj | None, wanted: Obj, schema: Schema | None, owner: Owner, now: str, *, force: bool) -> Obj:
    """The live object with what `wanted` says and without what its owner said before and says no more."""
    said = leaves(wanted, schema)
    owned = read(live["metadata"]) if live else {}
    before = owned.pop(owner, (set(), ""))[0]
    there = leaves(live, schema) if live else {}
    differing = {path for path, value in said.items() if value is not _WHOLE and path in there and there[path] != value}
    clashes = [(other, path) for other, (paths, _) in owned.items() for path in sorted(paths & differing)]
    if clashes and not force:
        raise errors.apply_conflict([(_who(other), _dotted(path)) for other, path in clashes])
    others: set[Path] = set().union(*(paths for paths, _ in owned.values()))
    result = merge_applied(live, wanted, schema) if live else wanted
    for path in sorted(before - said.keys() - others, key=lambda path: (len(path), path[-1] == "."), reverse=True):
        _remove(result, path)
    owned = {other: (paths - differing, since) for other, (paths, since) in owned.items()}
    result.setdefault("metadata", {})["managedFields"] = write(owned | {owner: (set(said), now)})
    return result


def _who(owner: Owner) -> str:
    manager, operation, version, subresource = owner
    told = f'"{manager}"' + (f' with subresource "{subresource}"' if subresource else "")
    return told + (f" using {version}" if operation == "Update" else "")


def _dotted(path: Path) -> str:
    parts = (f".{step[2:]}" if step[:2] == "f:" else f"[{_selector(step)}]" for step in path if step != ".")
    return "".join(parts)


def _selector(step: str) -> str:
    value = json.loads(step[2:])
    return ",".join(f"{key}={json.dumps(each)}" for key, each in value.items()) if isinstance(value, dict) else step[2:]


def merge_applied(live: Any, wanted: Any, schema: Schema | None, field: str = "") -> Any:
    if isinstance(wanted, dict) and isinstance(live, dict) and not (schema and schema.is_atomic_map):
        merged = {
            name: merge_applied(live.get(name), item, schema.child(name) if schema else None, name)
            for name, item in wanted.items()
        }
        return live | merged
    if isinstance(wanted, list) and isinstance(live, list) and _kind(schema, field) != "atomic":
        items = schema.items if schema else None
        mine = {_step(item, schema, field): item for item in wanted}
        theirs = {_step(item, schema, field): item for item in live}
        steps = [*theirs, *(step for step in mine if step not in theirs)]
        return [merge_applied(theirs.get(step), mine[step], items) if step in mine else theirs[step] for step in steps]
    return wanted


def _remove(obj: Any, path: Path) -> None:
    for depth, step in enumerate(path[:-1]):
        if isinstance(obj, dict) and step.startswith("f:"):
            obj = obj.get(step[2:])
        elif isinstance(obj, list) and step.startswith("k:"):
            index = _place(obj, step)
            if path[depth + 1 :] == (".",) and index is not None:
                del obj[index]
                return
            obj = obj[index] if index is not None else None
        if obj is None:
            return
    last = path[-1]
    if isinstance(obj, dict) and last.startswith("f:"):
        obj.pop(last[2:], None)
    elif isinstance(obj, list) and last.startswith("v:") and json.loads(last[2:]) in obj:
        obj.remove(json.loads(last[2:]))


def _place(items: list[Any], step: str) -> int | None:
    wanted = json.loads(step[2:])
    for index, item in enumerate(items):
        if isinstance(item, dict) and all(item.get(key) == value for key, value in wanted.items()):
            return index
    return None
