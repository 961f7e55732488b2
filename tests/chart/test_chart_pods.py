"""The values for the Deployment and its pods, and more objects beside them: what other charts have too."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from rotated_secrets.cli.operator import app
from sandbox.helm import rendered
from tests.support.manifests import Manifest, one, operator, pod_of, unknown_fields


@pytest.fixture(scope="module")
def default() -> list[Manifest]:
    return rendered()


def test_pods_are_replaced_as_the_values_say() -> None:
    def strategy(**given: Any) -> Any:
        return one(rendered({"updateStrategy": given}), "Deployment")["spec"]["strategy"]

    assert strategy(rollingUpdate={"maxSurge": 0, "maxUnavailable": 1})["rollingUpdate"] == {
        "maxSurge": 0,
        "maxUnavailable": 1,
    }
    # The default's rollingUpdate would be refused by the API server.
    assert strategy(type="Recreate") == {"type": "Recreate"}


def test_the_values_for_pods_reach_the_pods() -> None:
    aliases = [{"ip": "10.0.0.7", "hostnames": ["db.example.com"]}]
    beside = {"name": "beside", "image": "a"}
    made = rendered(
        {
            "revisionHistoryLimit": 0,
            "deploymentAnnotations": {"reloader.stakater.com/auto": "true"},
            "hostAliases": aliases,
            "dnsPolicy": "Default",
            "dnsConfig": {"searches": ["example.com"]},
            "extraArgs": ["--identity=a", "--log-level=DEBUG"],
            "extraInitContainers": [beside],
            "extraContainers": [beside],
        }
    )
    deployment = one(made, "Deployment")
    pod = pod_of(deployment)
    assert deployment["metadata"]["annotations"] == {"reloader.stakater.com/auto": "true"}
    assert deployment["spec"]["revisionHistoryLimit"] == 0
    assert (pod["hostAliases"], pod["dnsPolicy"], pod["dnsConfig"]) == (
        aliases,
        "Default",
        {"searches": ["example.com"]},
    )
    assert pod["initContainers"] == [beside]
    assert [each["name"] for each in pod["containers"]] == ["operator", "beside"]
    assert pod["containers"][0]["args"][-2:] == ["--identity=a", "--log-level=DEBUG"]
    assert unknown_fields(deployment) == []


def test_of_two_equal_arguments_the_operator_takes_the_last() -> None:
    context = typer.main.get_command(app).make_context("run", ["--log-level=INFO", "--log-level=DEBUG"])
    assert context.params["log_level"] == "DEBUG"


def test_pods_on_the_network_of_their_node_still_resolve_the_names_of_services(default: list[Manifest]) -> None:
    assert not {"hostNetwork", "dnsPolicy"} & pod_of(one(default, "Deployment")).keys()
    pod = pod_of(one(rendered({"hostNetwork": True}), "Deployment"))
    assert (pod["hostNetwork"], pod["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    pod = pod_of(one(rendered({"hostNetwork": True, "dnsPolicy": "Default"}), "Deployment"))
    assert pod["dnsPolicy"] == "Default"


def test_probes_ask_the_operator_unless_they_are_told_otherwise() -> None:
    given = {
        "startupProbe": {"failureThreshold": 7},
        "livenessProbe": {"initialDelaySeconds": 30, "periodSeconds": 20},
        "readinessProbe": {"tcpSocket": {"port": "metrics"}},
    }
    container = operator(rendered(given))
    assert container["startupProbe"] == {
        "httpGet": {"path": "/readyz", "port": "metrics"},
        "periodSeconds": 2,
        "timeoutSeconds": 5,
        "failureThreshold": 7,
    }
    assert container["livenessProbe"] == {
        "httpGet": {"path": "/healthz", "port": "metrics"},
        "initialDelaySeconds": 30,
        "periodSeconds": 20,
        "timeoutSeconds": 5,
        "failureThreshold": 6,
    }
    assert "httpGet" not in container["readinessProbe"]


def test_more_objects_are_templates_if_they_are_texts_and_taken_as_they_are_if_not() -> None:
    resource = {"apiVersion": "rotatedsecrets.io/v1alpha1", "kind": "RotatedSecret", "metadata": {"name": "orders-db"}}
    resource["spec"] = {"target": {"template": {"URL": "postgresql://{{ username | urlencode }}@{{ host }}"}}}
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-more\n"
    made = rendered({"extraObjects": [resource, text]})
    assert one(made, "RotatedSecret") == resource
    assert one(made, "ConfigMap", "rotated-secrets-more")
