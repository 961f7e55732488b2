"""OpenAPI v3 as far as kubectl needs it: to validate, to explain, and to know that the server validates; pure."""

from __future__ import annotations

from typing import Any

from sandbox.kubernetes.embedded import models
from sandbox.kubernetes.embedded.resources import Registry, Resource

_METADATA = {
    "apiVersion": {"type": "string", "description": "The versioned schema of this representation of an object."},
    "kind": {"type": "string", "description": "The REST resource that this object represents."},
    "metadata": {
        "allOf": [{"$ref": models.REFERENCE + models.METADATA}],
        "description": "Standard object's metadata.",
    },
}


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
    name = _add_schema(resource, schemas)
    schemas[name]["x-kubernetes-group-version-kind"] = [kind]
    where = f"{_prefix(resource)}/{'namespaces/{namespace}/' if resource.namespaced else ''}{resource.plural}"
    body = {"content": {"application/json": {"schema": {"$ref": models.REFERENCE + name}}}}
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


def _add_schema(resource: Resource, schemas: dict[str, Any]) -> str:
    known = None if resource.schema else models.of_kind(resource.kind)
    if known:
        return models.add_schema(known, schemas)
    name = ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])
    if metadata := models.model(models.METADATA):
        models.add_schema(metadata, schemas)
    raw = resource.schema.raw if resource.schema else {}
    schemas[name] = {"type": "object"} | raw | {"properties": raw.get("properties", {}) | _METADATA}
    return name
