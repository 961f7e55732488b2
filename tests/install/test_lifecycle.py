"""A release from its first day to its last, with the chart's own values, on a cluster where nothing was before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
import yaml

from rotated_secrets.api.names import API_VERSION, KIND
from sandbox.application import RESOURCES
from sandbox.helm import CHART, HelmFailed, helm
from sandbox.kubernetes.client import Json, StatusError
from sandbox.kubernetes.provider import Choice, Cluster, Provider, running_cluster
from sandbox.stack import CRD_NAME
from sandbox.waiting import eventually

RELEASE, NAMESPACE = "rotated-secrets", "rotated-secrets"
CRD_PATH = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{CRD_NAME}"
ROTATED_SECRET: Json = {
    "apiVersion": API_VERSION,
    "kind": KIND,
    "metadata": {"name": "orders"},
    "spec": {"source": {"secretId": "shop/orders"}, "rotation": {"strategy": "SingleUser"}},
}
PLURALS = {
    "ServiceAccount": "/api/v1/{}/serviceaccounts",
    "ConfigMap": "/api/v1/{}/configmaps",
    "Secret": "/api/v1/{}/secrets",
    "Service": "/api/v1/{}/services",
    "Deployment": "/apis/apps/v1/{}/deployments",
    "PodDisruptionBudget": "/apis/policy/v1/{}/poddisruptionbudgets",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/{}/networkpolicies",
    "Role": "/apis/rbac.authorization.k8s.io/v1/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/{}/rolebindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
}


@pytest.fixture(scope="module")
def own_cluster(cluster: Cluster) -> Iterator[Cluster]:
    """From which the CRD can be taken away."""
    if cluster.provider is Provider.CONTEXT:
        pytest.skip("the CRD of a named cluster is not ours to take away")
    with running_cluster(Choice.make(cluster.provider)) as running:
        yield running


@pytest.fixture
def bare(own_cluster: Cluster) -> Iterator[Cluster]:
    """A cluster where nothing of ours is, the CRD neither."""
    assert left(own_cluster) == set()
    yield own_cluster
    with suppress(HelmFailed):
        run(own_cluster, "uninstall")
    with suppress(StatusError):
        own_cluster.api().delete(CRD_PATH)
    eventually(lambda: not left(own_cluster), "nothing is left")


def run(cluster: Cluster, action: str, *arguments: str, values: Json | None = None) -> str:
    given = ("--values", "-") if values else ()
    chart = () if action in ("uninstall", "get", "rollback") else (str(CHART),)
    stdin = yaml.safe_dump(values) if values else None
    command = (action, *arguments, RELEASE, *chart, "--namespace", NAMESPACE, *given)
    return helm(*command, environment=cluster.environment(), stdin=stdin)


def install(cluster: Cluster, values: Json | None = None) -> str:
    return run(cluster, "install", "--create-namespace", values=values)


def manifests(cluster: Cluster) -> list[Json]:
    text = helm("get", "manifest", RELEASE, "--namespace", NAMESPACE, environment=cluster.environment())
    return [each for each in yaml.safe_load_all(text) if each]


def left(cluster: Cluster) -> set[tuple[str, str]]:
    """What there is of the release, in the namespace and beside it."""
    api = cluster.api()
    found = set()
    for kind, path in PLURALS.items():
        for each in api.get(path.format(f"namespaces/{NAMESPACE}"))["items"]:
            labels = each["metadata"].get("labels") or {}
            if labels.get("app.kubernetes.io/instance") == RELEASE or labels.get("owner") == "helm":
                found.add((kind, each["metadata"]["name"]))
    return found


def deployment(cluster: Cluster) -> Json:
    (found,) = cluster.api().get(PLURALS["Deployment"].format(f"namespaces/{NAMESPACE}"))["items"]
    deployment: Json = found
    return deployment


def test_a_release_is_installed_upgraded_rolled_back_and_leaves_nothing_but_the_crd(bare: Cluster) -> None:
    install(bare)
    wanted = {(each["kind"], each["metadata"]["name"]) for each in manifests(bare)}
    there = left(bare)
    assert wanted <= there
    assert {kind for kind, _ in there - wanted} == {"Secret"}, "besides, there is Helm's own record"
    assert deployment(bare)["spec"]["replicas"] == 2

    changed = {"replicas": 3, "networkPolicy": {"enabled": False}, "podDisruptionBudget": {"enabled": False}}
    assert {"NetworkPolicy", "PodDisruptionBudget"} <= {kind for kind, _ in there}
    run(bare, "upgrade", values=changed)
    assert deployment(bare)["spec"]["replicas"] == 3
    assert not {"NetworkPolicy", "PodDisruptionBudget"} & {kind for kind, _ in left(bare)}

    helm("rollback", RELEASE, "1", "--namespace", NAMESPACE, environment=bare.environment())
    assert deployment(bare)["spec"]["replicas"] == 2
    assert wanted <= left(bare)

    kept = f"{RESOURCES}/namespaces/default/rotatedsecrets"
    bare.api().create(kept, ROTATED_SECRET)
    assert CRD_NAME in run(bare, "uninstall"), "Helm says what it has kept"
    assert left(bare) == {("CustomResourceDefinition", CRD_NAME)}
    assert len(bare.api().get(kept)["items"]) == 1

    install(bare)
    assert wanted <= left(bare)
    run(bare, "upgrade", values={"crds": {"keep": False}})
    run(bare, "uninstall")
    eventually(lambda: left(bare) == set(), "nothing is left")


PODS: Json = {
    "revisionHistoryLimit": 0,
    "updateStrategy": {"type": "Recreate"},
    "deploymentAnnotations": {"a": "b"},
    "startupProbe": {"failureThreshold": 7},
    "livenessProbe": {"initialDelaySeconds": 30},
    "readinessProbe": None,
    "hostNetwork": True,
    "hostAliases": [{"ip": "10.0.0.7", "hostnames": ["db.example.com"]}],
    "dnsPolicy": "None",
    "dnsConfig": {"nameservers": ["10.0.0.10"]},
    "tolerations": None,
    "extraArgs": ["--identity=a"],
    "extraInitContainers": [{"name": "first", "image": "a"}],
    "extraContainers": [{"name": "beside", "image": "a"}],
    "podDisruptionBudget": {"minAvailable": "50%"},
    "crds": {"annotations": {"a": "b"}},
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "more"}}],
}


def test_a_release_takes_all_values_for_pods_and_needs_no_prometheus_operator(bare: Cluster) -> None:
    monitoring = {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}
    install(bare, {**PODS, "metrics": monitoring})
    made = deployment(bare)["spec"]
    assert made["strategy"] == {"type": "Recreate"}
    assert made["template"]["spec"]["dnsConfig"] == PODS["dnsConfig"]
    assert bare.api().get(f"/api/v1/namespaces/{NAMESPACE}/configmaps/more")
    missing = {"metrics": {"serviceMonitor": {"enabled": True, "renderMode": "failIfMissing"}}}
    with pytest.raises(HelmFailed, match="the cluster has no ServiceMonitor"):
        run(bare, "upgrade", values=missing)


def test_a_release_without_the_crd_leaves_that_to_others(bare: Cluster) -> None:
    install(bare, {"crds": {"install": False}})
    assert ("CustomResourceDefinition", CRD_NAME) not in left(bare)
    with pytest.raises(StatusError, match="not found"):
        bare.api().get(CRD_PATH)


def test_what_the_api_server_refuses_helm_tells(bare: Cluster) -> None:
    with pytest.raises(HelmFailed, match=r"namespaces .*nowhere.* not found"):
        install(bare, {"crds": {"install": False}, "namespaces": ["nowhere"]})
    run(bare, "uninstall")
    assert left(bare) == set()
