"""Merge, JSON and strategic merge patches; each gives a new object and leaves its arguments alone."""

from __future__ import annotations

from typing import Any

import jsonpatch
import jsonpointer

from sandbox.kubernetes.embedded import errors
from sandbox.kubernetes.embedded.store import Obj

# Lists of built-in kinds that are maps or sets, by the name of their field: what tells one item from another.
MAP_LISTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("containers", "initContainers", "ephemeralContainers", "volumes", "env"), ("name",)),
    **dict.fromkeys(("imagePullSecrets", "secrets", "resourceClaims"), ("name",)),
    "ownerReferences": ("uid",),
    "conditions": ("type",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
SET_LISTS = frozenset({"finalizers"})


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


def json_patch(target: Obj, operations: Any) -> Obj:
    """RFC 6902."""
    try:
        patched: Obj = jsonpatch.apply_patch(target, operations)
    except jsonpatch.JsonPatchTestFailed as error:
        raise errors.ApiError(
            422, "Invalid", f"the server rejected our request due to an error in our request: {error}"
        ) from error
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError) as error:
        message = f"the server rejected our request due to an error in our request: {error}"
        raise errors.ApiError(422, "Invalid", message) from error
    return patched


def strategic(target: Any, patch: Any) -> Any:
    """As kubectl sends it for built-in kinds: lists with a merge key are merged, others replaced."""
    if not isinstance(patch, dict):
        return patch
    directive = patch.get("$patch")
    if directive in ("replace", "delete"):
        return {name: value for name, value in patch.items() if name != "$patch"} if directive == "replace" else {}
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if name.startswith("$deleteFromPrimitiveList/"):
            listed = name.partition("/")[2]
            result[listed] = [item for item in result.get(listed, []) if item not in value]
        elif name == "$retainKeys":
            result = {kept: result[kept] for kept in result if kept in value}
        elif name.startswith("$setElementOrder/"):
            continue
        elif value is None:
            result.pop(name, None)
        elif isinstance(value, list):
            result[name] = _strategic_list(result.get(name) or [], value, name, patch.get(f"$setElementOrder/{name}"))
        else:
            result[name] = strategic(result.get(name), value)
    return result


def _strategic_list(target: list[Any], patch: list[Any], field: str, order: list[Any] | None) -> list[Any]:
    """`order`, where kubectl gives one, names the merge key that it knows from the kind's own type."""
    told = next(iter(order[0]), None) if order and isinstance(order[0], dict) else None
    key = told or next(iter(MAP_LISTS.get(field, ())), None)
    if field in SET_LISTS:
        return [*target, *(item for item in patch if item not in target)]
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch) or not key:
        return [item for item in patch if not (isinstance(item, dict) and "$patch" in item)]
    result = list(target)
    for item in patch:
        place = next((index for index, each in enumerate(result) if each.get(key) == item.get(key)), None)
        if item.get("$patch") == "delete":
            result = [each for each in result if each.get(key) != item.get(key)]
        elif place is None:
            result.append(strategic(None, item))
        else:
            result[place] = strategic(result[place], item)
    return result
