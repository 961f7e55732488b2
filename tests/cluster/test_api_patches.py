"""Patches: merge, JSON, strategic merge, and server-side apply with its owners of fields."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.kubernetes.client import APPLY, JSON_PATCH, STRATEGIC, Api, Json, StatusError
from tests.support.widgets import Widgets


def apply(api: Api, path: str, body: Json, manager: str, **query: Any) -> Json:
    return api.patch(path, body, APPLY, fieldManager=manager, **query)


def owners(obj: Json) -> set[tuple[str, str]]:
    return {(each["manager"], each["operation"]) for each in obj["metadata"].get("managedFields", ())}


def test_merge_patch_changes_removes_and_replaces_lists(api: Api, namespace: str, widgets: Widgets) -> None:
    spec = {"code": "abc", "ports": [{"name": "a", "port": 1}], "tags": {"k": "v", "l": "w"}}
    api.create(widgets.path(namespace), widgets.make("a", spec))
    patch = {"spec": {"code": None, "ports": [{"name": "b"}], "tags": {"k": None, "m": "x"}}}
    found = api.patch(widgets.path(namespace, "a"), patch)["spec"]
    assert "code" not in found
    assert found["ports"] == [{"name": "b"}]
    assert found["tags"] == {"l": "w", "m": "x"}


def test_json_patch_applies_its_operations_in_order(api: Api, namespace: str, widgets: Widgets) -> None:
    api.create(widgets.path(namespace), widgets.make("a", {"code": "abc"}, annotations={"example.com/a": "1"}))
    operations = [
        {"op": "test", "path": "/spec/code", "value": "abc"},
        {"op": "replace", "path": "/spec/size", "value": 7},
        {"op": "remove", "path": "/metadata/annotations/example.com~1a"},
        {"op": "add", "path": "/spec/tags", "value": {"k": "v"}},
    ]
    found = api.patch(widgets.path(namespace, "a"), operations, JSON_PATCH)
    assert (found["spec"]["size"], found["spec"]["tags"]) == (7, {"k": "v"})
    assert "annotations" not in found["metadata"]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/spec/size", "value": 6},
        {"op": "remove", "path": "/spec/none"},
        {"op": "replace", "path": "/none/x", "value": 1},
    ],
)
def test_json_patch_that_does_not_fit_is_refused(api: Api, namespace: str, widgets: Widgets, operation: Json) -> None:
    api.create(widgets.path(namespace), widgets.make("a"))
    with pytest.raises(StatusError) as refused:
        api.patch(widgets.path(namespace, "a"), [operation], JSON_PATCH)
    assert (refused.value.code, refused.value.reason) == (422, "Invalid")


def test_custom_resources_take_no_strategic_patch(api: Api, namespace: str, widgets: Widgets) -> None:
    api.create(widgets.path(namespace), widgets.make("a"))
    with pytest.raises(StatusError) as refused:
        api.patch(widgets.path(namespace, "a"), {"spec": {"size": 6}}, STRATEGIC)
    assert (refused.value.code, refused.value.reason) == (415, "UnsupportedMediaType")


def test_strategic_patch_merges_lists_by_key(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    containers = [{"name": "a", "image": "one", "args": ["x"]}, {"name": "b", "image": "two"}]
    api.create(path, {"metadata": {"name": "p", "finalizers": ["example.com/a"]}, "spec": {"containers": containers}})
    patch = {
        "metadata": {"finalizers": ["example.com/b"], "labels": {"k": "v"}},
        "spec": {"containers": [{"name": "b", "image": "three"}]},
    }
    found = api.patch(f"{path}/p", patch, STRATEGIC)
    assert {each["name"]: each["image"] for each in found["spec"]["containers"]} == {"a": "one", "b": "three"}
    assert sorted(found["metadata"]["finalizers"]) == ["example.com/a", "example.com/b"]
    removed = api.patch(
        f"{path}/p",
        {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/a", "example.com/b"]}},
        STRATEGIC,
    )
    assert "finalizers" not in removed["metadata"]


def test_strategic_patch_of_a_map_removes_nulls(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    api.create(path, {"metadata": {"name": "a"}, "data": {"k": "1", "l": "2"}})
    assert api.patch(f"{path}/a", {"data": {"k": None, "m": "3"}}, STRATEGIC)["data"] == {"l": "2", "m": "3"}


def test_patch_cannot_rename(api: Api, namespace: str, widgets: Widgets) -> None:
    api.create(widgets.path(namespace), widgets.make("a"))
    with pytest.raises(StatusError) as refused:
        api.patch(widgets.path(namespace, "a"), {"metadata": {"name": "b"}})
    assert refused.value.code in (400, 422)


def test_apply_creates_and_then_owns(api: Api, namespace: str, widgets: Widgets) -> None:
    path = widgets.path(namespace, "a")
    answer = api.request("PATCH", path, widgets.make("a", {"tags": {"k": "v"}}), content_type=APPLY, fieldManager="one")
    assert answer.code == 201
    assert owners(answer.body) == {("one", "Apply")}
    fields = answer.body["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]
    assert "f:k" in fields["f:tags"]
    assert "f:mode" not in fields
    again = api.request("PATCH", path, widgets.make("a", {"tags": {"k": "w"}}), content_type=APPLY, fieldManager="one")
    assert (again.code, again.body["spec"]["tags"]) == (200, {"k": "w"})


def test_apply_needs_to_know_who(api: Api, namespace: str, widgets: Widgets) -> None:
    with pytest.raises(StatusError, match="is required for apply patch") as refused:
        api.patch(widgets.path(namespace, "a"), widgets.make("a"), APPLY)
    assert refused.value.code == 422


def test_apply_removes_what_its_owner_no_longer_says(api: Api, namespace: str, widgets: Widgets) -> None:
    path = widgets.path(namespace, "a")
    apply(api, path, widgets.make("a", {"code": "abc", "tags": {"k": "v", "l": "w"}}), "one")
    api.patch(path, {"spec": {"origin": "here"}}, fieldManager="two")
    found = apply(api, path, widgets.make("a", {"tags": {"l": "w"}}), "one")["spec"]
    assert found["tags"] == {"l": "w"}
    assert "code" not in found
    assert found["origin"] == "here"


def test_apply_conflicts_with_another_owner_unless_forced(api: Api, namespace: str, widgets: Widgets) -> None:
    path = widgets.path(namespace, "a")
    apply(api, path, widgets.make("a", {"code": "abc"}), "one")
    with pytest.raises(StatusError, match='conflict with "one"') as refused:
        apply(api, path, widgets.make("a", {"code": "xyz"}), "two")
    assert (refused.value.code, refused.value.reason) == (409, "Conflict")
    assert refused.value.causes == [
        {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".spec.code"}
    ]
    forced = apply(api, path, widgets.make("a", {"code": "xyz"}), "two", force="true")
    assert forced["spec"]["code"] == "xyz"
    with pytest.raises(StatusError, match='conflict with "two"'):
        apply(api, path, widgets.make("a", {"code": "abc"}), "one")


def test_owners_of_the_same_value_share_it(api: Api, namespace: str, widgets: Widgets) -> None:
    path = widgets.path(namespace, "a")
    apply(api, path, widgets.make("a", {"code": "abc"}), "one")
    assert owners(apply(api, path, widgets.make("a", {"code": "abc"}), "two")) == {("one", "Apply"), ("two", "Apply")}
    assert apply(api, path, widgets.make("a"), "one")["spec"]["code"] == "abc"
    assert "code" not in apply(api, path, widgets.make("a"), "two")["spec"]


def test_apply_conflicts_with_an_update(api: Api, namespace: str, widgets: Widgets) -> None:
    path = widgets.path(namespace, "a")
    apply(api, path, widgets.make("a", {"code": "abc"}), "one")
    api.patch(path, {"spec": {"code": "xyz"}}, fieldManager="editor")
    with pytest.raises(StatusError, match='conflict with "editor"'):
        apply(api, path, widgets.make("a", {"code": "abc"}), "one")


def test_apply_merges_lists_that_are_maps(api: Api, namespace: str, widgets: Widgets) -> None:
    path = widgets.path(namespace, "a")
    apply(api, path, widgets.make("a", {"ports": [{"name": "a", "port": 1}]}), "one")
    found = apply(api, path, widgets.make("a", {"ports": [{"name": "b", "port": 2}]}), "two")["spec"]
    assert found["ports"] == [{"name": "a", "port": 1}, {"name": "b", "port": 2}]
    assert apply(api, path, widgets.make("a"), "one")["spec"]["ports"] == [{"name": "b", "port": 2}]


def test_apply_of_status_keeps_other_owners_conditions(api: Api, namespace: str, widgets: Widgets) -> None:
    path = widgets.path(namespace, "a", "status")
    api.create(widgets.path(namespace), widgets.make("a"))

    def status(kind: str) -> Json:
        body = widgets.make("a")
        del body["spec"]
        return body | {"status": {"conditions": [{"type": kind, "status": "True"}]}}

    apply(api, path, status("Ready"), "one")
    found = apply(api, path, status("Synced"), "two")
    assert {each["type"] for each in found["status"]["conditions"]} == {"Ready", "Synced"}


def test_applied_values_are_validated(api: Api, namespace: str, widgets: Widgets) -> None:
    with pytest.raises(StatusError) as refused:
        apply(api, widgets.path(namespace, "a"), widgets.make("a", {"size": 0}), "one")
    assert (refused.value.code, refused.value.reason) == (422, "Invalid")


def test_applied_secret_is_owned_by_key(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets/a"
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}
    apply(api, path, {**body, "data": {"one": "MQ==", "two": "Mg=="}}, "operator")
    api.patch(path, {"data": {"mine": "Mw=="}}, fieldManager="person")
    assert apply(api, path, {**body, "data": {"one": "MQ=="}}, "operator")["data"] == {"one": "MQ==", "mine": "Mw=="}


def test_writes_leave_their_writer_in_managed_fields(api: Api, namespace: str, widgets: Widgets) -> None:
    made = api.create(widgets.path(namespace), widgets.make("a"), fieldManager="maker")
    assert owners(made) == {("maker", "Update")}
    found = api.patch(widgets.path(namespace, "a", "status"), {"status": {"phase": "New"}}, fieldManager="teller")
    told = [each for each in found["metadata"]["managedFields"] if each["manager"] == "teller"]
    assert told[0]["subresource"] == "status"
    assert "f:phase" in told[0]["fieldsV1"]["f:status"]
