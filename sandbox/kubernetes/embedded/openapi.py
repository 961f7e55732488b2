"""OpenAPI v3 as far as kubectl needs it: to validate, to explain, and to know that the server validates.

Schemas of built-in kinds come from the models of the `kubernetes` client, imported when first asked for.
"""

from __future__ import annotations

import re
from typing import Any

from sandbox.kubernetes.embedded.patch import MAP_LISTS, SET_LISTS
from sandbox.kubernetes.embedded.resources import Registry, Resource

_SCALARS: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "bytes": {"type": "string", "format": "byte"},
    "datetime": {"type": "string", "format": "date-time"},
    "object": {"type": "object"},
    "IntOrString": {"x-kubernetes-int-or-string": True},
}
_CONTAINER = re.compile(r"(List|Dict)\[(?:str, )?(.+)\]")
_META = "V1ObjectMeta"


def index(registry: Registry) -> dict[str, Any]:
    paths = sorted({_prefix(resource)[1:] for resource in registry.all()})
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}"} for path in paths}}


def document(registry: Registry, group: str, version: str) -> dict[str, Any] | None:
    found = registry.in_version(group, version)
    if not found:
        return None
    schemas: dict[str, Any] = {}
    paths = {path: operations for each in found for path, operations in _paths(each, schemas).items()}
    info = {"title": "Kubernetes", "version": "v1"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _prefix(resource: Resource) -> str:
    return f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"


def _paths(resource: Resource, schemas: dict[str, Any]) -> dict[str, Any]:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    name = _add_custom(resource, schemas) if resource.schema else _add_model(resource.kind, schemas)
    if name:
        schemas[name]["x-kubernetes-group-version-kind"] = [kind]
    where = f"{_prefix(resource)}/{'namespaces/{namespace}/' if resource.namespaced else ''}{resource.plural}"
    body = {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}
    parameters = [
        {"name": each, "in": "query", "schema": {"type": "string"}}
        for each in ("dryRun", "fieldManager", "fieldValidation")
    ]

    def operation(action: str) -> dict[str, Any]:
        about = {"x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind, "parameters": parameters}
        return about | {"responses": {"200": {"description": "OK"} | body}}

    return {
        where: {"get": operation("list"), "post": operation("post") | {"requestBody": body}},
        f"{where}/{{name}}": {"get": operation("get"), "put": operation("put"), "patch": operation("patch")},
    }


def _add_custom(resource: Resource, schemas: dict[str, Any]) -> str:
    assert resource.schema
    name = ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])
    _add_model(_META, schemas)
    properties = {
        "apiVersion": {"type": "string", "description": "The versioned schema of this representation of an object."},
        "kind": {"type": "string", "description": "The REST resource that this object represents."},
        "metadata": {
            "allOf": [{"$ref": f"#/components/schemas/{_META}"}],
            "description": "Standard object's metadata.",
        },
    }
    schemas[name] = {"type": "object"} | resource.schema.raw
    schemas[name] = schemas[name] | {"properties": resource.schema.raw.get("properties", {}) | properties}
    return name


def _add_model(name: str, schemas: dict[str, Any]) -> str | None:
    """Adds the model of the client, and all that it names; `name` may be a bare kind of version v1."""
    from kubernetes import client  # noqa: PLC0415 - takes a second of CPU, and most servers are never asked

    model = getattr(client, name, None) or getattr(client, f"V1{name}", None) or getattr(client, f"Core{name}", None)
    if name == "Event":
        model = client.CoreV1Event
    if model is None or not hasattr(model, "openapi_types"):
        return None
    known: str = model.__name__
    if known not in schemas:
        schema = schemas[known] = {"type": "object", "description": _first_paragraph(model.__doc__), "properties": {}}
        for field, written in model.openapi_types.items():
            json_name = model.attribute_map[field]
            described = model.model_fields[field].description or "" if field in model.model_fields else ""
            schema["properties"][json_name] = _typed(written, json_name, schemas) | {"description": described}
    return known


def _typed(written: str, field: str, schemas: dict[str, Any]) -> dict[str, Any]:
    if nested := _CONTAINER.fullmatch(written):
        inner = _typed(nested[2], "", schemas)
        if nested[1] == "Dict":
            return {"type": "object", "additionalProperties": inner}
        listed: dict[str, Any] = {"type": "array", "items": inner}
        if field in MAP_LISTS:
            listed |= {"x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": MAP_LISTS[field][0]}
        return listed | ({"x-kubernetes-patch-strategy": "merge"} if field in SET_LISTS else {})
    if written in _SCALARS:
        return dict(_SCALARS[written])
    known = _add_model(written, schemas)
    return {"allOf": [{"$ref": f"#/components/schemas/{known}"}]} if known else {"type": "object"}


def _first_paragraph(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]
