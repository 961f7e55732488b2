"""Workloads at an API server: restarted once for each version, with nothing else about them changed."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest
from kubernetes import client

from rotated_secrets import cluster as connection
from rotated_secrets import cluster_access
from rotated_secrets.api.rollout import Workload, WorkloadKind
from rotated_secrets.delivery.restart import Restart, RestartKind
from rotated_secrets.delivery.restarts import ClusterWorkloads
from rotated_secrets.values import VersionId
from sandbox.kubernetes.client import Api, Json
from sandbox.kubernetes.provider import Cluster

KINDS = {
    WorkloadKind.DEPLOYMENT: "deployments",
    WorkloadKind.STATEFUL_SET: "statefulsets",
    WorkloadKind.DAEMON_SET: "daemonsets",
}
V1, V2 = VersionId("v1"), VersionId("v2")


@dataclass
class Beside:
    """The workloads of one namespace, and who restarts them."""

    api: Api
    namespace: str
    connected: connection.Cluster
    told: list[tuple[Workload, VersionId, Restart]] = field(default_factory=list)

    def by(self, owner_name: str = "orders-db", connected: connection.Cluster | None = None) -> ClusterWorkloads:
        def tell(workload: Workload, version_id: VersionId, restart: Restart) -> None:
            self.told.append((workload, version_id, restart))

        return ClusterWorkloads(
            connected or self.connected, namespace=self.namespace, owner_name=owner_name, on_restart=tell
        )

    def make(self, kind: WorkloadKind = WorkloadKind.DEPLOYMENT, **spec: Any) -> Workload:
        labels = {"app": "api"}
        container = {"name": "api", "image": "example.org/api", "env": [{"name": "TOKEN", "value": "mine"}]}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        body: Json = {"metadata": {"name": "api"}, "spec": {"selector": {"matchLabels": labels}, "template": template}}
        body["spec"] |= spec | ({"serviceName": "api"} if kind is WorkloadKind.STATEFUL_SET else {})
        self.api.create(self.path(kind), body)
        return Workload(kind=kind, name="api")

    def path(self, kind: WorkloadKind, name: str = "") -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/{KINDS[kind]}{'/' if name else ''}{name}"

    def read(self, workload: Workload) -> Json:
        return self.api.get(self.path(workload.kind, workload.name))


@pytest.fixture
def beside(cluster: Cluster, api: Api, namespace: str) -> Iterator[Beside]:
    with _connected(cluster) as connected:
        yield Beside(api, namespace, connected)


def _connected(cluster: Cluster, before_write: Callable[[], None] | None = None) -> closing[connection.Cluster]:
    configuration = cluster_access.configuration(cluster.kubeconfig, None)
    return closing(connection.Cluster(configuration, timeout=10, connections=2, retries=0, before_write=before_write))


@pytest.mark.parametrize("kind", WorkloadKind)
def test_one_annotation_of_the_pod_template_changes_and_nothing_else(beside: Beside, kind: WorkloadKind) -> None:
    workload = beside.make(kind)
    before = beside.read(workload)
    assert beside.by().restart(workload, V1) == Restart(RestartKind.RESTARTED)
    after = beside.read(workload)
    template = after["spec"]["template"]["metadata"]
    assert template.pop("annotations") == {"rotatedsecrets.io/restarted-for.orders-db": "v1"}
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
    assert beside.told == [(workload, V1, Restart(RestartKind.RESTARTED))]


def test_a_second_time_for_the_same_version_writes_nothing(beside: Beside) -> None:
    workload = beside.make()
    beside.by().restart(workload, V1)
    before = beside.read(workload)
    assert beside.by().restart(workload, V1) == Restart(RestartKind.UNCHANGED)
    assert beside.read(workload) == before
    beside.by().restart(workload, V2)
    assert beside.read(workload)["metadata"]["generation"] == before["metadata"]["generation"] + 1


def test_two_rotated_secrets_on_one_workload_do_not_undo_each_others(beside: Beside) -> None:
    workload = beside.make()
    for owner in ("orders-db", "billing-db"):
        assert beside.by(owner).restart(workload, V1).kind is RestartKind.RESTARTED
    for owner in ("orders-db", "billing-db"):
        assert beside.by(owner).restart(workload, V1).kind is RestartKind.UNCHANGED


def test_a_workload_whose_status_moves_meanwhile_is_restarted_all_the_same(cluster: Cluster, beside: Beside) -> None:
    workload = beside.make()
    moves = iter((1, 2))

    def move() -> None:
        if (replicas := next(moves, None)) is not None:
            beside.api.patch(f"{beside.path(workload.kind, 'api')}/status", {"status": {"replicas": replicas}})

    with _connected(cluster, move) as busy:
        assert beside.by(connected=busy).restart(workload, V1).kind is RestartKind.RESTARTED
    assert next(moves, None) is None, "nothing came in between"


def test_a_replica_that_was_frozen_before_its_patch_finds_it_refused_when_it_wakes(
    cluster: Cluster, beside: Beside
) -> None:
    """Between its look and its patch, another one has restarted the workload for the next version."""
    workload = beside.make()
    beside.by().restart(workload, V1)

    class Lost(Exception):
        pass

    def frozen(asked: list[None] = []) -> None:  # noqa: B006 - counts
        asked.append(None)
        if len(asked) > 1:
            raise Lost  # by its second request it knows that it leads no longer
        beside.by().restart(workload, V2)

    with _connected(cluster, frozen) as late, pytest.raises(Lost):
        beside.by(connected=late).restart(workload, VersionId("v1-again"))
    annotations = beside.read(workload)["spec"]["template"]["metadata"]["annotations"]
    assert list(annotations.values()) == ["v2"]


def test_a_workload_that_changes_all_the_time_is_left_for_later(cluster: Cluster, beside: Beside) -> None:
    workload = beside.make()
    replicas = iter(range(1, 100))

    def move() -> None:
        beside.api.patch(f"{beside.path(workload.kind, 'api')}/status", {"status": {"replicas": next(replicas)}})

    with _connected(cluster, move) as busy:
        assert beside.by(connected=busy).restart(workload, V1).kind is RestartKind.UNAVAILABLE


def test_a_paused_deployment_is_marked_and_it_is_said_when_its_pods_are_replaced(beside: Beside) -> None:
    workload = beside.make(paused=True)
    restart = beside.by().restart(workload, V1)
    assert restart.kind is RestartKind.RESTARTED
    assert "when it is resumed" in restart.message
    assert beside.read(workload)["spec"]["paused"] is True


def test_a_missing_workload_is_named(beside: Beside) -> None:
    restart = beside.by().restart(Workload(kind=WorkloadKind.DAEMON_SET, name="gone"), V1)
    assert restart.kind is RestartKind.MISSING
    assert beside.namespace in restart.message


def test_without_the_permission_it_is_said_how_to_give_it(cluster: Cluster, beside: Beside) -> None:
    workload = beside.make()
    rules = ({"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]},)
    kubeconfig = cluster.operator_kubeconfig(rules, beside.namespace, cluster_wide=False)
    configuration = cluster_access.configuration(kubeconfig, None)
    with closing(connection.Cluster(configuration, timeout=10, connections=2, retries=0)) as limited:
        restart = beside.by(connected=limited).restart(workload, V1)
    assert restart.kind is RestartKind.REFUSED
    assert "rollouts.enabled" in restart.message
    assert "annotations" not in beside.read(workload)["spec"]["template"]["metadata"]


def test_an_api_server_that_does_not_answer_is_asked_again_later(namespace: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        configuration = client.Configuration(host=f"http://127.0.0.1:{silent.getsockname()[1]}")
        with closing(connection.Cluster(configuration, timeout=0.2, connections=1, retries=0)) as away:
            workloads = ClusterWorkloads(away, namespace=namespace, owner_name="orders-db", on_restart=lambda *_: None)
            restart = workloads.restart(Workload(kind=WorkloadKind.DEPLOYMENT, name="api"), V1)
    assert restart.kind is RestartKind.UNAVAILABLE
