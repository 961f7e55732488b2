"""Objects: names, versions, generations, status, deletion."""

from __future__ import annotations

import pytest

from sandbox.kubernetes.client import JSON_PATCH, MERGE, Api, StatusError
from tests.support.widgets import Widgets, eventually, gone


def test_created_object_gets_identity(api: Api, namespace: str, widgets: Widgets) -> None:
    made = api.create(widgets.path(namespace), widgets.make("a"))
    meta = made["metadata"]
    assert meta["uid"]
    assert meta["resourceVersion"]
    assert meta["creationTimestamp"].endswith("Z")
    assert meta["generation"] == 1
    assert meta["namespace"] == namespace
    assert api.get(widgets.path(namespace, "a")) == made


def test_name_is_taken_once(api: Api, namespace: str, widgets: Widgets) -> None:
    api.create(widgets.path(namespace), widgets.make("a"))
    with pytest.raises(StatusError, match=f'widgets.{widgets.group} "a" already exists') as refused:
        api.create(widgets.path(namespace), widgets.make("a"))
    assert (refused.value.code, refused.value.reason) == (409, "AlreadyExists")


def test_generated_names_differ(api: Api, namespace: str) -> None:
    body = {"metadata": {"generateName": "made-"}}
    names = {api.create(f"/api/v1/namespaces/{namespace}/configmaps", body)["metadata"]["name"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("made-") and len(name) == 10 for name in names)


@pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "a" * 254])
def test_bad_name_is_refused(api: Api, namespace: str, widgets: Widgets, name: str) -> None:
    with pytest.raises(StatusError) as refused:
        api.create(widgets.path(namespace), widgets.make(name))
    assert (refused.value.code, refused.value.causes[0]["field"]) == (422, "metadata.name")


def test_object_without_name_is_refused(api: Api, namespace: str) -> None:
    with pytest.raises(StatusError, match="name or generateName is required") as refused:
        api.create(f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {}})
    assert refused.value.code == 422


@pytest.mark.parametrize("labels", [{"a b": "c"}, {"a": "c d"}, {"a": "c" * 64}])
def test_bad_label_is_refused(api: Api, namespace: str, widgets: Widgets, labels: dict[str, str]) -> None:
    with pytest.raises(StatusError) as refused:
        api.create(widgets.path(namespace), widgets.make("a", labels=labels))
    assert (refused.value.code, refused.value.causes[0]["field"]) == (422, "metadata.labels")


def test_absent_object_is_told(api: Api, namespace: str, widgets: Widgets) -> None:
    path = widgets.path(namespace, "none")
    for method in ("GET", "DELETE", "PATCH"):
        kind = MERGE if method == "PATCH" else ""
        with pytest.raises(StatusError, match=f'widgets.{widgets.group} "none" not found') as refused:
            api.request(method, path, {} if method == "PATCH" else None, content_type=kind)
        assert (refused.value.code, refused.value.reason) == (404, "NotFound")


def test_unknown_resource_is_told(api: Api) -> None:
    with pytest.raises(StatusError) as refused:
        api.get("/apis/none.example.com/v1/things")
    assert refused.value.code == 404


def test_namespace_must_exist(api: Api, widgets: Widgets) -> None:
    with pytest.raises(StatusError, match='namespaces "absent" not found') as refused:
        api.create(widgets.path("absent"), widgets.make("a"))
    assert refused.value.code == 404


def test_namespace_of_body_must_be_that_of_path(api: Api, namespace: str, widgets: Widgets) -> None:
    with pytest.raises(StatusError) as refused:
        api.create(widgets.path(namespace), widgets.make("a", namespace="default"))
    assert (refused.value.code, refused.value.reason) == (400, "BadRequest")


def test_stale_version_conflicts(api: Api, namespace: str, widgets: Widgets) -> None:
    first = api.create(widgets.path(namespace), widgets.make("a"))
    second = api.replace(widgets.path(namespace, "a"), first | {"spec": {"size": 6}})
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    with pytest.raises(
        StatusError, match="the object has been modified; please apply your changes to the latest version"
    ) as refused:
        api.replace(widgets.path(namespace, "a"), first | {"spec": {"size": 7}})
    assert (refused.value.code, refused.value.reason) == (409, "Conflict")
    with pytest.raises(StatusError) as refused:
        stale = {"metadata": {"resourceVersion": first["metadata"]["resourceVersion"]}, "spec": {"size": 8}}
        api.patch(widgets.path(namespace, "a"), stale)
    assert (refused.value.code, refused.value.reason) == (409, "Conflict")
    assert api.get(widgets.path(namespace, "a"))["spec"]["size"] == 6


def test_custom_resource_is_replaced_only_with_a_version(api: Api, namespace: str, widgets: Widgets) -> None:
    api.create(widgets.path(namespace), widgets.make("a"))
    with pytest.raises(StatusError, match="must be specified for an update") as refused:
        api.replace(widgets.path(namespace, "a"), widgets.make("a"))
    assert refused.value.code == 422


def test_config_map_is_replaced_without_a_version(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    api.create(path, {"metadata": {"name": "a"}, "data": {"k": "1"}})
    assert api.replace(f"{path}/a", {"metadata": {"name": "a"}, "data": {"k": "2"}})["data"] == {"k": "2"}


def test_uid_in_an_update_must_match(api: Api, namespace: str, widgets: Widgets) -> None:
    made = api.create(widgets.path(namespace), widgets.make("a"))
    made["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    with pytest.raises(StatusError, match="Precondition failed: UID in precondition") as refused:
        api.replace(widgets.path(namespace, "a"), made)
    assert refused.value.code == 409


def test_generation_counts_changes_of_spec_alone(api: Api, namespace: str, widgets: Widgets) -> None:
    path = widgets.path(namespace, "a")
    api.create(widgets.path(namespace), widgets.make("a"))
    assert api.patch(path, {"metadata": {"labels": {"a": "b"}}})["metadata"]["generation"] == 1
    assert api.patch(f"{path}/status", {"status": {"phase": "New"}})["metadata"]["generation"] == 1
    assert api.patch(path, {"spec": {"size": 9}})["metadata"]["generation"] == 2
    assert api.patch(path, {"metadata": {"generation": 77}})["metadata"]["generation"] == 2


def test_update_that_changes_nothing_keeps_the_version(api: Api, namespace: str, widgets: Widgets) -> None:
    made = api.create(widgets.path(namespace), widgets.make("a"))
    assert api.patch(widgets.path(namespace, "a"), {"spec": {"size": 5}}) == made


def test_status_is_written_through_its_subresource_alone(api: Api, namespace: str, widgets: Widgets) -> None:
    path = widgets.path(namespace, "a")
    made = api.create(widgets.path(namespace), widgets.make("a") | {"status": {"phase": "New"}})
    assert "status" not in made
    assert "status" not in api.patch(path, {"status": {"phase": "New"}})
    changed = api.patch(
        f"{path}/status", {"status": {"phase": "Done"}, "spec": {"size": 50}, "metadata": {"labels": {"a": "b"}}}
    )
    assert changed["status"] == {"phase": "Done"}
    assert changed["spec"]["size"] == 5
    assert "labels" not in changed["metadata"]
    assert api.patch(path, {"spec": {"size": 6}})["status"] == {"phase": "Done"}
    replaced = api.replace(f"{path}/status", api.get(f"{path}/status") | {"status": {"phase": "New"}})
    assert replaced["status"] == {"phase": "New"}


def test_metadata_that_the_server_keeps_cannot_be_changed(api: Api, namespace: str, widgets: Widgets) -> None:
    made = api.create(widgets.path(namespace), widgets.make("a"))
    changed = api.patch(
        widgets.path(namespace, "a"), {"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z", "labels": {"x": "y"}}}
    )
    assert changed["metadata"]["creationTimestamp"] == made["metadata"]["creationTimestamp"]


def test_finalizer_holds_a_deleted_object(api: Api, namespace: str, widgets: Widgets) -> None:
    path = widgets.path(namespace, "a")
    api.create(widgets.path(namespace), widgets.make("a", finalizers=["example.com/hold"]))
    held = api.delete(path)
    assert held["kind"] == "Widget"
    assert held["metadata"]["deletionTimestamp"]
    assert held["metadata"]["generation"] == 2
    assert api.get(path)["metadata"]["deletionTimestamp"] == held["metadata"]["deletionTimestamp"]
    with pytest.raises(StatusError, match="no new finalizers can be added if the object is being deleted") as refused:
        api.patch(path, {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}})
    assert refused.value.code == 422
    api.patch(path, [{"op": "remove", "path": "/metadata/finalizers"}], JSON_PATCH)
    assert gone(api, path)


def test_deletion_of_an_object_tells_its_uid(api: Api, namespace: str, widgets: Widgets) -> None:
    made = api.create(widgets.path(namespace), widgets.make("a"))
    told = api.delete(widgets.path(namespace, "a"))
    assert (told["kind"], told["status"]) == ("Status", "Success")
    assert told["details"]["uid"] == made["metadata"]["uid"]
    assert gone(api, widgets.path(namespace, "a"))


@pytest.mark.parametrize("precondition", [{"uid": "other"}, {"resourceVersion": "1"}])
def test_deletion_keeps_its_preconditions(
    api: Api, namespace: str, widgets: Widgets, precondition: dict[str, str]
) -> None:
    api.create(widgets.path(namespace), widgets.make("a"))
    with pytest.raises(StatusError) as refused:
        api.delete(widgets.path(namespace, "a"), {"preconditions": precondition})
    assert (refused.value.code, refused.value.reason) == (409, "Conflict")


def test_collection_is_deleted_by_selector(api: Api, namespace: str, widgets: Widgets) -> None:
    for name, color in (("a", "red"), ("b", "red"), ("c", "blue")):
        api.create(widgets.path(namespace), widgets.make(name, labels={"color": color}))
    api.delete(widgets.path(namespace), labelSelector="color=red")
    left = [each["metadata"]["name"] for each in api.get(widgets.path(namespace))["items"]]
    assert left == ["c"]


def test_dry_run_validates_and_stores_nothing(api: Api, namespace: str, widgets: Widgets) -> None:
    made = api.create(widgets.path(namespace), widgets.make("a"), dryRun="All")
    assert made["spec"]["mode"] == "Safe"
    assert gone(api, widgets.path(namespace, "a"))
    with pytest.raises(StatusError):
        api.create(widgets.path(namespace), widgets.make("a", {"size": 0}), dryRun="All")


def test_dependents_go_with_their_owner(api: Api, namespace: str, widgets: Widgets, collected: None) -> None:
    made = api.create(widgets.path(namespace), widgets.make("a"))
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    owner = {"apiVersion": made["apiVersion"], "kind": "Widget", "name": "a", "uid": made["metadata"]["uid"]}
    api.create(secrets, {"metadata": {"name": "owned", "ownerReferences": [owner]}})
    api.create(secrets, {"metadata": {"name": "free"}})
    api.delete(widgets.path(namespace, "a"))
    eventually(lambda: gone(api, f"{secrets}/owned"))
    assert not gone(api, f"{secrets}/free")


def test_orphans_stay_and_lose_their_owner(api: Api, namespace: str, widgets: Widgets, collected: None) -> None:
    made = api.create(widgets.path(namespace), widgets.make("a"))
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    owner = {"apiVersion": made["apiVersion"], "kind": "Widget", "name": "a", "uid": made["metadata"]["uid"]}
    api.create(secrets, {"metadata": {"name": "owned", "ownerReferences": [owner]}})
    api.delete(widgets.path(namespace, "a"), {"propagationPolicy": "Orphan"})
    eventually(lambda: gone(api, widgets.path(namespace, "a")))
    assert "ownerReferences" not in api.get(f"{secrets}/owned")["metadata"]


def test_dependent_of_an_owner_that_never_was_goes(api: Api, namespace: str, widgets: Widgets, collected: None) -> None:
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    owner = {
        "apiVersion": f"{widgets.group}/v1",
        "kind": "Widget",
        "name": "a",
        "uid": "00000000-0000-0000-0000-000000000000",
    }
    api.create(secrets, {"metadata": {"name": "owned", "ownerReferences": [owner]}})
    eventually(lambda: gone(api, f"{secrets}/owned"))


def test_deleted_namespace_takes_its_objects_along(api: Api, widgets: Widgets, collected: None) -> None:
    name = api.create("/api/v1/namespaces", {"metadata": {"generateName": "test-"}})["metadata"]["name"]
    api.create(widgets.path(name), widgets.make("a"))
    api.delete(f"/api/v1/namespaces/{name}")
    eventually(lambda: gone(api, f"/api/v1/namespaces/{name}"))
    assert gone(api, widgets.path(name, "a"))


def test_terminating_namespace_takes_no_new_objects(api: Api, widgets: Widgets) -> None:
    name = api.create("/api/v1/namespaces", {"metadata": {"generateName": "test-"}})["metadata"]["name"]
    api.create(widgets.path(name), widgets.make("a", finalizers=["example.com/hold"]))
    left = api.delete(f"/api/v1/namespaces/{name}")
    assert left["status"]["phase"] == "Terminating"
    with pytest.raises(StatusError, match="because it is being terminated") as refused:
        api.create(widgets.path(name), widgets.make("b"))
    assert (refused.value.code, refused.value.reason) == (403, "Forbidden")
    api.patch(widgets.path(name, "a"), {"metadata": {"finalizers": None}})


def test_custom_object_has_to_name_its_kind(api: Api, namespace: str, widgets: Widgets) -> None:
    body = widgets.make("a")
    del body["kind"]
    with pytest.raises(StatusError, match="Object 'Kind' is missing") as refused:
        api.create(widgets.path(namespace), body)
    assert refused.value.code == 400
