"""Which resources there are: the built-in ones, and those that CRDs add."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sandbox.kubernetes.embedded import errors
from sandbox.kubernetes.embedded.errors import FieldError
from sandbox.kubernetes.embedded.schema import Schema

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
CRDS = "customresourcedefinitions.apiextensions.k8s.io"
EVENTS_V1 = "events.k8s.io"


@dataclass(frozen=True, eq=False)
class Resource:
    """One plural in one version of a group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_status: bool = False
    counts_generations: bool = False
    needs_version: bool = False  # an update without resourceVersion is refused
    verbs: tuple[str, ...] = VERBS
    schema: Schema | None = None  # of custom resources alone
    columns: tuple[dict[str, Any], ...] = ()
    singular: str = ""

    @property
    def storage(self) -> str:
        """Versions of one resource share their objects, and so do both kinds of Event."""
        return "events" if self.group == EVENTS_V1 else errors.qualified(self.plural, self.group)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def is_custom(self) -> bool:
        return self.schema is not None

    def not_found(self, name: str) -> errors.ApiError:
        return errors.not_found(self.plural, self.group, name)

    def invalid(self, name: str, found: list[FieldError]) -> errors.ApiError:
        return errors.invalid(self.kind, "" if self.group == EVENTS_V1 else self.group, name, found)


def _workload(plural: str, kind: str, short: str) -> Resource:
    return Resource("apps", "v1", plural, kind, True, (short,), ("all",), has_status=True, counts_generations=True)


def _rbac(plural: str, kind: str, *, namespaced: bool) -> Resource:
    return Resource("rbac.authorization.k8s.io", "v1", plural, kind, namespaced)


def _review(plural: str, kind: str) -> Resource:
    return Resource("authorization.k8s.io", "v1", plural, kind, False, verbs=("create",))


BUILT_IN = (
    Resource("", "v1", "namespaces", "Namespace", False, ("ns",), has_status=True),
    Resource("", "v1", "secrets", "Secret"),
    Resource("", "v1", "configmaps", "ConfigMap", short_names=("cm",)),
    Resource("", "v1", "serviceaccounts", "ServiceAccount", short_names=("sa",)),
    Resource("", "v1", "services", "Service", True, ("svc",), ("all",), has_status=True),
    Resource("", "v1", "pods", "Pod", True, ("po",), ("all",), has_status=True, counts_generations=True),
    Resource("", "v1", "events", "Event", short_names=("ev",)),
    Resource("", "v1", "nodes", "Node", False, ("no",), has_status=True),
    Resource(EVENTS_V1, "v1", "events", "Event", short_names=("ev",)),
    _workload("deployments", "Deployment", "deploy"),
    _workload("statefulsets", "StatefulSet", "sts"),
    _workload("daemonsets", "DaemonSet", "ds"),
    _workload("replicasets", "ReplicaSet", "rs"),
    Resource("coordination.k8s.io", "v1", "leases", "Lease", needs_version=True),
    Resource(
        "policy",
        "v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        True,
        ("pdb",),
        has_status=True,
        counts_generations=True,
    ),
    Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", True, ("netpol",), counts_generations=True),
    _rbac("roles", "Role", namespaced=True),
    _rbac("rolebindings", "RoleBinding", namespaced=True),
    _rbac("clusterroles", "ClusterRole", namespaced=False),
    _rbac("clusterrolebindings", "ClusterRoleBinding", namespaced=False),
    _review("selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    _review("selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    Resource(
        *("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False),
        *(("crd", "crds"), ("api-extensions",)),
        has_status=True,
        counts_generations=True,
        needs_version=True,
    ),
)


@dataclass
class Registry:
    """Looks resources up by group, version and plural."""

    _known: dict[tuple[str, str, str], Resource] = field(
        default_factory=lambda: {(each.group, each.version, each.plural): each for each in BUILT_IN}
    )

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        return self._known.get((group, version, plural))

    def all(self) -> list[Resource]:
        return list(self._known.values())

    def in_version(self, group: str, version: str) -> list[Resource]:
        return [each for each in self._known.values() if (each.group, each.version) == (group, version)]

    def install(self, group: str, plural: str, resources: list[Resource]) -> None:
        self.uninstall(group, plural)
        self._known |= {(each.group, each.version, each.plural): each for each in resources}

    def uninstall(self, group: str, plural: str) -> None:
        for key in [key for key in self._known if (key[0], key[2]) == (group, plural)]:
            del self._known[key]
