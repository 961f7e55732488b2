"""Built-in kinds as far as an operator and its tests use them: Secrets, Events, Leases, tokens, discovery."""

from __future__ import annotations

import base64

import pytest

from sandbox.kubernetes.client import Api, Json, StatusError
from sandbox.kubernetes.provider import Cluster
from tests.support.widgets import Widgets, published


def secrets(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/secrets" + (f"/{name}" if name else "")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_string_data_becomes_data(api: Api, namespace: str) -> None:
    body: Json = {"metadata": {"name": "a"}, "data": {"k": encoded("1"), "l": encoded("2")}, "stringData": {"k": "3"}}
    made = api.create(secrets(namespace), body)
    assert made["data"] == {"k": encoded("3"), "l": encoded("2")}
    assert "stringData" not in made
    assert made["type"] == "Opaque"
    assert api.patch(secrets(namespace, "a"), {"stringData": {"m": "4"}})["data"]["m"] == encoded("4")


def test_type_of_a_secret_stays(api: Api, namespace: str) -> None:
    api.create(secrets(namespace), {"metadata": {"name": "a"}})
    with pytest.raises(StatusError, match="field is immutable") as refused:
        api.patch(secrets(namespace, "a"), {"type": "example.com/other"})
    assert (refused.value.code, refused.value.causes[0]["field"]) == (422, "type")


def test_immutable_secret_keeps_its_data(api: Api, namespace: str) -> None:
    api.create(secrets(namespace), {"metadata": {"name": "a"}, "immutable": True, "stringData": {"k": "v"}})
    for patch, field in (({"stringData": {"k": "w"}}, "data"), ({"immutable": None}, "immutable")):
        with pytest.raises(StatusError, match="field is immutable when `immutable` is set") as refused:
            api.patch(secrets(namespace, "a"), patch)
        assert (refused.value.code, refused.value.causes[0]["field"]) == (422, field)
    assert api.patch(secrets(namespace, "a"), {"metadata": {"labels": {"k": "v"}}})["metadata"]["labels"] == {"k": "v"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"type": "kubernetes.io/tls"}, "data[tls.crt]"),
        ({"type": "kubernetes.io/basic-auth"}, "data[username]"),
        ({"type": "kubernetes.io/ssh-auth"}, "data[ssh-privatekey]"),
        ({"type": "kubernetes.io/dockerconfigjson"}, "data[.dockerconfigjson]"),
        (
            {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "no json"}},
            "data[.dockerconfigjson]",
        ),
        ({"type": "kubernetes.io/service-account-token"}, "metadata.annotations[kubernetes.io/service-account.name]"),
        ({"stringData": {"a b": "c"}}, "data[a b]"),
    ],
)
def test_faulty_secret_is_refused(api: Api, namespace: str, body: Json, field: str) -> None:
    with pytest.raises(StatusError) as refused:
        api.create(secrets(namespace), {"metadata": {"name": "a"}, **body})
    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    assert refused.value.causes[0]["field"] == field


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"data": {"k": "not base64!"}}, "illegal base64 data"),
        ({"stringData": {"k": 1}}, "json: cannot unmarshal number"),
        ({"data": ["k"]}, "json: cannot unmarshal array"),
    ],
)
def test_unreadable_secret_is_refused(api: Api, namespace: str, body: Json, message: str) -> None:
    with pytest.raises(StatusError, match=message) as refused:
        api.create(secrets(namespace), {"metadata": {"name": "a"}, **body})
    assert (refused.value.code, refused.value.reason) == (400, "BadRequest")


def test_secrets_are_selected_by_type(api: Api, namespace: str) -> None:
    api.create(secrets(namespace), {"metadata": {"name": "a"}, "type": "example.com/mine"})
    api.create(secrets(namespace), {"metadata": {"name": "b"}})
    found = api.get(secrets(namespace), fieldSelector="type=example.com/mine")["items"]
    assert [each["metadata"]["name"] for each in found] == ["a"]


def test_immutable_config_map_keeps_its_data(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    api.create(path, {"metadata": {"name": "a"}, "immutable": True, "data": {"k": "v"}})
    with pytest.raises(StatusError, match="field is immutable when `immutable` is set"):
        api.patch(f"{path}/a", {"data": {"k": "w"}})


def event(name: str, namespace: str, about: str) -> Json:
    involved = {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "name": about,
        "namespace": namespace,
        "uid": f"uid-{about}",
    }
    told = {"reason": "Happened", "message": "it did", "type": "Normal", "count": 1}
    times = {"firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": {"name": name}, "involvedObject": involved, "source": {"component": "tests"}, **told, **times}


def test_events_are_selected_by_what_they_are_about(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/events"
    for name, about in (("one", "a"), ("two", "b")):
        api.create(path, event(name, namespace, about))
    for selector in (
        "involvedObject.name=b",
        "involvedObject.uid=uid-b,involvedObject.kind=Widget",
        "metadata.name=two,type=Normal",
    ):
        assert [each["metadata"]["name"] for each in api.get(path, fieldSelector=selector)["items"]] == ["two"]


def test_event_must_lie_where_its_object_is(api: Api, namespace: str) -> None:
    with pytest.raises(StatusError, match=r"does not match event\.namespace") as refused:
        api.create(f"/api/v1/namespaces/{namespace}/events", event("one", "elsewhere", "a"))
    assert refused.value.code == 422


def test_both_kinds_of_events_are_the_same_objects(api: Api, namespace: str) -> None:
    new = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    about = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "a", "namespace": namespace}
    told = {"reason": "Happened", "note": "it did", "type": "Warning", "action": "Doing"}
    who = {
        "reportingController": "example.com/tests",
        "reportingInstance": "one",
        "eventTime": "2026-01-01T00:00:00.000000Z",
    }
    api.create(new, {"metadata": {"name": "one"}, "regarding": about, **told, **who})
    old = api.get(f"/api/v1/namespaces/{namespace}/events/one")
    assert (old["apiVersion"], old["message"], old["reportingComponent"]) == ("v1", "it did", "example.com/tests")
    assert old["involvedObject"]["name"] == "a"
    series = {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:05.000000Z"}}
    assert api.patch(f"{new}/one", series)["series"]["count"] == 2
    assert api.get(new)["items"][0]["note"] == "it did"


def test_new_kind_of_event_asks_for_more(api: Api, namespace: str) -> None:
    about = {"kind": "Widget", "name": "a", "namespace": namespace}
    with pytest.raises(StatusError) as refused:
        api.create(
            f"/apis/events.k8s.io/v1/namespaces/{namespace}/events", {"metadata": {"name": "one"}, "regarding": about}
        )
    assert {each["field"] for each in refused.value.causes} == {"eventTime", "type"}


def test_lease_changes_hands_only_with_its_version(api: Api, namespace: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    spec = {"holderIdentity": "one", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"}
    made = api.create(path, {"metadata": {"name": "lead"}, "spec": spec})
    taken = api.replace(f"{path}/lead", made | {"spec": spec | {"holderIdentity": "two", "leaseTransitions": 1}})
    assert taken["spec"]["holderIdentity"] == "two"
    with pytest.raises(StatusError) as refused:
        api.replace(f"{path}/lead", made | {"spec": spec | {"holderIdentity": "three"}})
    assert refused.value.code == 409
    with pytest.raises(StatusError, match="must be specified for an update"):
        api.replace(f"{path}/lead", {"metadata": {"name": "lead"}, "spec": spec})


@pytest.mark.parametrize(
    ("spec", "code"),
    [({"leaseDurationSeconds": 0}, 422), ({"renewTime": "2026-01-01T00:00:00Z"}, 400), ({"holderIdentity": 1}, 400)],
)
def test_faulty_lease_is_refused(api: Api, namespace: str, spec: Json, code: int) -> None:
    with pytest.raises(StatusError) as refused:
        api.create(
            f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases", {"metadata": {"name": "lead"}, "spec": spec}
        )
    assert refused.value.code == code


def test_namespace_is_labelled_with_its_name(api: Api, namespace: str) -> None:
    found = api.get(f"/api/v1/namespaces/{namespace}")
    assert found["metadata"]["labels"]["kubernetes.io/metadata.name"] == namespace
    assert found["status"]["phase"] == "Active"


def test_pod_waits_for_a_node(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    api.create(path, {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "b"}]}})
    assert api.get(path, fieldSelector="status.phase=Pending")["items"][0]["metadata"]["name"] == "a"
    assert api.patch(f"{path}/a/status", {"status": {"phase": "Running"}})["status"]["phase"] == "Running"
    api.delete(f"{path}/a", {"gracePeriodSeconds": 0})
    assert api.get(path)["items"] == []


def test_access_is_reviewed(api: Api) -> None:
    wanted = {"spec": {"resourceAttributes": {"verb": "list", "resource": "secrets"}}}
    assert api.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", wanted)["status"]["allowed"] is True


def test_token_is_issued_for_a_service_account(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    api.create(path, {"metadata": {"name": "one"}})
    issued = api.create(f"{path}/one/token", {"spec": {"audiences": ["sts.example.com"], "expirationSeconds": 600}})
    assert issued["status"]["token"]
    assert issued["status"]["expirationTimestamp"].endswith("Z")
    with pytest.raises(StatusError) as refused:
        api.create(f"{path}/none/token", {"spec": {}})
    assert refused.value.code == 404


def test_nobody_gets_in_without_a_token(cluster: Cluster) -> None:
    stranger = cluster.api(token="not-a-token")
    with pytest.raises(StatusError) as refused:
        stranger.get("/api/v1/namespaces")
    assert (refused.value.code, refused.value.reason) == (401, "Unauthorized")


def test_server_tells_its_version_and_health(api: Api) -> None:
    assert api.get("/version")["gitVersion"].startswith("v1.")
    assert api.get("/readyz")["message"] == "ok"


def test_groups_are_discovered(api: Api, widgets: Widgets) -> None:
    assert "v1" in api.get("/api")["versions"]
    groups = {each["name"]: each["preferredVersion"]["groupVersion"] for each in api.get("/apis")["groups"]}
    assert groups["apps"] == "apps/v1"
    assert groups[widgets.group] == f"{widgets.group}/v1"
    listed = {each["name"]: each for each in api.get("/api/v1")["resources"]}
    assert (listed["secrets"]["kind"], listed["secrets"]["namespaced"]) == ("Secret", True)
    assert listed["namespaces"]["namespaced"] is False
    assert "pods/status" in listed


def test_groups_are_discovered_at_once(api: Api, widgets: Widgets) -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    found = api.request("GET", "/apis", accept=accept).body
    assert found["kind"] == "APIGroupDiscoveryList"
    mine = next(each for each in found["items"] if each["metadata"]["name"] == widgets.group)
    resource = mine["versions"][0]["resources"][0]
    assert (resource["resource"], resource["scope"], resource["shortNames"]) == ("widgets", "Namespaced", ["wdg"])
    assert [each["subresource"] for each in resource["subresources"]] == ["status"]


def test_schemas_are_published(api: Api, widgets: Widgets) -> None:
    paths = published(api, widgets)
    document = api.get(paths[f"apis/{widgets.group}/v1"]["serverRelativeURL"].partition("?")[0])
    kinds = [each for each in document["components"]["schemas"].values() if "x-kubernetes-group-version-kind" in each]
    widget = next(each for each in kinds if each["x-kubernetes-group-version-kind"][0]["kind"] == "Widget")
    assert widget["properties"]["spec"]["properties"]["size"]["description"] == "How large, 1 to 100."
