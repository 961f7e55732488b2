"""What a chart grants its operator, and what the operator asked for: from its Roles, and from the audit log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from sandbox.kubernetes.client import Json

OPEN_TO_ALL = ("authorization.k8s.io", "authentication.k8s.io")
"""Groups whose reviews everybody may create about themselves."""


@dataclass(frozen=True, order=True)
class Permission:
    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{f'.{self.group}' if self.group else ''}"


def granted(manifests: Sequence[Json], account: str) -> set[Permission]:
    """All that the Roles bound to a ServiceAccount allow, wherever."""
    roles = {_identity(each["kind"], each["metadata"]): each for each in manifests if each["kind"].endswith("Role")}
    bound = [
        roles[_identity(each["roleRef"]["kind"], each["metadata"] | {"name": each["roleRef"]["name"]})]
        for each in manifests
        if each["kind"].endswith("RoleBinding") and account in {subject["name"] for subject in each["subjects"]}
    ]
    return {permission for role in bound for rule in role["rules"] for permission in of_rule(rule)}


def _identity(kind: str, meta: Mapping[str, str]) -> tuple[str, str, str]:
    return kind, meta.get("namespace", ""), meta["name"]


def of_rule(rule: Mapping[str, Sequence[str]]) -> Iterator[Permission]:
    for group, resource, verb in product(rule["apiGroups"], rule["resources"], rule["verbs"]):
        yield Permission(group, resource, verb)


@dataclass(frozen=True)
class Request:
    permission: Permission
    namespace: str
    name: str
    was_allowed: bool


def requests(audit_log: Path, namespace: str, account: str) -> list[Request]:
    """Every request for a resource that a ServiceAccount has made."""
    user = f"system:serviceaccount:{namespace}:{account}"
    found = (json.loads(line) for line in audit_log.read_text().splitlines() if user in line)
    return [each for event in found if event["user"]["username"] == user for each in _request(event)]


def _request(event: Json) -> Iterator[Request]:
    about = event.get("objectRef") or {}
    if not about.get("resource") or about.get("apiGroup") in OPEN_TO_ALL:
        return
    resource = f"{about['resource']}/{about['subresource']}" if about.get("subresource") else about["resource"]
    permission = Permission(about.get("apiGroup", ""), resource, event["verb"])
    was_allowed = event["annotations"]["authorization.k8s.io/decision"] == "allow"
    yield Request(permission, about.get("namespace", ""), about.get("name", ""), was_allowed)


def told(permissions: Iterable[Permission]) -> list[str]:
    """For a person to read, and to be compared with nothing."""
    return [str(each) for each in sorted(permissions)]
