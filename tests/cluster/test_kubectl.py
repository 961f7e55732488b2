"""kubectl, as a person uses it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from sandbox.kubernetes.client import Api, Json
from sandbox.kubernetes.provider import Cluster
from tests.support.widgets import Widgets, published


class Kubectl:
    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace

    def __call__(self, *arguments: str, stdin: Json | None = None) -> str:
        text = yaml.safe_dump(stdin) if stdin else None
        return self._cluster.kubectl("--namespace", self._namespace, *arguments, stdin=text).stdout

    def refused(self, *arguments: str, stdin: Json | None = None) -> str:
        text = yaml.safe_dump(stdin) if stdin else None
        done = self._cluster.kubectl("--namespace", self._namespace, *arguments, stdin=text, check=False)
        assert done.returncode
        return done.stderr

    def json(self, *arguments: str) -> Json:
        found: Json = json.loads(self(*arguments, "-o", "json"))
        return found


@pytest.fixture
def kubectl(cluster: Cluster, namespace: str) -> Kubectl:
    return Kubectl(cluster, namespace)


def test_apply_creates_changes_and_removes(kubectl: Kubectl, widgets: Widgets) -> None:
    spec = {"code": "abc", "tags": {"k": "v"}}
    assert kubectl("apply", "-f", "-", stdin=widgets.make("a", spec)).endswith("created\n")
    assert kubectl("apply", "-f", "-", stdin=widgets.make("a", spec)).endswith("unchanged\n")
    assert kubectl("apply", "-f", "-", stdin=widgets.make("a", {"size": 7})).endswith("configured\n")
    found = kubectl.json("get", widgets.crd, "a")["spec"]
    assert found == {"size": 7, "mode": "Safe", "nested": {"depth": 3}}


def test_apply_refuses_unknown_fields(kubectl: Kubectl, widgets: Widgets) -> None:
    told = kubectl.refused("apply", "-f", "-", stdin=widgets.make("a", {"colour": "red"}))
    assert 'strict decoding error: unknown field "spec.colour"' in told
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringDta": {"k": "v"}}
    assert 'unknown field "stringDta"' in kubectl.refused("apply", "-f", "-", stdin=secret)


def test_apply_tells_what_is_wrong_with_a_value(kubectl: Kubectl, widgets: Widgets) -> None:
    told = kubectl.refused("apply", "-f", "-", stdin=widgets.make("a", {"low": 6}))
    assert told.startswith('The Widget "a" is invalid: spec: Invalid value: ')
    assert "low must not be above size: write a lower one" in told


def test_apply_on_the_server_names_the_owner_of_a_conflict(kubectl: Kubectl, widgets: Widgets) -> None:
    body = widgets.make("a", {"code": "abc"})
    apply = ("apply", "--server-side", "-f", "-", "--field-manager")
    assert "serverside-applied" in kubectl(*apply, "one", stdin=body)
    told = kubectl.refused(*apply, "two", stdin=widgets.make("a", {"code": "xyz"}))
    assert 'conflict with "one": .spec.code' in told
    assert "serverside-applied" in kubectl(*apply, "two", "--force-conflicts", stdin=widgets.make("a", {"code": "xyz"}))


def test_apply_merges_a_secret_and_a_deployment(kubectl: Kubectl) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"k": "v"}}
    kubectl("apply", "-f", "-", stdin=secret)
    kubectl("apply", "-f", "-", stdin=secret | {"stringData": {"l": "w"}})
    assert "l" in kubectl.json("get", "secret", "a")["data"]
    labels = {"app": "a"}
    pod: Json = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "a", "image": "one", "ports": [{"containerPort": 80}]}]},
    }
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": pod}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec}
    kubectl("apply", "-f", "-", stdin=deployment)
    pod["spec"]["containers"] = [{"name": "a", "image": "two", "ports": [{"containerPort": 80}, {"containerPort": 81}]}]
    kubectl("apply", "-f", "-", stdin=deployment)
    container = kubectl.json("get", "deployment", "a")["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], len(container["ports"])) == ("two", 2)


def test_get_prints_the_columns_of_the_crd(kubectl: Kubectl, api: Api, namespace: str, widgets: Widgets) -> None:
    assert kubectl("get", widgets.crd) == ""
    kubectl("apply", "-f", "-", stdin=widgets.make("a"))
    api.patch(widgets.path(namespace, "a", "status"), {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    header, row = kubectl("get", widgets.crd).splitlines()
    assert header.split() == ["NAME", "READY", "SIZE", "FINISHED", "AGE"]
    assert re.fullmatch(r"a +True +5 + \d+s", row)
    header, row = kubectl("get", f"wdg.v1.{widgets.group}", "-o", "wide").splitlines()
    assert header.split() == ["NAME", "READY", "SIZE", "FINISHED", "MODE", "AGE"]
    assert "Safe" in row


def test_get_prints_built_in_kinds(kubectl: Kubectl) -> None:
    kubectl("create", "secret", "generic", "a", "--from-literal=k=v")
    assert re.search(r"^a +Opaque +1 +\d+s$", kubectl("get", "secrets"), re.MULTILINE)
    kubectl("create", "configmap", "b", "--from-literal=k=v")
    both = kubectl("get", "secret/a", "configmap/b")
    assert "secret/a" in both
    assert "configmap/b" in both
    assert kubectl("get", "secret", "a", "-o", "jsonpath={.data.k}") == "dg=="


def test_get_across_namespaces_by_label(kubectl: Kubectl, namespace: str, widgets: Widgets) -> None:
    kubectl("apply", "-f", "-", stdin=widgets.make("a", labels={"of": namespace}))
    assert (
        kubectl("get", widgets.crd, "--all-namespaces", "-l", f"of={namespace}", "-o", "name")
        == f"widget.{widgets.group}/a\n"
    )


def test_get_of_nothing_is_an_error(kubectl: Kubectl, widgets: Widgets) -> None:
    assert (
        kubectl.refused("get", widgets.crd, "none") == f'Error from server (NotFound): {widgets.crd} "none" not found\n'
    )


def test_describe_tells_spec_status_and_events(kubectl: Kubectl, api: Api, namespace: str, widgets: Widgets) -> None:
    made = api.create(widgets.path(namespace), widgets.make("a"))
    about = {
        "apiVersion": made["apiVersion"],
        "kind": "Widget",
        "name": "a",
        "namespace": namespace,
        "uid": made["metadata"]["uid"],
    }
    times = {
        "firstTimestamp": made["metadata"]["creationTimestamp"],
        "lastTimestamp": made["metadata"]["creationTimestamp"],
    }
    told = {
        "reason": "Happened",
        "message": "it did",
        "type": "Normal",
        "count": 1,
        "source": {"component": "tests"},
        **times,
    }
    api.create(f"/api/v1/namespaces/{namespace}/events", {"metadata": {"name": "one"}, "involvedObject": about, **told})
    text = kubectl("describe", widgets.crd, "a")
    assert re.search(r"Mode: +Safe", text)
    assert re.search(r"Normal +Happened +\d+s +tests +it did", text)


def test_explain_teaches(kubectl: Kubectl, api: Api, widgets: Widgets) -> None:
    published(api, widgets)
    text = kubectl("explain", f"{widgets.crd}.spec")
    assert "What the widget should be." in text
    assert re.search(r"size\t<integer> -required-\n +How large, 1 to 100.", text)
    assert re.search(r"mode\t<string>\n +enum: Fast, Safe", text)
    assert "stringData" in kubectl("explain", "secret")


def test_annotate_label_and_patch(kubectl: Kubectl, widgets: Widgets) -> None:
    kubectl("apply", "-f", "-", stdin=widgets.make("a"))
    kubectl("annotate", widgets.crd, "a", "example.com/now=1")
    kubectl("annotate", widgets.crd, "a", "example.com/now=2", "--overwrite")
    kubectl("label", widgets.crd, "a", "k=v")
    kubectl("patch", widgets.crd, "a", "--type=merge", "-p", '{"spec":{"size":8}}')
    kubectl("patch", widgets.crd, "a", "--type=merge", "--subresource=status", "-p", '{"status":{"phase":"Done"}}')
    found = kubectl.json("get", widgets.crd, "a")
    assert found["metadata"]["annotations"]["example.com/now"] == "2"
    assert found["metadata"]["labels"] == {"k": "v"}
    assert (found["spec"]["size"], found["status"]["phase"]) == (8, "Done")


def test_wait_for_condition_and_deletion(kubectl: Kubectl, api: Api, namespace: str, widgets: Widgets) -> None:
    kubectl("apply", "-f", "-", stdin=widgets.make("a"))
    told = kubectl.refused("wait", f"{widgets.crd}/a", "--for=condition=Ready", "--timeout=1s")
    assert "timed out waiting for the condition" in told
    api.patch(widgets.path(namespace, "a", "status"), {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    assert "condition met" in kubectl("wait", f"{widgets.crd}/a", "--for=condition=Ready", "--timeout=10s")
    assert "condition met" in kubectl("wait", f"crd/{widgets.crd}", "--for=condition=Established", "--timeout=10s")
    assert "deleted" in kubectl("delete", widgets.crd, "a")
    kubectl("wait", f"{widgets.crd}/a", "--for=delete", "--timeout=10s")


def test_delete_by_label_and_all(kubectl: Kubectl, widgets: Widgets) -> None:
    for name, color in (("a", "red"), ("b", "blue"), ("c", "blue")):
        kubectl("apply", "-f", "-", stdin=widgets.make(name, labels={"color": color}))
    kubectl("delete", widgets.crd, "-l", "color=red")
    assert kubectl("get", widgets.crd, "-o", "name").splitlines() == [
        f"widget.{widgets.group}/b",
        f"widget.{widgets.group}/c",
    ]
    kubectl("delete", widgets.crd, "--all")
    assert kubectl("get", widgets.crd) == ""


def test_create_needs_no_manifest(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "serviceaccount", "one")
    assert kubectl("create", "token", "one").strip()
    kubectl(
        "create",
        "secret",
        "docker-registry",
        "pull",
        "--docker-username=u",
        "--docker-password=p",
        "--docker-server=example.com",
    )
    assert kubectl.json("get", "secret", "pull")["type"] == "kubernetes.io/dockerconfigjson"
    assert kubectl("auth", "can-i", "list", "secrets").strip() == "yes"


def test_api_resources_and_versions(kubectl: Kubectl, widgets: Widgets) -> None:
    listed = kubectl("api-resources", f"--api-group={widgets.group}")
    assert re.search(rf"^widgets +wdg +{widgets.group}/v1 +true +Widget$", listed, re.MULTILINE)
    assert f"{widgets.group}/v1\n" in kubectl("api-versions")


def test_diff_and_dry_run_change_nothing(kubectl: Kubectl, widgets: Widgets, tmp_path: Path) -> None:
    manifest = tmp_path / "widget.yaml"
    manifest.write_text(yaml.safe_dump(widgets.make("a")))
    assert "created (server dry run)" in kubectl("apply", "--dry-run=server", "-f", str(manifest))
    assert kubectl("get", widgets.crd) == ""
    kubectl("apply", "-f", str(manifest))
    manifest.write_text(yaml.safe_dump(widgets.make("a", {"size": 9})))
    assert "configured (server dry run)" in kubectl("apply", "--dry-run=server", "-f", str(manifest))
    assert kubectl.json("get", widgets.crd, "a")["spec"]["size"] == 5
