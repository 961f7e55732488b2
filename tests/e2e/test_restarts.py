"""Workloads restart once for each version that the Secret came to hold, whatever happens to the operator meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
import yaml

from sandbox.kubernetes.client import Api, Json, StatusError
from sandbox.kubernetes.provider import Cluster
from sandbox.operatorprocess import OperatorProcess
from sandbox.waiting import eventually
from tests.support.applied import EVERY, Applied

RBAC = "rbac.authorization.k8s.io"
KINDS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}
Grant = Callable[[], None]


@pytest.fixture
def grant(cluster: Cluster, home: str, operator_kubeconfig: Path) -> Iterator[Grant]:
    """Gives the operator what the chart gives it by ``rollouts.enabled``; taken away again at the end."""
    meta = {"name": "rollouts", "namespace": home}
    account = {"kind": "ServiceAccount", "name": "operator", "namespace": home}
    rule = {"apiGroups": ["apps"], "resources": list(KINDS.values()), "verbs": ["get", "patch"]}
    role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": meta, "rules": [rule]}
    reference = {"apiGroup": RBAC, "kind": "Role", "name": "rollouts"}
    binding = {"kind": "RoleBinding", "metadata": meta, "subjects": [account], "roleRef": reference}
    manifest = yaml.safe_dump_all([role, {"apiVersion": f"{RBAC}/v1", **binding}])
    as_operator = Api(operator_kubeconfig)

    def answers(status: HTTPStatus) -> bool:
        """What it hears when it asks for a workload that isn't there."""
        try:
            as_operator.patch(f"/apis/apps/v1/namespaces/{home}/deployments/none", {"metadata": {}})
        except StatusError as error:
            return error.code == status
        return False

    def give() -> None:
        cluster.kubectl("apply", "-f", "-", stdin=manifest)
        eventually(lambda: answers(HTTPStatus.NOT_FOUND), "the role is in force")

    yield give
    cluster.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=manifest)
    eventually(lambda: answers(HTTPStatus.FORBIDDEN), "the role is gone")


class Workloads:
    """One workload of each kind beside an application."""

    def __init__(self, applied: Applied) -> None:
        self.applied = applied
        self.name = applied.application.name
        self.annotation = f"rotatedsecrets.io/restarted-for.{self.name}"
        labels = {"app": self.name}
        container = {"name": "api", "image": "example.org/api", "envFrom": [{"secretRef": {"name": self.name}}]}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        for kind, plural in KINDS.items():
            spec = {"selector": {"matchLabels": labels}, "template": template}
            spec |= {"serviceName": self.name} if kind == "StatefulSet" else {}
            applied.api.create(self._path(plural), {"metadata": {"name": self.name}, "spec": spec})

    @property
    def spec(self) -> Json:
        """For the RotatedSecret."""
        return {"rollout": {"restart": [{"kind": kind, "name": self.name} for kind in KINDS]}}

    def read(self) -> list[Json]:
        return [self.applied.api.get(f"{self._path(plural)}/{self.name}") for plural in KINDS.values()]

    def restarts(self) -> list[int]:
        """How often each was changed since it was made."""
        return [each["metadata"]["generation"] - 1 for each in self.read()]

    def versions(self) -> set[str | None]:
        """For which they were restarted last."""
        templates = [each["spec"]["template"]["metadata"] for each in self.read()]
        return {(each.get("annotations") or {}).get(self.annotation) for each in templates}

    def until_rolled_out(self) -> str:
        """The version that everything was restarted for, once it is the current one."""

        def look() -> str | None:
            status = self.applied.status
            done = status["rolledOutVersionId"] == status["currentVersionId"] and "rollingOutVersionId" not in status
            return str(status["currentVersionId"]) if done and not status.get("rotation") else None

        found = eventually(look, f"{self.name} is rolled out", seconds=40, every=EVERY)
        assert found is not None
        return found

    def _path(self, plural: str) -> str:
        return f"/apis/apps/v1/namespaces/{self.applied.application.namespace}/{plural}"


def resync(applied: Applied, request: str) -> None:
    applied.patch({"metadata": {"annotations": {"rotatedsecrets.io/resync": request}}})
    eventually(lambda: applied.status["handledRequests"].get("resync") == request, "it is looked at", every=EVERY)


def test_each_kind_restarts_once_for_each_version_also_where_the_operator_is_killed(
    orders: Applied, operator: OperatorProcess, grant: Grant, home: str
) -> None:
    grant()
    workloads = Workloads(orders)
    orders.apply(workloads.spec).until_ready()
    first = workloads.until_rolled_out()
    assert workloads.versions() == {None}

    orders.rotate("one")
    assert workloads.until_rolled_out() != first
    assert workloads.restarts() == [1, 1, 1]

    orders.ask("two")
    eventually(lambda: orders.status.get("rotation"), "it rotates", every=0.02)
    operator.kill()
    orders.api.delete(f"/apis/coordination.k8s.io/v1/namespaces/{home}/leases/rotated-secrets")  # as if it had expired
    operator.start()
    orders.until_served("two", seconds=60)
    workloads.until_rolled_out()
    assert workloads.restarts() == [2, 2, 2]

    orders.rotate("three")
    last = workloads.until_rolled_out()
    assert operator.terminate() == 0
    operator.start()
    operator.wait_until_it_leads()
    resync(orders, "now")
    assert workloads.restarts() == [3, 3, 3]
    assert workloads.versions() == {last}
    assert orders.api.get(orders.secret_path)["metadata"]["annotations"]["rotatedsecrets.io/version-id"] == last


def test_a_value_put_by_hand_restarts_and_a_repaired_secret_does_not(
    orders: Applied, operator: OperatorProcess, grant: Grant
) -> None:
    grant()
    workloads = Workloads(orders)
    orders.apply(workloads.spec).until_ready()
    workloads.until_rolled_out()
    orders.api.patch(orders.secret_path, {"data": {"password": "bXkgb3du"}})
    eventually(lambda: "SecretDriftRepaired" in orders.reasons(), "the Secret is put right", every=EVERY)
    orders.application.put_value(note="put by a person")
    eventually(lambda: workloads.restarts() == [1, 1, 1], "everything restarts", every=EVERY)
    resync(orders, "now")
    assert workloads.restarts() == [1, 1, 1]
    assert "RolloutRestarted" in orders.reasons()


def test_without_the_permission_it_is_told_and_rotations_go_on(
    orders: Applied, operator: OperatorProcess, grant: Grant
) -> None:
    workloads = Workloads(orders)
    orders.apply(workloads.spec).until_ready()
    workloads.until_rolled_out()
    for request in ("one", "two"):
        orders.rotate(request)

    def told() -> bool:
        failures = [event["message"] for event in orders.events() if event["reason"] == "RolloutFailed"]
        return any("rollouts.enabled" in message for message in failures)

    eventually(told, "an Event says so", every=EVERY)
    synced = orders.condition("Synced")
    assert synced["status"] == "True"
    assert f"Deployment {workloads.name}" in synced["message"]
    assert orders.condition("Ready")["status"] == "True"
    assert workloads.restarts() == [0, 0, 0]

    grant()
    resync(orders, "the permission is there")
    last = workloads.until_rolled_out()
    assert workloads.restarts() == [1, 1, 1]
    assert workloads.versions() == {last}
