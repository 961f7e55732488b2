"""A custom resource of the suite's own, with all that a CRD can ask of an API server, and how to wait for things."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.kubernetes.client import Api, Json, StatusError

SCHEMA: Json = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "description": "What the widget should be.",
            "required": ["size"],
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.low) || self.low <= self.size",
                    "message": "low must not be above size: write a lower one",
                },
            ],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "maximum": 100, "description": "How large, 1 to 100."},
                "low": {"type": "integer"},
                "ratio": {
                    "type": "number",
                    "x-kubernetes-validations": [{"rule": "self < 1.0", "message": "ratio must be below one"}],
                },
                "mode": {"type": "string", "enum": ["Fast", "Safe"], "default": "Safe"},
                "code": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 8},
                "origin": {
                    "type": "string",
                    "maxLength": 30,
                    "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "origin cannot be changed"}],
                },
                "nested": {
                    "type": "object",
                    "default": {},
                    "properties": {
                        "depth": {"type": "integer", "default": 3},
                        "names": {"type": "array", "items": {"type": "string"}},
                    },
                },
                "ports": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {"name": {"type": "string"}, "port": {"type": "integer"}},
                    },
                },
                "tags": {
                    "type": "object",
                    "maxProperties": 5,
                    "additionalProperties": {"type": "string", "maxLength": 20},
                    "x-kubernetes-validations": [
                        {
                            "rule": "self.all(key, !key.startsWith('x-'))",
                            "message": "keys that begin with x- are reserved",
                        }
                    ],
                },
                "amount": {"x-kubernetes-int-or-string": True},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "since": {"type": "string", "format": "date-time"},
            },
        },
        "status": {
            "type": "object",
            "properties": {
                "phase": {"type": "string", "enum": ["New", "Done"]},
                "conditions": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["type"],
                    "items": {
                        "type": "object",
                        "required": ["type", "status"],
                        "properties": {
                            "type": {"type": "string"},
                            "status": {"type": "string"},
                            "reason": {"type": "string"},
                        },
                    },
                },
                "finishedAt": {"type": "string", "format": "date-time"},
            },
        },
    },
}
COLUMNS = [
    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
    {"name": "Finished", "type": "date", "jsonPath": ".status.finishedAt"},
    {"name": "Mode", "type": "string", "jsonPath": ".spec.mode", "priority": 1},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]


@dataclass(frozen=True)
class Widgets:
    """Where widgets are: `group` is of this cluster's run alone, so that runs can share a cluster."""

    group: str

    @property
    def crd(self) -> str:
        return f"widgets.{self.group}"

    def path(self, namespace: str, name: str = "", below: str = "") -> str:
        parts = ("/apis", self.group, "v1/namespaces", namespace, "widgets", name, below)
        return "/".join(part for part in parts if part)

    def make(self, name: str, spec: Json | None = None, **metadata: Any) -> Json:
        meta = {"name": name, **metadata}
        return {
            "apiVersion": f"{self.group}/v1",
            "kind": "Widget",
            "metadata": meta,
            "spec": {"size": 5, **(spec or {})},
        }


def crd(group: str, schema: Json = SCHEMA) -> Json:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    version |= {"subresources": {"status": {}}, "additionalPrinterColumns": COLUMNS}
    names = {
        "plural": "widgets",
        "singular": "widget",
        "kind": "Widget",
        "shortNames": ["wdg"],
        "categories": ["contract"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def is_established(found: Json) -> bool:
    conditions = found.get("status", {}).get("conditions") or ()
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def serves(api: Api, path: str) -> bool:
    try:
        return bool(api.get(path))
    except StatusError:
        return False


def eventually(holds: Callable[[], Any], seconds: float = 20) -> Any:
    """Asks until the answer is true, and gives it; fails when it is not after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.05)
    return found


def gone(api: Api, path: str) -> bool:
    try:
        api.get(path)
    except StatusError as error:
        return error.code == 404
    return False


def published(api: Api, widgets: Widgets) -> Json:
    """The paths of the OpenAPI documents, once the one of the widgets, made in the background, is among them."""

    def paths() -> Json | None:
        found: Json = api.get("/openapi/v3")["paths"]
        return found if f"apis/{widgets.group}/v1" in found else None

    found: Json = eventually(paths)
    return found
