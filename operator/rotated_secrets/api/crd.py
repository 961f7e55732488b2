"""The CustomResourceDefinition, made from the models: ``python -m rotated_secrets.api.crd > crds/rotatedsecrets.yaml``.

Turns pydantic's JSON schema into the structural schema that the API server requires. Descriptions, limits and rules
come from the models.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import yaml
from pydantic import BaseModel

from rotated_secrets.api import names
from rotated_secrets.api.rules import VALIDATIONS
from rotated_secrets.api.spec import RotatedSecretSpec
from rotated_secrets.api.status import ConditionType, RotatedSecretStatus
from rotated_secrets.api.target import SAME_SECRET

Schema = dict[str, Any]

_HEADER: Final = """\
# Made from operator/rotated_secrets/api by: python -m rotated_secrets.api.crd
# Change the models, not this file.
"""
NOT_SEEN: Final[Schema] = {"observedGeneration": -1}
"""The status of a RotatedSecret that no operator has looked at yet. Without one, programs that wait would take it for
complete at once. Source: "The status field observedGeneration" in the README of sigs.k8s.io/cli-utils/pkg/kstatus."""
_KEPT: Final = (
    "description",
    "type",
    "format",
    "enum",
    "default",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "required",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    VALIDATIONS,
)


def custom_resource_definition() -> Schema:
    """Return the CRD as the API server takes it."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.SINGULAR,
                "shortNames": [names.SHORT_NAME],
                "categories": [names.CATEGORY],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _columns(),
                    "schema": {"openAPIV3Schema": _root_schema()},
                }
            ],
        },
    }


def _columns() -> list[Schema]:
    """Columns of ``kubectl get``. The type ``date`` prints ages, and "<invalid>" for times in the future."""

    def column(name: str, path: str, description: str, *, kind: str = "string", priority: int = 0) -> Schema:
        return {"name": name, "type": kind, "jsonPath": path, "description": description, "priority": priority}

    def condition(kind: ConditionType, field: str) -> str:
        return f'.status.conditions[?(@.type=="{kind}")].{field}'

    return [
        column(
            "Ready",
            condition(ConditionType.READY, "status"),
            "Whether the target Secret holds a credential that works.",
        ),
        column("State", ".status.state", "OK, or the reason of what is worst."),
        column("Strategy", ".spec.rotation.strategy", "How the credential is replaced."),
        column("Engine", ".status.engine", "The database engine."),
        column("Active user", ".status.activeUser", "The user in the current version."),
        column("Last result", ".status.history[0].outcome", "How the last attempt at a rotation ended."),
        column("Last rotation", ".status.lastRotationTime", "Time since the last successful rotation.", kind="date"),
        column("Next rotation", ".status.nextRotationTime", "When the next rotation is due, in UTC."),
        column("Age", ".metadata.creationTimestamp", "Time since the resource was created.", kind="date"),
        column("Reason", condition(ConditionType.READY, "reason"), "Reason of the condition Ready.", priority=1),
        column("Held", condition(ConditionType.HELD, "reason"), "Reason of the condition Held.", priority=1),
        column("Message", condition(ConditionType.READY, "message"), "Message of the condition Ready.", priority=1),
    ]


def _root_schema() -> Schema:
    root: Schema = {
        "type": "object",
        "description": "A secret in AWS Secrets Manager that the operator rotates and delivers as a Kubernetes Secret. "
        f"What the reasons of its conditions mean, and what to do: {names.TROUBLESHOOTING}.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"The version of this kind: {names.API_VERSION}."},
            "kind": {"type": "string", "description": f"The kind: {names.KIND}."},
            "metadata": {"type": "object"},
            "spec": _structural(RotatedSecretSpec),
            "status": _without_defaults(_structural(RotatedSecretStatus)) | {"default": NOT_SEEN},
        },
    }
    return SAME_SECRET.added_to(root)


def _structural(model: type[BaseModel]) -> Schema:
    written = model.model_json_schema(by_alias=True)
    return _converted(written, written.get("$defs", {}))


def _converted(written: Schema, definitions: Schema) -> Schema:
    """Convert one node: resolve its references, and drop what a structural schema does not know."""
    node = dict(written)
    reference = node.pop("$ref", None)
    if reference is not None:
        node = {**definitions[reference.rpartition("/")[2]], **node}
    if "anyOf" in node:
        (present,) = (branch for branch in node.pop("anyOf") if branch.get("type") != "null")
        return _converted({**present, **node}, definitions)
    structural: Schema = {key: node[key] for key in _KEPT if key in node}
    if "description" in structural:
        structural["description"] = " ".join(structural["description"].split())
    if structural["type"] == "integer":
        structural["format"] = "int64"
    if structural.get("default", ...) in (None, []):
        del structural["default"]
    if isinstance(structural.get("default"), dict):
        # Written in full, although its fields have defaults too: the API server checks it against the rules as it is.
        structural["default"] = {
            name: value for name, value in structural["default"].items() if value not in (None, {}, [])
        }
    if "properties" in node:
        structural["properties"] = {name: _converted(field, definitions) for name, field in node["properties"].items()}
    elif "additionalProperties" in node:
        structural["additionalProperties"] = _converted(node["additionalProperties"], definitions)
    if "items" in node:
        structural["items"] = _converted(node["items"], definitions)
    return structural


def _without_defaults(schema: Schema) -> Schema:
    """Drop all defaults: only the operator writes a status, so a field that it did not write must not be there."""
    stripped = {key: value for key, value in schema.items() if key != "default"}
    if "properties" in stripped:
        stripped["properties"] = {name: _without_defaults(field) for name, field in stripped["properties"].items()}
    if "items" in stripped:
        stripped["items"] = _without_defaults(stripped["items"])
    return stripped


class _WithoutAliases(yaml.SafeDumper):
    """Writes values that occur twice in full, because some tools and readers do not know YAML's anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def as_yaml() -> str:
    """Return the content of ``crds/rotatedsecrets.yaml``."""
    document = yaml.dump(
        custom_resource_definition(), Dumper=_WithoutAliases, sort_keys=False, width=120, allow_unicode=True
    )
    return _HEADER + document


if __name__ == "__main__":
    sys.stdout.write(as_yaml())
