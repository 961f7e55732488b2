"""A namespace that is set aside is told by a log line, a metric and an Event on the Lease."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from rotated_secrets.api.key import Key
from rotated_secrets.controller.namespaces import EVERYWHERE
from rotated_secrets.controller.process.set_aside import SetAsideReports
from rotated_secrets.controller.watch.index import Index
from rotated_secrets.controller.watch.transform import transform
from rotated_secrets.observability.metrics import Metrics
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_operator import SPEC

LEASE = "/apis/coordination.k8s.io/v1/namespaces/here/leases/rotated-secrets"
THERE, ELSEWHERE = Key("team-b", "orders"), Key("team-a", "orders")


class RecordedEvents:
    def __init__(self) -> None:
        self.recorded: list[dict[str, Any]] = []
        self.came = threading.Semaphore(0)

    def record(self, **event: Any) -> None:
        self.recorded.append(event)
        self.came.release()

    def next(self) -> dict[str, Any]:
        assert self.came.acquire(timeout=20)
        return self.recorded[-1]


class Stage:
    def __init__(self) -> None:
        self.cluster, self.events, self.metrics = FakeCluster(), RecordedEvents(), Metrics()
        self.looked: list[Key] = []
        index = Index("eu-west-1")
        for key in (THERE, ELSEWHERE):
            metadata = {"namespace": key.namespace, "name": key.name, "uid": key.namespace, "creationTimestamp": "2026"}
            index.observe(transform({"metadata": metadata, "spec": SPEC}, 100))
            self.metrics.resource(*key, ready=True, last_success=None, next_rotation=None)
        cluster: Any = self.cluster
        events: Any = self.events
        self.report = SetAsideReports(
            cluster,
            events,
            self.metrics,
            index,
            lease_namespace="here",
            lease_name="rotated-secrets",
            look=self.looked.append,
        )

    def metric(self, series: str, /, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"rotatedsecrets_{series}", labels)


def test_it_is_told_by_log_metric_and_event(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.cluster.put(LEASE, {})
    stage.report("team-b", "the API server answered 403: no")
    assert "namespace team-b is set aside, and its 1 RotatedSecrets are not watched: the API server answered 403" in (
        caplog.records[0].getMessage()
    )
    assert caplog.records[0].levelname == "WARNING"
    assert stage.metric("namespace_set_aside", namespace="team-b") == 1
    event = stage.events.next()
    assert (event["namespace"], event["name"], event["reason"]) == ("here", "rotated-secrets", "NamespaceSetAside")
    assert event["uid"] == "uid-of-rotated-secrets"
    assert stage.looked == []


def test_nothing_is_reported_of_its_resources_as_if_it_were_so_still() -> None:
    stage = Stage()
    stage.report("team-b", "403")
    assert stage.metric("ready", namespace="team-b", name="orders") is None
    assert stage.metric("ready", namespace="team-a", name="orders") == 1


def test_what_is_back_is_told_and_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.report("team-b", "403")
    stage.events.next()
    with caplog.at_level("INFO"):
        stage.report("team-b", None)
    assert stage.looked == [THERE]
    assert stage.metric("namespace_set_aside", namespace="team-b") is None
    assert stage.events.next()["reason"] == "NamespaceServed"
    assert "namespace team-b is watched again" in caplog.text


def test_without_a_lease_the_event_is_recorded_all_the_same() -> None:
    stage = Stage()
    stage.report("team-b", "403")
    assert stage.events.next()["uid"] == ""


def test_all_namespaces_come_and_go_together() -> None:
    stage = Stage()
    stage.report(EVERYWHERE, "404")
    assert stage.metric("namespace_set_aside", namespace="") == 1
    stage.report(EVERYWHERE, None)
    assert sorted(stage.looked) == sorted([THERE, ELSEWHERE])
