"""The first contact with the cluster: what is missing is named, with what to do, and not waited for without end."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rotated_secrets.cells import CellFailed
from rotated_secrets.cells.limits import MIB
from rotated_secrets.cluster import ClusterError, Forbidden, NotFound, Unreachable
from rotated_secrets.controller.process import startup
from rotated_secrets.controller.process.startup import (
    NotUsable,
    check_lease_namespace,
    check_memory,
    first_contact,
    start_cells,
    wait_until_usable,
)
from rotated_secrets.controller.settings import InvalidSettings, Settings
from tests.support.fake_cluster import FakeCluster

ADVICE = ("apply crds/rotatedsecrets.yaml", "grant it to the operator's ServiceAccount", "no answer in time")


NEEDED = ("resources", "leader", "journal")


def contact(*answers: ClusterError | None, timeout: float = 0.0, asks: str = "resources") -> int:
    """Returns how often the cluster was asked before it was usable, for one of the things that are needed of it."""
    left, asked = list(answers), []

    def check_access() -> None:
        asked.append(1)
        answer = left.pop(0)
        if answer is not None:
            raise answer

    parts: dict[str, Any] = {each: SimpleNamespace(check_access=lambda: None) for each in NEEDED}
    parts[asks] = SimpleNamespace(check_access=check_access)
    asyncio.run(wait_until_usable(parts["resources"], parts["leader"], parts["journal"], timeout))
    return len(asked)


@pytest.mark.parametrize("asks", NEEDED)
def test_usable_cluster_is_asked_once(asks: str) -> None:
    assert contact(None, asks=asks) == 1


@pytest.mark.parametrize("asks", NEEDED)
def test_permission_that_is_missing_for_any_of_them_is_told(asks: str) -> None:
    with pytest.raises(NotUsable, match=ADVICE[1]):
        contact(Forbidden("GET /x", 403), asks=asks)


@pytest.mark.parametrize(
    ("missing", "advice"),
    [
        (NotFound("GET /x", 404), ADVICE[0]),
        (Forbidden("GET /x", 403), ADVICE[1]),
        (Unreachable("GET /x: no answer in time"), ADVICE[2]),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(missing: ClusterError, advice: str) -> None:
    with pytest.raises(NotUsable, match=advice) as caught:
        contact(missing)
    assert [each for each in ADVICE if each in str(caught.value)] == [advice]


def test_what_comes_in_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "PAUSE", 0.0)
    assert contact(Unreachable("not yet"), NotFound("GET /x", 404), None, timeout=60.0) == 3


@pytest.mark.parametrize(
    ("limit", "warns"), [(str(512 * MIB), False), (str(300 * MIB), True), ("max", False), (None, False)]
)
def test_a_memory_limit_that_cells_could_exceed_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, limit: str | None, warns: bool
) -> None:
    file = tmp_path / "memory.max"
    if limit is not None:
        file.write_text(limit)
    check_memory(160 * MIB, file)
    assert ("raise the limit, or lower --cells-memory" in caplog.text) is warns


def test_an_operator_that_cannot_confine_database_clients_does_not_start() -> None:
    class Refusing:
        def start(self) -> int:
            raise CellFailed("cannot start: the operator's helper process did not start", "closed")

    refusing: Any = Refusing()
    with pytest.raises(NotUsable, match="a process for database clients cannot start"):
        start_cells(refusing)


class Parts:
    """What the first contact needs, each of which can be made to wait for another or to fail."""

    def __init__(self) -> None:
        self.cells_asked, self.cluster_asked = threading.Event(), threading.Event()
        self.cells_error: CellFailed | None = None
        self.cluster_error: ClusterError | None = None
        self.listed: list[Any] = []

    def start(self) -> int:
        self.cells_asked.set()
        if self.cells_error is not None:
            raise self.cells_error
        assert self.cluster_asked.wait(20), "the cluster is asked before cells have started"
        return 7

    def check_access(self) -> None:
        self.cluster_asked.set()
        if self.cluster_error is not None:
            raise self.cluster_error
        assert self.cells_asked.wait(20), "cells are started before the cluster is usable"

    def pages(self) -> list[list[str]]:
        return [["orders"], ["bills", "stock"]]

    def rotated_secret(self, kind: None, obj: str) -> None:
        self.listed.append(obj)

    def contact(self, timeout: float = 0.0) -> int:
        part: Any = self
        return asyncio.run(first_contact(part, part, part, part, part, timeout))


def test_cells_are_started_while_the_cluster_is_asked() -> None:
    parts = Parts()
    assert parts.contact() == 3
    assert parts.listed == ["orders", "bills", "stock"]


def test_cells_that_do_not_start_are_told_without_waiting_for_the_cluster() -> None:
    parts = Parts()
    parts.cells_error = CellFailed("cannot start: no", "closed")
    parts.cluster_error = Unreachable("not yet")
    with pytest.raises(NotUsable, match="a process for database clients cannot start"):
        parts.contact(timeout=600)


def test_a_cluster_that_stays_unusable_is_told_though_cells_have_started() -> None:
    parts = Parts()
    parts.cluster_error = Forbidden("GET /x", 403)
    with pytest.raises(NotUsable, match=ADVICE[1]):
        parts.contact()
    assert parts.listed == []


@pytest.mark.parametrize(("version", "told"), [(7, "confined by Landlock 7"), (0, "this kernel has no Landlock")])
def test_the_log_says_how_database_clients_are_confined(
    caplog: pytest.LogCaptureFixture, version: int, told: str
) -> None:
    class Started:
        def start(self) -> int:
            return version

    started: Any = Started()
    with caplog.at_level("INFO"):
        start_cells(started)
    assert told in caplog.text


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    """The cluster of a kubeconfig, for a process that does not run in a pod."""
    cluster = FakeCluster()
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(startup, "configuration", lambda *_: SimpleNamespace(host="https://api.example.com"))
    monkeypatch.setattr(startup, "Cluster", lambda *_, **__: cluster)
    return cluster


OURS = {"app.kubernetes.io/managed-by": "rotated-secrets"}


def lease_of(cluster: FakeCluster, namespace: str, holder: str, labels: dict[str, str]) -> None:
    spec = {"holderIdentity": holder, "renewTime": "2026-11-22T12:00:00.000000Z"}
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/rotated-secrets"
    cluster.put(path, {"metadata": {"labels": labels}, "spec": spec})


def refused() -> str:
    with pytest.raises(InvalidSettings) as caught:
        check_lease_namespace(Settings.parse({}))
    return str(caught.value)


def test_outside_of_a_pod_the_namespace_of_the_lease_is_not_guessed_and_who_leads_is_told(
    elsewhere: FakeCluster,
) -> None:
    lease_of(elsewhere, "operators", "rotated-secrets-7d-x_1", OURS)
    lease_of(elsewhere, "stopped", "", OURS)
    lease_of(elsewhere, "kube-system", "kube-scheduler", {})
    told = refused()
    assert told.startswith("--lease-namespace: outside of a pod, write the namespace of the Lease")
    assert "the cluster at https://api.example.com" in told
    leaders = "rotated-secrets-7d-x_1 (its Lease: --lease-namespace operators --lease-name rotated-secrets; "
    assert told.endswith(f"there leads now: {leaders}last renewed at 2026-11-22T12:00:00.000000Z)")


def test_outside_of_a_pod_it_is_told_where_no_operator_leads_or_that_cannot_be_known(elsewhere: FakeCluster) -> None:
    assert refused().endswith("no operator was found leading there")
    elsewhere.forbidden.add(("GET", "/apis/coordination.k8s.io"))
    assert "who leads there could not be found out: GET /apis/coordination.k8s.io/v1/leases: " in refused()


def test_a_namespace_of_the_lease_that_is_written_asks_nothing(elsewhere: FakeCluster) -> None:
    check_lease_namespace(Settings.parse({"lease_namespace": "operators"}))
    assert elsewhere.requests == []
