"""CustomResourceDefinitions: what is wrong with one, which resources it makes, and what its status says then."""

from __future__ import annotations

import json
from typing import Any

from sandbox.kubernetes.embedded import errors
from sandbox.kubernetes.embedded.errors import FieldError
from sandbox.kubernetes.embedded.resources import Resource
from sandbox.kubernetes.embedded.schema import Schema
from sandbox.kubernetes.embedded.store import Obj


class Definitions:
    """Compiles schemas, each once: a CRD applied again, or its status written, compiles nothing."""

    def __init__(self) -> None:
        self._compiled: dict[str, Schema] = {}

    def compile(self, crd: Obj) -> list[Resource]:
        """The resources that a CRD describes; raises ApiError 422 telling what is wrong with it."""
        spec, problems = crd["spec"], list(_problems(crd))
        found = []
        for index, version in enumerate(spec.get("versions", ())):
            raw = version.get("schema", {}).get("openAPIV3Schema")
            at = "spec.validation" if len(spec["versions"]) == 1 else f"spec.versions[{index}].schema"
            at += ".openAPIV3Schema"
            if not raw:
                problems.append(errors.required(at, "schemas are required"))
                continue
            found.append((version, self._schema(raw, at, problems)))
        if problems:
            raise errors.invalid("CustomResourceDefinition", "apiextensions.k8s.io", crd["metadata"]["name"], problems)
        return [_custom(spec, version, schema) for version, schema in found if version.get("served")]

    def _schema(self, raw: dict[str, Any], at: str, problems: list[FieldError]) -> Schema:
        key, before = json.dumps(raw, sort_keys=True), len(problems)
        schema = self._compiled.get(key) or Schema(raw, at, problems)
        if len(problems) == before:
            self._compiled[key] = schema
        return schema


def establish(crd: Obj) -> None:
    """Fills in, in place, what the API server says of a CRD that it serves."""
    spec = crd["spec"]
    spec["names"].setdefault("singular", spec["names"]["kind"].lower())
    spec["names"].setdefault("listKind", f"{spec['names']['kind']}List")
    spec.setdefault("conversion", {"strategy": "None"})
    since = crd["metadata"]["creationTimestamp"]
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": since, "reason": reason, "message": message}
        for kind, reason, message in (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        )
    ]
    stored = [each["name"] for each in spec["versions"] if each["storage"]]
    crd["status"] = {"conditions": conditions, "acceptedNames": spec["names"], "storedVersions": stored}


def _problems(crd: Obj) -> list[FieldError]:
    spec, problems = crd["spec"], []
    names = spec.get("names", {})
    expected = f"{names.get('plural')}.{spec.get('group')}"
    if crd["metadata"]["name"] != expected:
        problems.append(
            errors.invalid_value("metadata.name", crd["metadata"]["name"], 'must be spec.names.plural+"."+spec.group')
        )
    problems += [errors.required(f"spec.names.{each}") for each in ("plural", "kind") if not names.get(each)]
    if spec.get("scope") not in ("Namespaced", "Cluster"):
        problems.append(errors.unsupported("spec.scope", spec.get("scope", ""), ["Cluster", "Namespaced"]))
    if sum(bool(each.get("storage")) for each in spec.get("versions", ())) != 1:
        why = "must have exactly one version marked as storage version"
        problems.append(errors.invalid_value("spec.versions", spec.get("versions"), why))
    return problems


def _custom(spec: dict[str, Any], version: dict[str, Any], schema: Schema) -> Resource:
    names = spec["names"]
    return Resource(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        kind=names["kind"],
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames", ())),
        categories=tuple(names.get("categories", ())),
        has_status="status" in version.get("subresources", {}),
        counts_generations=True,
        needs_version=True,
        schema=schema,
        columns=tuple(version.get("additionalPrinterColumns", ())),
        singular=names.get("singular") or names["kind"].lower(),
    )
