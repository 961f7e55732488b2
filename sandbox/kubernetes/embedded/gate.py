"""The way in: who asks, whether they may, and the audit log that tells of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from sandbox.kubernetes.embedded import rbac
from sandbox.kubernetes.embedded.rbac import User
from sandbox.kubernetes.embedded.requests import Access
from sandbox.kubernetes.embedded.store import Entry, Obj, Store
from sandbox.kubernetes.embedded.tokens import ADMINISTRATOR, Tokens

_GROUP = ".rbac.authorization.k8s.io"


class Gate:
    def __init__(self, administrator: str, store: Store, audit_log: TextIO | None) -> None:
        """`audit_log` gets a line for each request of a ServiceAccount, in the form of audit.k8s.io/v1."""
        self._store, self._audit_log = store, audit_log
        self.tokens = Tokens(administrator, lambda namespace, name: store.get("serviceaccounts", (namespace, name)))

    def enter(self, authorization: str, access: Access) -> User:
        """Raises ApiError 401 for a stranger, 403 for what they may not do."""
        user = self.tokens.user(authorization)
        self.check(user, access)
        return user

    def check(self, user: User, access: Access) -> None:
        is_allowed = self._is_allowed(user, access)
        if self._audit_log and "system:serviceaccounts" in user.groups:
            self._audit_log.write(json.dumps(_audited(user, access, is_allowed=is_allowed)) + "\n")
        if not is_allowed:
            raise rbac.forbidden(user, access)

    def _is_allowed(self, user: User, access: Access) -> bool:
        if user is ADMINISTRATOR:
            return True
        return rbac.allowed(rbac.rules_of(user, access.namespace, _Roles(self._store)), access)

    def issue(self, whose: Entry, request: Obj) -> Obj:
        return self.tokens.issue(whose, request)

    def review(self, user: User, kind: str, body: Obj) -> Obj:
        """The answer to a SelfSubjectAccessReview, or to a SelfSubjectRulesReview."""
        spec = body.get("spec") or {}
        about = {"kind": kind, "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": spec}
        if kind == "SelfSubjectAccessReview":
            wanted = dict(spec.get("resourceAttributes") or spec.get("nonResourceAttributes") or {})
            access = Access(**{"verb": "", **{key: wanted[key] for key in wanted if key in Access.__match_args__}})
            return about | {"status": {"allowed": self._is_allowed(user, access)}}
        rules = list(rbac.rules_of(user, spec.get("namespace", ""), _Roles(self._store)))
        on_resources = [dict(rule) for rule in rules if not rule.get("nonResourceURLs")]
        on_paths = [dict(rule) for rule in rules if rule.get("nonResourceURLs")]
        status = {"resourceRules": on_resources, "nonResourceRules": on_paths, "incomplete": False}
        return about | {"status": status}


class _Roles:
    def __init__(self, store: Store) -> None:
        self._store = store

    def in_namespace(self, plural: str, namespace: str) -> Iterable[Mapping[str, Any]]:
        return (entry.obj for entry in self._store.collection(plural + _GROUP).under(namespace))

    def named(self, plural: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        found = self._store.get(plural + _GROUP, (namespace, name))
        return found.obj if found else None


def _audited(user: User, access: Access, *, is_allowed: bool) -> dict[str, Any]:
    parts = {
        "resource": access.resource,
        "namespace": access.namespace,
        "name": access.name,
        "apiGroup": access.group,
        "apiVersion": access.version,
        "subresource": access.subresource,
    }
    reference = {"objectRef": {key: value for key, value in parts.items() if value}} if access.resource else {}
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "stage": "ResponseComplete",
        "requestURI": access.path,
        "verb": access.verb,
        "user": {"username": user.name, "groups": user.groups},
        **reference,
        "requestReceivedTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "annotations": {"authorization.k8s.io/decision": "allow" if is_allowed else "forbid"},
    }
