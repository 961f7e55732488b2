"""Label and field selectors, parsed once per request and asked per object."""

from __future__ import annotations

import re
from collections.abc import Callable

from sandbox.kubernetes.embedded import errors
from sandbox.kubernetes.embedded.store import Obj

Matches = Callable[[Obj], bool]
_SET = re.compile(r"^\s*([^\s!=,()]+)\s+(in|notin)\s+\(([^)]*)\)\s*$")
_EQUAL = re.compile(r"^\s*([^\s!=,()]+)\s*(==|=|!=)\s*([^\s!=,()]*)\s*$")
_EXISTS = re.compile(r"^\s*(!?)\s*([^\s!=,()]+)\s*$")
_FIELDS = {
    "secrets": {"type"},
    "namespaces": {"status.phase"},
    "pods": {"spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP"},
    "events": {
        f"involvedObject.{name}"
        for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    }
    | {"reason", "type", "source", "reportingComponent"},
}


def labels(text: str) -> list[Matches]:
    return [_label(part) for part in re.split(r",(?![^()]*\))", text) if part.strip()]


def _label(part: str) -> Matches:
    if found := _SET.match(part):
        name, word, listed = found.groups()
        values = {value.strip() for value in listed.split(",")}
        wanted = word == "in"
        return lambda obj: (_labels(obj).get(name) in values) == wanted
    if found := _EQUAL.match(part):
        name, sign, value = found.groups()
        equal = sign != "!="
        return lambda obj: (_labels(obj).get(name) == value) == equal
    if found := _EXISTS.match(part):
        absent, name = found.groups()
        return lambda obj: (name in _labels(obj)) != bool(absent)
    raise errors.bad_request(f'unable to parse requirement: found "{part}"')


def _labels(obj: Obj) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def fields(text: str, storage: str) -> list[Matches]:
    return [_field(part, storage) for part in text.split(",") if part.strip()]


def _field(part: str, storage: str) -> Matches:
    found = _EQUAL.match(part)
    if not found:
        raise errors.bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
    name, sign, value = found.groups()
    if name not in {"metadata.name", "metadata.namespace"} | _FIELDS.get(storage, set()):
        raise errors.bad_request(f"field label not supported: {name}")
    path, equal = name.split("."), sign != "!="
    if name == "source":
        path = ["source", "component"]
    return lambda obj: (_at(obj, path) == value) == equal


def _at(obj: Obj, path: list[str]) -> str:
    value: object = obj
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return "" if value is None else str(value)
