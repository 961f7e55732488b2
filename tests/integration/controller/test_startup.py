"""A cluster that cannot be worked with: told in a sentence, waited for a while, then the exit code says so."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from sandbox.kubernetes.provider import Cluster
from sandbox.prefork import Prefork
from tests.integration.controller.conftest import Objects, Start, operators

QUICK = {"startup_timeout": 0.5}


class Refusing(ThreadingHTTPServer):
    """An API server that answers everything with one status, and nothing else: no real one can be told to."""

    status, message = 404, ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answer(BaseHTTPRequestHandler):
    server: Refusing

    def do_GET(self) -> None:
        body = json.dumps({"kind": "Status", "message": self.server.message}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def refusing() -> Iterator[Refusing]:
    with Refusing(("127.0.0.1", 0), _Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def kubeconfig(tmp_path: Path, url: str) -> Path:
    path = tmp_path / "kubeconfig"
    name = {"name": "it"}
    path.write_text(
        yaml.safe_dump(
            {
                "clusters": [name | {"cluster": {"server": url}}],
                "users": [name | {"user": {}}],
                "contexts": [name | {"context": {"cluster": "it", "user": "it"}}],
                "current-context": "it",
            }
        )
    )
    return path


@pytest.fixture
def start_anywhere(cluster: Cluster, interpreter: Prefork) -> Iterator[Start]:
    with operators(cluster, "default", interpreter) as start:
        yield start


@pytest.mark.parametrize(
    ("status", "message", "says"),
    [
        (404, "not found", "CustomResourceDefinition rotatedsecrets.rotatedsecrets.io is not installed; apply crds/"),
        (403, 'User "op" cannot list resource', "a permission is missing; grant it to the operator's ServiceAccount"),
        (500, "etcd is away", "the API server answered 500: etcd is away"),
    ],
)
def test_what_is_missing_is_told_and_not_waited_for_for_ever(
    status: int, message: str, says: str, refusing: Refusing, start_anywhere: Start, tmp_path: Path
) -> None:
    refusing.status, refusing.message = status, message
    operator = start_anywhere(kubeconfig=kubeconfig(tmp_path, refusing.url), **QUICK)
    operator.wait_for(f"WARNING .*{says}.*; waiting for it")
    assert operator.wait() == 1
    operator.wait_for(f"ERROR .*{says}.*; gave up")
    assert "Traceback" not in operator.text


def test_an_api_server_that_cannot_be_reached_is_told(start_anywhere: Start, tmp_path: Path) -> None:
    operator = start_anywhere(kubeconfig=kubeconfig(tmp_path, "http://127.0.0.1:9"), **QUICK)
    operator.wait_for("the API server could not be reached: Connection refused; waiting for it")
    assert operator.get("/readyz")[0] == 503
    assert operator.wait() == 1


def test_no_way_to_a_cluster_is_told(start_anywhere: Start, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    operator = start_anywhere(kubeconfig=tmp_path / "empty")
    assert operator.wait() == 1
    assert "set --kubeconfig, or run in a pod with a ServiceAccount" in operator.text
    assert "Traceback" not in operator.text


def test_a_port_that_is_taken_is_told(start_anywhere: Start, refusing: Refusing) -> None:
    operator = start_anywhere(probe_port=refusing.server_address[1])
    assert operator.wait() == 1
    assert re.search(r"probes cannot be served on 127.0.0.1 port \d+: Address already in use", operator.text)
    assert "Traceback" not in operator.text


def test_sigterm_ends_the_wait_at_once(start_anywhere: Start, tmp_path: Path) -> None:
    operator = start_anywhere(kubeconfig=kubeconfig(tmp_path, "http://127.0.0.1:9"), startup_timeout=600)
    operator.wait_for("waiting for it")
    before = time.monotonic()
    operator.signal(15)
    assert operator.wait() == 0
    assert time.monotonic() - before < 60


def test_an_operator_with_exactly_its_permissions_works(
    cluster: Cluster, crd: None, objects: Objects, start: Start
) -> None:
    rules = [
        {"apiGroups": ["rotatedsecrets.io"], "resources": ["rotatedsecrets"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]},
    ]
    way_in = cluster.operator_kubeconfig(rules, objects.namespace, cluster_wide=False)
    objects.make("orders")
    operator = start(kubeconfig=way_in)
    operator.wait_for(f"looked {objects.namespace}/orders there")
    before = time.monotonic()
    objects.make_target("orders", f"{objects.namespace}/orders")
    operator.wait_for(f"looked {objects.namespace}/orders there", after=before)


def test_an_operator_outside_of_a_pod_does_not_work_beside_the_one_that_leads(
    cluster: Cluster, start: Start, objects: Objects
) -> None:
    """As typed on a laptop: its Lease would be another one, and both would work."""
    leader = start()
    leader.wait_for(" leads$")
    objects.make("orders")
    leader.wait_for(f"looked {objects.namespace}/orders there")
    second = start(lease_namespace="")
    assert second.wait() == 2
    assert "looked" not in second.text
    second.wait_for(r"ERROR .*--lease-namespace: outside of a pod.*there leads now: .*--lease-name rotated-secrets")
    standby = start(lease_namespace=objects.namespace)
    standby.wait_for(f"{re.escape(objects.lease_holder())} holds the Lease rotated-secrets; .* stands by")
