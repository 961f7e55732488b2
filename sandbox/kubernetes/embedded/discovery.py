"""Discovery documents, in the old form (a document per group version) and the aggregated one; pure."""

from __future__ import annotations

from typing import Any

from sandbox.kubernetes.embedded.resources import Registry, Resource

VERSION = {
    "major": "1",
    "minor": "33",
    "gitVersion": "v1.33.0+embedded",
    "platform": "python",
    "goVersion": "",
    "compiler": "",
}


def _versions(registry: Registry) -> dict[str, list[str]]:
    """Group → versions, in the order in which they are known; the group of the legacy API is not among them."""
    found: dict[str, list[str]] = {}
    for resource in registry.all():
        versions = found.setdefault(resource.group, [])
        if resource.version not in versions:
            versions.append(resource.version)
    del found[""]
    return found


def api_versions() -> dict[str, Any]:
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def group_list(registry: Registry) -> dict[str, Any]:
    groups = [_group(name, versions) for name, versions in _versions(registry).items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(registry: Registry, name: str) -> dict[str, Any] | None:
    versions = _versions(registry).get(name)
    return {"kind": "APIGroup", "apiVersion": "v1"} | _group(name, versions) if versions else None


def _group(name: str, versions: list[str]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def resource_list(registry: Registry, group_name: str, version: str) -> dict[str, Any] | None:
    found = registry.in_version(group_name, version)
    if not found:
        return None
    listed = []
    for each in found:
        names = {"name": each.plural, "singularName": _singular(each), "namespaced": each.namespaced, "kind": each.kind}
        extra = {"shortNames": list(each.short_names), "categories": list(each.categories)}
        listed.append(names | {"verbs": list(each.verbs)} | {key: value for key, value in extra.items() if value})
        for subresource, kind, verbs in _subresources(each):
            below = {"name": f"{each.plural}/{subresource}", "singularName": "", "namespaced": each.namespaced}
            listed.append(below | {"kind": kind, "verbs": verbs})
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": found[0].api_version, "resources": listed}


def aggregated(registry: Registry, *, is_legacy: bool) -> dict[str, Any]:
    groups = {"": ["v1"]} if is_legacy else _versions(registry)
    items = [
        {
            "metadata": {"name": name, "creationTimestamp": None},
            "versions": [
                {
                    "version": each,
                    "resources": [_aggregated(r) for r in registry.in_version(name, each)],
                    "freshness": "Current",
                }
                for each in versions
            ],
        }
        for name, versions in groups.items()
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _aggregated(resource: Resource) -> dict[str, Any]:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    found: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": kind,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": _singular(resource),
        "verbs": list(resource.verbs),
        "shortNames": list(resource.short_names),
        "categories": list(resource.categories),
    }
    below = [
        {"subresource": name, "responseKind": kind | {"kind": of_kind}, "verbs": verbs}
        for name, of_kind, verbs in _subresources(resource)
    ]
    return found | ({"subresources": below} if below else {})


def _subresources(resource: Resource) -> list[tuple[str, str, list[str]]]:
    found = [("status", resource.kind, ["get", "patch", "update"])] if resource.has_status else []
    return found + ([("token", "TokenRequest", ["create"])] if resource.plural == "serviceaccounts" else [])


def _singular(resource: Resource) -> str:
    return resource.singular or resource.kind.lower()
