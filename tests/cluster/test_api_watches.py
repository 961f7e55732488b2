"""Lists and watches: chunks, selectors, where a watch begins, and what it tells."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, cast

import pytest
from kubernetes import client, config, watch

from sandbox.kubernetes.client import Api, Json, StatusError
from sandbox.kubernetes.provider import Cluster
from tests.support.widgets import Widgets


def version(obj: Json) -> str:
    return str(obj["metadata"]["resourceVersion"])


def told(events: Iterator[Json], count: int) -> list[tuple[str, str]]:
    return [(each["type"], each["object"]["metadata"]["name"]) for each in islice(events, count)]


def test_watch_goes_on_from_a_list(api: Api, namespace: str, widgets: Widgets) -> None:
    path = widgets.path(namespace)
    api.create(path, widgets.make("before"))
    start = version(api.get(path))
    api.create(path, widgets.make("a"))
    api.patch(f"{path}/a", {"spec": {"size": 6}})
    api.patch(f"{path}/a/status", {"status": {"phase": "New"}})
    gone = api.delete(f"{path}/a")
    assert gone["status"] == "Success"
    events = list(islice(api.watch(path, resourceVersion=start), 4))
    assert [each["type"] for each in events] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
    versions = [int(version(each["object"])) for each in events]
    assert versions == sorted(set(versions))
    assert events[3]["object"]["status"] == {"phase": "New"}


def test_watch_tells_live_changes(api: Api, namespace: str, widgets: Widgets) -> None:
    path = widgets.path(namespace)
    events = api.watch(path, resourceVersion=version(api.get(path)), allowWatchBookmarks="false")
    api.create(path, widgets.make("a"))
    assert told(events, 1) == [("ADDED", "a")]
    api.delete(f"{path}/a")
    assert told(events, 1) == [("DELETED", "a")]


@pytest.mark.parametrize("start", [{}, {"resourceVersion": "0"}])
def test_watch_without_a_version_begins_with_what_is_there(
    api: Api, namespace: str, widgets: Widgets, start: Json
) -> None:
    path = widgets.path(namespace)
    api.create(path, widgets.make("a"))
    api.create(path, widgets.make("b"))
    api.get(path)  # what a watch at any version may lag behind, a list has made up for
    assert sorted(told(api.watch(path, **start), 2)) == [("ADDED", "a"), ("ADDED", "b")]


def test_watch_from_too_long_ago_is_gone(api: Api, namespace: str, widgets: Widgets) -> None:
    event = next(api.watch(widgets.path(namespace), resourceVersion="1"))
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
    assert "too old resource version: 1 (" in event["object"]["message"]


def test_watch_ends_after_its_time(api: Api, namespace: str, widgets: Widgets) -> None:
    assert list(api.watch(widgets.path(namespace), seconds=1)) == []


def test_streamed_list_ends_with_a_marked_bookmark(api: Api, namespace: str, widgets: Widgets) -> None:
    path = widgets.path(namespace)
    api.create(path, widgets.make("a"))
    asked: Json = {"sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersionMatch": "NotOlderThan"}
    events = api.watch(path, **asked)
    first, second = islice(events, 2)
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "a")
    assert second["type"] == "BOOKMARK"
    assert second["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    api.create(path, widgets.make("b"))
    assert told(events, 1) == [("ADDED", "b")]


def test_streamed_list_must_say_how_old_it_may_be(api: Api, namespace: str, widgets: Widgets) -> None:
    with pytest.raises(StatusError) as refused:
        next(api.watch(widgets.path(namespace), sendInitialEvents="true"))
    assert refused.value.code == 422


def test_object_that_stops_matching_is_deleted_for_the_watcher(api: Api, namespace: str, widgets: Widgets) -> None:
    path = widgets.path(namespace)
    start = version(api.get(path))
    api.create(path, widgets.make("a", labels={"color": "red"}))
    api.create(path, widgets.make("b", labels={"color": "blue"}))
    api.patch(f"{path}/a", {"metadata": {"labels": {"color": "blue"}}})
    api.patch(f"{path}/b", {"metadata": {"labels": {"color": "red"}}})
    events = list(islice(api.watch(path, resourceVersion=start, labelSelector="color=red"), 3))
    assert [(each["type"], each["object"]["metadata"]["name"]) for each in events] == [
        ("ADDED", "a"),
        ("DELETED", "a"),
        ("ADDED", "b"),
    ]
    assert events[1]["object"]["metadata"]["labels"] == {"color": "red"}


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("color=red", "ab"),
        ("color==red,size=big", "b"),
        ("color!=red", "cd"),
        ("color in (red, blue)", "abc"),
        ("color notin (red)", "cd"),
        ("color", "abc"),
        ("!color", "d"),
        ("color in (red,blue),!size", "ac"),
    ],
)
def test_labels_select(api: Api, namespace: str, widgets: Widgets, selector: str, names: str) -> None:
    labels: dict[str, dict[str, str]] = {
        "a": {"color": "red"},
        "b": {"color": "red", "size": "big"},
        "c": {"color": "blue"},
        "d": {},
    }
    for name, each in labels.items():
        api.create(widgets.path(namespace), widgets.make(name, labels=each))
    found = api.get(widgets.path(namespace), labelSelector=selector)["items"]
    assert "".join(each["metadata"]["name"] for each in found) == names


def test_fields_select(api: Api, namespace: str, widgets: Widgets) -> None:
    for name in "ab":
        api.create(widgets.path(namespace), widgets.make(name))
    everywhere = f"/apis/{widgets.group}/v1/widgets"
    found = api.get(everywhere, fieldSelector=f"metadata.name=b,metadata.namespace={namespace}")["items"]
    assert [each["metadata"]["name"] for each in found] == ["b"]
    left = api.get(widgets.path(namespace), fieldSelector="metadata.name!=b")["items"]
    assert [each["metadata"]["name"] for each in left] == ["a"]


def test_unknown_field_cannot_select(api: Api, namespace: str, widgets: Widgets) -> None:
    with pytest.raises(StatusError, match=r"field label not supported: spec\.size") as refused:
        api.get(widgets.path(namespace), fieldSelector="spec.size=5")
    assert refused.value.code == 400


@pytest.mark.parametrize("selector", ["a in (b", "=x", "a b"])
def test_faulty_selector_is_refused(api: Api, namespace: str, widgets: Widgets, selector: str) -> None:
    with pytest.raises(StatusError) as refused:
        api.get(widgets.path(namespace), labelSelector=selector)
    assert refused.value.code == 400


def test_list_comes_in_chunks(api: Api, namespace: str, widgets: Widgets) -> None:
    path = widgets.path(namespace)
    for name in "abcde":
        api.create(path, widgets.make(name))
    first = api.get(path, limit=2)
    assert [each["metadata"]["name"] for each in first["items"]] == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 3
    api.create(path, widgets.make("bb"))
    second = api.get(path, limit=2, **{"continue": first["metadata"]["continue"]})
    assert [each["metadata"]["name"] for each in second["items"]] == ["c", "d"]
    assert version(second) == version(first)
    last = api.get(path, limit=2, **{"continue": second["metadata"]["continue"]})
    assert [each["metadata"]["name"] for each in last["items"]] == ["e"]
    assert not last["metadata"].get("continue")


def test_list_of_metadata(api: Api, namespace: str, widgets: Widgets) -> None:
    made = api.create(widgets.path(namespace), widgets.make("a"))
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    found = api.request("GET", widgets.path(namespace), accept=accept).body
    assert (found["kind"], found["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    assert found["items"][0]["metadata"]["uid"] == made["metadata"]["uid"]
    assert "spec" not in found["items"][0]


def test_list_of_metadata_comes_in_chunks_by_label_and_without_data(api: Api, namespace: str) -> None:
    """Also of Secrets of 1 MiB, which the API server takes."""
    path = f"/api/v1/namespaces/{namespace}/secrets"
    for name in "abc":
        metadata = {"name": name, "labels": {"mine": "yes"}}
        api.create(path, {"metadata": metadata, "stringData": {"x": "y" * ((1 << 20) - 1)}})
    api.create(path, {"metadata": {"name": "other"}})
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    asked: Json = {"limit": 2, "labelSelector": "mine=yes"}
    first = api.request("GET", path, accept=accept, **asked).body
    rest = {"continue": first["metadata"]["continue"]}
    second = api.request("GET", path, accept=accept, **asked, **rest).body
    assert [each["metadata"]["name"] for each in first["items"] + second["items"]] == ["a", "b", "c"]
    assert not second["metadata"].get("continue")
    assert version(second) == version(first)
    assert all("data" not in each for each in first["items"])
    api.patch(f"{path}/a", {"metadata": {"labels": {"mine": None}}})
    accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    asked = {"resourceVersion": version(first), "labelSelector": "mine=yes"}
    event = next(api.watch(path, accept=accept, **asked))
    assert (event["type"], event["object"]["metadata"]["name"], "data" in event["object"]) == ("DELETED", "a", False)


def test_watch_of_metadata(api: Api, namespace: str, widgets: Widgets) -> None:
    api.create(widgets.path(namespace), widgets.make("a"))
    accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    event = next(api.watch(widgets.path(namespace), accept=accept))
    assert event["object"]["kind"] == "PartialObjectMetadata"
    assert "spec" not in event["object"]


def test_table_has_the_columns_of_the_crd(api: Api, namespace: str, widgets: Widgets) -> None:
    api.create(widgets.path(namespace), widgets.make("a"))
    conditions = [{"type": "Synced", "status": "False"}, {"type": "Ready", "status": "True"}]
    status = {"conditions": conditions, "finishedAt": "2020-01-01T00:00:00Z"}
    api.patch(widgets.path(namespace, "a", "status"), {"status": status})
    api.create(widgets.path(namespace), widgets.make("b"))
    table = api.request("GET", widgets.path(namespace), accept="application/json;as=Table;g=meta.k8s.io;v=v1").body
    assert [each["name"] for each in table["columnDefinitions"]] == ["Name", "Ready", "Size", "Finished", "Mode", "Age"]
    assert [each["priority"] for each in table["columnDefinitions"]] == [0, 0, 0, 0, 1, 0]
    first, second = (row["cells"] for row in table["rows"])
    assert first[:3] == ["a", "True", 5]
    assert first[3].endswith("d") or "y" in first[3]
    assert first[5].endswith("s")
    assert second[:4] == ["b", None, 5, None]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


def test_python_client_watches_and_resumes(cluster: Cluster, api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    start = version(api.get(path))
    api.create(path, {"metadata": {"name": "other"}})
    api.create(path, {"metadata": {"name": "a", "labels": {"mine": "yes"}}})
    api.patch(f"{path}/a", {"data": {"k": "v"}})
    api.delete(f"{path}/a")
    seen = []
    connect: Any = config.new_client_from_config
    with connect(str(cluster.kubeconfig)) as connected:
        core, stream = client.CoreV1Api(connected), cast(Any, watch.Watch)()
        asked = {"label_selector": "mine=yes", "resource_version": start, "timeout_seconds": 10}
        for event in stream.stream(core.list_namespaced_config_map, namespace, **asked):
            seen.append((event["type"], event["object"].metadata.name))
            if len(seen) == 3:
                stream.stop()
    assert seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
