"""Who may do what: RBAC's rules over Roles, ClusterRoles and their bindings, as the API server's own authorizer; pure.

There is no aggregation of ClusterRoles, and whoever may write a Role may write any: nobody but the administrator and
Helm in the administrator's name does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sandbox.kubernetes.embedded import errors
from sandbox.kubernetes.embedded.requests import Access

Rule = Mapping[str, Sequence[str]]
MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
_GROUP = "rbac.authorization.k8s.io"
_INFORMATION = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
_DISCOVERY = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *_INFORMATION]

# What every API server has from the start, as far as anybody here needs it: name → its rules, and the groups it is for.
_REVIEWS = {
    "apiGroups": ["authorization.k8s.io"],
    "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
}
FIRST_ROLES: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "cluster-admin": (
        [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}],
        [MASTERS],
    ),
    "system:basic-user": ([_REVIEWS | {"verbs": ["create"]}], [AUTHENTICATED]),
    "system:discovery": ([{"nonResourceURLs": _DISCOVERY, "verbs": ["get"]}], [AUTHENTICATED]),
    "system:public-info-viewer": (
        [{"nonResourceURLs": _INFORMATION, "verbs": ["get"]}],
        [AUTHENTICATED, UNAUTHENTICATED],
    ),
}


@dataclass(frozen=True)
class User:
    name: str
    groups: tuple[str, ...]


class Objects(Protocol):
    """Where Roles and bindings are found, by their plural; "" is the namespace of those that have none."""

    def in_namespace(self, plural: str, namespace: str) -> Iterable[Mapping[str, Any]]: ...

    def named(self, plural: str, namespace: str, name: str) -> Mapping[str, Any] | None: ...


def rules_of(user: User, namespace: str, objects: Objects) -> Iterator[Rule]:
    """All that `user` may do in `namespace`; with "", what they may do everywhere."""
    yield from _bound(user, "clusterrolebindings", "", objects)
    if namespace:
        yield from _bound(user, "rolebindings", namespace, objects)


def _bound(user: User, plural: str, namespace: str, objects: Objects) -> Iterator[Rule]:
    for binding in objects.in_namespace(plural, namespace):
        if any(_is(user, subject, namespace) for subject in binding.get("subjects") or ()):
            reference = binding["roleRef"]
            is_local = reference["kind"] == "Role"
            role = objects.named(
                "roles" if is_local else "clusterroles", namespace if is_local else "", reference["name"]
            )
            yield from (role or {}).get("rules") or ()


def _is(user: User, subject: Mapping[str, str], namespace: str) -> bool:
    match subject["kind"]:
        case "User":
            return subject["name"] == user.name
        case "Group":
            return subject["name"] in user.groups
        case "ServiceAccount":
            return account(subject.get("namespace") or namespace, subject["name"]) == user.name
    return False


def account(namespace: str, name: str) -> str:
    """The name of a ServiceAccount as a user."""
    return f"system:serviceaccount:{namespace}:{name}"


def allowed(rules: Iterable[Rule], access: Access) -> bool:
    return any(_allows(rule, access) for rule in rules)


def _allows(rule: Rule, access: Access) -> bool:
    if not _has(rule.get("verbs"), access.verb):
        return False
    if access.path:
        return any(_covers(pattern, access.path) for pattern in rule.get("nonResourceURLs") or ())
    if not _has(rule.get("apiGroups"), access.group):
        return False
    names = rule.get("resourceNames") or ()
    return _names_resource(rule.get("resources") or (), access) and (not names or access.name in names)


def _has(listed: Sequence[str] | None, value: str) -> bool:
    return listed is not None and ("*" in listed or value in listed)


def _names_resource(resources: Sequence[str], access: Access) -> bool:
    anything = access.subresource and f"*/{access.subresource}" in resources
    return "*" in resources or access.whole in resources or bool(anything)


def _covers(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def forbidden(user: User, access: Access) -> errors.ApiError:
    """In the API server's own words."""
    if access.path:
        why, about = f'cannot {access.verb} path "{access.path}"', ""
    else:
        where = f'in the namespace "{access.namespace}"' if access.namespace else "at the cluster scope"
        why = f'cannot {access.verb} resource "{access.whole}" in API group "{access.group}" {where}'
        about = errors.qualified(access.resource, access.group)
        about += f' "{access.name}"' if access.name else ""
    details = {"name": access.name, "group": access.group, "kind": access.resource}
    message = f'{about} is forbidden: User "{user.name}" {why}'.removeprefix(" is ")
    return errors.ApiError(403, "Forbidden", message, {key: value for key, value in details.items() if value})


def first_objects() -> Iterator[tuple[str, dict[str, Any]]]:
    """The Roles and bindings of the start, each with its plural."""
    for name, (rules, groups) in FIRST_ROLES.items():
        yield "clusterroles", {"metadata": _first(name), "rules": rules}
        subjects = [{"kind": "Group", "apiGroup": _GROUP, "name": group} for group in groups]
        reference = {"apiGroup": _GROUP, "kind": "ClusterRole", "name": name}
        yield "clusterrolebindings", {"metadata": _first(name), "subjects": subjects, "roleRef": reference}


def _first(name: str) -> dict[str, Any]:
    return {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}
