"""A namespace, its RoleBinding or the CustomResourceDefinition goes and comes back: the operator serves the rest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox.kubernetes.client import Api, Json, StatusError
from sandbox.kubernetes.provider import Choice, Cluster, Provider, running_cluster
from sandbox.prefork import Prefork
from sandbox.stack import CRD_NAME, install_crd
from sandbox.waiting import eventually
from tests.integration.controller.conftest import Objects, Process, Start, operators

RBAC = "rbac.authorization.k8s.io"
SERVES = [
    {"apiGroups": ["rotatedsecrets.io"], "resources": ["rotatedsecrets"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]},
]
AT_HOME = [
    *SERVES,
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
]
WATCH: dict[str, Any] = {"watch_timeout": 2.0}
"""A watch that is open goes on without permissions until its end."""


@dataclass
class Tenants:
    """Two namespaces that one operator serves; its ServiceAccount is in the first."""

    api: Api
    ours: Objects
    theirs: Objects
    kubeconfig: Path

    @property
    def namespaces(self) -> str:
        return f"{self.ours.namespace},{self.theirs.namespace}"

    def _path(self, kind: str) -> str:
        return f"/apis/{RBAC}/v1/namespaces/{self.theirs.namespace}/{kind}"

    def give(self, *verbs: str) -> None:
        """Let the operator in, with all verbs or with these."""
        rules: list[Json] = [dict(rule, verbs=list(verbs) or rule["verbs"]) for rule in SERVES]
        account = {"kind": "ServiceAccount", "name": "operator", "namespace": self.ours.namespace}
        role = {"apiGroup": RBAC, "kind": "Role", "name": "operator"}
        self.api.create(self._path("roles"), {"metadata": {"name": "operator"}, "rules": rules})
        binding = {"metadata": {"name": "operator"}, "subjects": [account], "roleRef": role}
        self.api.create(self._path("rolebindings"), binding)

    def take(self) -> None:
        for kind in ("rolebindings", "roles"):
            self.api.delete(f"{self._path(kind)}/operator")

    def metric(self, operator: Process) -> bool:
        return (
            f'rotatedsecrets_namespace_set_aside{{namespace="{self.theirs.namespace}"}} 1.0'
            in operator.get("/metrics")[1]
        )

    def reasons(self) -> set[str]:
        found = self.ours.events()
        return {each["reason"] for each in found if each["involvedObject"]["kind"] == "Lease"}


@pytest.fixture
def tenants(crd: None, cluster: Cluster, api: Api, objects: Objects) -> Iterator[Tenants]:
    kubeconfig = cluster.operator_kubeconfig(AT_HOME, objects.namespace, cluster_wide=False)
    other = api.create("/api/v1/namespaces", {"metadata": {"generateName": "tenant-"}})["metadata"]["name"]
    made = Tenants(api, objects, Objects(api, other), kubeconfig)
    made.give()
    objects.make("orders")
    made.theirs.make("orders")
    yield made
    api.delete(f"/api/v1/namespaces/{other}")


@pytest.fixture
def start_operator(cluster: Cluster, interpreter: Prefork, tenants: Tenants) -> Iterator[Start]:
    with operators(cluster, tenants.ours.namespace, interpreter) as start:
        yield lambda **settings: start(
            kubeconfig=tenants.kubeconfig, namespaces=tenants.namespaces, **WATCH, **settings
        )


def looks_at(operator: Process, objects: Objects, name: str) -> None:
    operator.wait_for(f"looked {objects.namespace}/{name} there")


def still_serves(operator: Process, objects: Objects, name: str) -> None:
    objects.make(name)
    looks_at(operator, objects, name)


def test_a_tenant_that_takes_its_permissions_away_stops_only_itself(tenants: Tenants, start_operator: Start) -> None:
    operator = start_operator()
    looks_at(operator, tenants.theirs, "orders")
    tenants.take()
    operator.wait_for(f"WARNING .*namespace {tenants.theirs.namespace} is set aside, .*cannot (list|watch) resource")
    eventually(lambda: tenants.metric(operator), "the metric says so")
    eventually(lambda: "NamespaceSetAside" in tenants.reasons(), "an Event on the Lease says so")
    still_serves(operator, tenants.ours, "meanwhile")
    tenants.theirs.make("missed")
    assert operator.get("/healthz")[0] == 200

    back = time.monotonic()
    tenants.give()
    operator.wait_for(f"namespace {tenants.theirs.namespace} is watched again", after=back)
    looks_at(operator, tenants.theirs, "missed")
    operator.wait_for(f"looked {tenants.theirs.namespace}/orders there", after=back)
    assert not tenants.metric(operator)
    eventually(lambda: "NamespaceServed" in tenants.reasons(), "an Event says that it is back")
    still_serves(operator, tenants.theirs, "later")
    still_serves(operator, tenants.ours, "later")
    assert "Traceback" not in operator.text


def test_an_operator_starts_while_a_tenant_is_away_and_serves_it_when_it_is_back(
    tenants: Tenants, start_operator: Start
) -> None:
    tenants.take()
    operator = start_operator()
    operator.wait_for(f"WARNING .*namespace {tenants.theirs.namespace} is set aside")
    looks_at(operator, tenants.ours, "orders")
    tenants.give()
    looks_at(operator, tenants.theirs, "orders")


def test_a_tenant_that_allows_lists_and_no_watches_is_told_and_does_not_end_the_operator(
    tenants: Tenants, start_operator: Start
) -> None:
    tenants.take()
    tenants.give("get", "list")
    operator = start_operator()
    operator.wait_for(f"WARNING .*namespace {tenants.theirs.namespace} is set aside, .*cannot watch resource")
    still_serves(operator, tenants.ours, "meanwhile")
    assert operator.get("/healthz")[0] == 200
    assert len([line for _, line in operator.lines if "is set aside" in line]) == 1


def test_a_tenant_whose_namespace_is_deleted_stops_only_itself(tenants: Tenants, start_operator: Start) -> None:
    operator = start_operator()
    looks_at(operator, tenants.theirs, "orders")
    tenants.theirs.delete("orders")
    tenants.take()
    tenants.api.delete(f"/api/v1/namespaces/{tenants.theirs.namespace}")
    operator.wait_for(f"WARNING .*namespace {tenants.theirs.namespace} is set aside")
    still_serves(operator, tenants.ours, "meanwhile")
    start_operator().wait_for("is set aside")  # a stand-by, which comes as far as without it


# ---- the CustomResourceDefinition


@pytest.fixture(scope="module")
def own_cluster(cluster: Cluster) -> Iterator[Cluster]:
    """From which the CustomResourceDefinition can be taken away."""
    if cluster.provider is Provider.CONTEXT:
        pytest.skip("the CRD of a named cluster is not ours to take away")
    with running_cluster(Choice.make(cluster.provider)) as running:
        install_crd(running)
        yield running


CRD_PATH = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{CRD_NAME}"


def is_gone(api: Api) -> bool:
    try:
        api.get(CRD_PATH)
    except StatusError as error:
        return error.code == 404
    return False


@pytest.mark.parametrize("everywhere", [True, False], ids=["all namespaces", "one namespace"])
def test_a_definition_that_goes_and_comes_back_ends_nothing(
    everywhere: bool, own_cluster: Cluster, interpreter: Prefork
) -> None:
    api = own_cluster.api()
    name = api.create("/api/v1/namespaces", {"metadata": {"generateName": "crd-"}})["metadata"]["name"]
    objects = Objects(api, name)
    objects.make("orders")
    with operators(own_cluster, name, interpreter) as start:
        operator = start(namespaces="" if everywhere else name, **WATCH)
        looks_at(operator, objects, "orders")
        api.delete(CRD_PATH)
        eventually(lambda: is_gone(api), "it is gone")
        where = "the cluster" if everywhere else f"namespace {name}"
        operator.wait_for(f"WARNING .*{where} is set aside")
        back = time.monotonic()
        install_crd(own_cluster)
        operator.wait_for(f"{where} is watched again", after=back)
        objects.make("orders")
        operator.wait_for(f"looked {name}/orders there", after=back)
        assert operator.get("/healthz")[0] == 200
        assert "Traceback" not in operator.text
