"""Reading and writing RotatedSecrets at a real API, and telling people by Events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rotated_secrets import cluster as connection
from rotated_secrets import cluster_access
from rotated_secrets.api.key import Key
from rotated_secrets.api.names import API_VERSION, KIND
from rotated_secrets.cluster import Conflict, NotFound
from rotated_secrets.controller.process.startup import fill_index
from rotated_secrets.controller.watch.handlers import Handlers
from rotated_secrets.controller.watch.index import Index
from rotated_secrets.controller.watch.resources import Resources
from rotated_secrets.controller.watch.resync import reconcile_index
from rotated_secrets.observability.event_reasons import EventReason
from rotated_secrets.observability.events import Events
from sandbox.kubernetes.provider import Cluster
from tests.integration.controller.conftest import Objects

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@pytest.fixture
def ours(cluster: Cluster) -> Iterator[connection.Cluster]:
    found = cluster_access.configuration(cluster.kubeconfig, None)
    connected = connection.Cluster(found, timeout=10, connections=4, retries=0)
    yield connected
    connected.close()


@pytest.fixture
def resources(ours: connection.Cluster, objects: Objects) -> Resources:
    return Resources(ours, [objects.namespace])


def test_a_rotated_secret_is_read_whole_or_not_at_all(resources: Resources, objects: Objects) -> None:
    made = objects.make("orders")
    found = resources.read(Key(objects.namespace, "orders"))
    assert found is not None
    assert (found.uid, found.spec.source.secret_id) == (made["metadata"]["uid"], f"{objects.namespace}/orders")
    assert resources.read(Key(objects.namespace, "no-such")) is None


def test_a_status_is_merged_into_the_one_that_was_read(resources: Resources, objects: Objects) -> None:
    objects.make("orders")
    found = resources.read(Key(objects.namespace, "orders"))
    assert found is not None
    first = resources.write_status(found, {"engine": "postgres", "activeUser": "orders"})
    second = resources.write_status(first, {"activeUser": None})
    assert second.status.engine == "postgres"
    assert objects.read("orders")["status"]["engine"] == "postgres"
    assert "activeUser" not in objects.read("orders")["status"]


def test_a_status_is_not_written_over_a_change_that_was_not_seen(resources: Resources, objects: Objects) -> None:
    objects.make("orders")
    found = resources.read(Key(objects.namespace, "orders"))
    assert found is not None
    objects.patch("orders", {"metadata": {"annotations": {"someone": "was here"}}})
    with pytest.raises(Conflict):
        resources.write_status(found, {"engine": "postgres"})
    assert "engine" not in objects.read("orders").get("status", {})


def test_a_status_is_not_written_to_another_object_of_the_same_name(resources: Resources, objects: Objects) -> None:
    objects.make("orders")
    found = resources.read(Key(objects.namespace, "orders"))
    assert found is not None
    objects.delete("orders")
    with pytest.raises(NotFound):
        resources.write_status(found, {"engine": "postgres"})
    objects.make("orders")
    with pytest.raises(Conflict):
        resources.write_status(found, {"engine": "postgres"})


def test_a_write_is_unseen_until_the_watch_delivers_something(resources: Resources, objects: Objects) -> None:
    objects.make("orders")
    found = resources.read(Key(objects.namespace, "orders"))
    assert found is not None
    written = resources.write_status(found, {"engine": "postgres"})
    assert resources.unseen_write_age() > 0
    resources.watch_delivered()
    assert resources.unseen_write_age() == 0
    resources.write_status(written, {"engine": "postgres"})
    assert resources.unseen_write_age() == 0, "a write that changes nothing is not watched for"


def test_a_write_that_the_watch_delivers_before_its_answer_is_seen(
    resources: Resources, ours: connection.Cluster, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.make("orders")
    found = resources.read(Key(objects.namespace, "orders"))
    assert found is not None
    request = ours.request

    def delivered_first(*arguments: Any, **options: Any) -> Any:
        answer = request(*arguments, **options)
        resources.watch_delivered()
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(ours, "request", delivered_first)
        written = resources.write_status(found, {"engine": "postgres"})
    assert resources.unseen_write_age() == 0
    resources.write_status(written, {"engine": "postgresql"})
    assert resources.unseen_write_age() > 0


def test_the_list_comes_in_chunks_and_is_complete(
    resources: Resources, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CHUNK", 3)
    names = {objects.make(f"rs-{n}")["metadata"]["name"] for n in range(7)}
    pages = list(resources.metadata_pages(objects.namespace))
    assert [len(page) for page in pages] == [3, 3, 1]
    assert {each["metadata"]["name"] for page in pages for each in page} == names


class Watched:
    """A registry as a watch would keep it, and what it asked to look at."""

    def __init__(self) -> None:
        self.registry = Index("eu-west-1")
        self.looked: list[Key] = []
        self.gone: list[Key] = []
        self.handlers = Handlers(
            self.registry,
            look=self.looked.append,
            look_again=self.looked.append,
            gone=self.gone.append,
            delivered=lambda: None,
        )


def test_the_first_list_makes_everything_known_and_looked_at(resources: Resources, objects: Objects) -> None:
    objects.make("one")
    objects.make("two")
    watched = Watched()
    assert fill_index(resources, watched.handlers) == 2
    assert sorted(watched.looked) == [Key(objects.namespace, "one"), Key(objects.namespace, "two")]
    assert set(watched.registry.uids()) == set(watched.looked)


def test_a_resync_drops_ghosts_and_takes_in_what_the_watch_has_missed(resources: Resources, objects: Objects) -> None:
    for name in ("ghost", "recreated", "well"):
        objects.make(name)
    watched = Watched()
    fill_index(resources, watched.handlers)
    objects.delete("ghost")
    objects.delete("recreated")
    objects.make("recreated")
    objects.make("missed")
    watched.looked.clear()

    listed = reconcile_index(resources, watched.registry, watched.handlers)

    there = {Key(objects.namespace, name) for name in ("recreated", "well", "missed")}
    assert set(listed) == there
    assert set(watched.registry.uids()) == there
    assert watched.registry.uid(Key(objects.namespace, "recreated")) == objects.read("recreated")["metadata"]["uid"]
    assert Key(objects.namespace, "ghost") in watched.gone
    assert Key(objects.namespace, "well") not in watched.looked
    assert {Key(objects.namespace, "ghost"), Key(objects.namespace, "missed")} <= set(watched.looked)


def test_kubectl_describe_shows_events_and_how_often_they_came(
    ours: connection.Cluster, objects: Objects, cluster: Cluster
) -> None:
    made = objects.make("orders")["metadata"]
    events = Events(ours, api_version=API_VERSION, kind=KIND, instance="replica-1")

    def record(reason: EventReason, message: str) -> None:
        events.record(
            namespace=objects.namespace,
            name="orders",
            uid=made["uid"],
            resource_version=made["resourceVersion"],
            reason=reason,
            message=message,
        )

    record(EventReason.ROTATION_STARTED, "createSecret: version 1")
    for _ in range(3):
        record(EventReason.ROTATION_HELD, "held: the target Secret is not synced")
    events.flush(10)

    (told,) = [each for each in objects.events() if each["reason"] == "RotationHeld"]
    assert (told["count"], told["type"]) == (3, "Warning")
    described = cluster.kubectl("describe", "rsec", "orders", "-n", objects.namespace).stdout
    section = described.partition("Events:")[2]
    assert "RotationStarted" in section
    assert "createSecret: version 1" in section
    assert "(x3 over" in section
