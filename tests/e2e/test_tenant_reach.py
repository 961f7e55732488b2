"""What a tenant could have the operator do elsewhere than at the store: in templates, with Secrets that are another's,
towards hosts that are not a database. Each is told, and nothing is delivered, overwritten or connected to."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from rotated_secrets.controller.work.drift_backoff import BURST
from sandbox.database_proxy import CONNECT
from sandbox.kubernetes.client import Json, StatusError
from sandbox.stack import Stack
from sandbox.waiting import eventually
from tests.support.applied import Applied

pytestmark = pytest.mark.usefixtures("operator")

ADOPT, OWNER = "rotatedsecrets.io/adopt", "rotatedsecrets.io/owner"
ACCOUNT = "kubernetes.io/service-account.name"
TOKEN = "kubernetes.io/service-account-token"
MERGE = {"creationPolicy": "Merge", "deletionPolicy": "Retain"}


# ---- templates


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ password | attr('__class__') }}",
        "{{ self._TemplateReference__context }}",
        "{{ cycler.__init__.__globals__.os.popen('id') }}",
        "{{ 'a' * 10**9 }}",
        "{{ host | center(1000000000) }}",
        "{{ '%1000000000d' | format(port) }}",
        "{{ " + "(" * 5000 + "host" + ")" * 5000 + " }}",
    ],
)
def test_template_that_reaches_for_python_or_a_gigabyte_is_refused_before_the_value_is_read(
    template: str, orders: Applied
) -> None:
    orders.apply({"target": {"template": {"OUT": template}}}, request="due")
    orders.until("Ready", "False", "InvalidSpec")
    assert orders.store_calls() == []
    assert orders.secret() is None


def test_template_whose_filters_multiply_the_value_delivers_nothing(orders: Applied) -> None:
    literal = "a" * 1000
    template = "{{ password" + f" | replace('a', '{literal}')" * 20 + " }}"
    orders.application.put_value(note="a" * 100)
    orders.apply({"target": {"template": {"OUT": template.replace("password", "note")}}}, request="due")
    condition = orders.until("Synced", "False", "TemplateFailed")
    assert "1024 KiB" in condition["message"]
    assert orders.secret() is None
    assert orders.store_writes() == []


# ---- Secrets that are another's


@dataclass(frozen=True)
class Found:
    """A Secret that exists under the target's name."""

    name: str
    reason: str
    says: str
    metadata: Json = field(default_factory=dict)
    type: str = "Opaque"
    target: Json = field(default_factory=dict)
    adopted: bool = False
    """It consents to be taken over by this very RotatedSecret."""

    def body(self, orders: Applied) -> Json:
        text = yaml.safe_dump(self.metadata).replace("NAMESPACE", orders.application.namespace)
        named = yaml.safe_load(text.replace("UID", owner(orders)) if "UID" in text else text)
        annotations = named.pop("annotations", {}) | ({ADOPT: orders.application.name} if self.adopted else {})
        metadata = {"name": orders.application.name, "annotations": annotations} | named
        return {"metadata": metadata, "type": self.type, "stringData": {"mine": "as it was"}}


def owner(orders: Applied) -> str:
    """The uid of something that is there: garbage collection takes what nothing owns any more."""
    path = f"/api/v1/namespaces/{orders.application.namespace}/configmaps"
    uid: str = ensure(orders, path, {"metadata": {"name": "web"}})["metadata"]["uid"]
    return uid


def ensure(orders: Applied, path: str, body: Json) -> Json:
    try:
        return orders.api.create(path, body)
    except StatusError as error:
        assert error.code == 409, error
        return orders.api.get(f"{path}/{body['metadata']['name']}")


CONTROLLER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "web", "uid": "UID", "controller": True}
HELM = {"labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": {"meta.helm.sh/release-name": "web"}}

FOUND = (
    Found("without consent", "NotOurs", f"{ADOPT}="),
    Found("without consent, merged", "NotOurs", f"{ADOPT}=", target=MERGE),
    Found("with consent to another", "NotOurs", f"{ADOPT}=", {"annotations": {ADOPT: "another"}}),
    Found(
        "another RotatedSecret's",
        "NotOurs",
        "belongs to RotatedSecret NAMESPACE/another",
        {"annotations": {OWNER: "NAMESPACE/another"}},
    ),
    Found("Helm's", "NotOurs", f"{ADOPT}=", HELM),
    Found(
        "controlled by another",
        "SecretConflict",
        "controlled by ConfigMap web",
        {"ownerReferences": [CONTROLLER]},
        adopted=True,
    ),
    Found("a token", "NotOurs", f"{ADOPT}=", {"annotations": {ACCOUNT: "default"}}, TOKEN),
    Found(
        "a token, with consent",
        "SecretTypeImmutable",
        TOKEN,
        {"annotations": {ACCOUNT: "default"}},
        TOKEN,
        adopted=True,
    ),
    Found(
        "a token, with consent and merged",
        "SecretConflict",
        "a token for the cluster itself",
        {"annotations": {ACCOUNT: "default"}},
        TOKEN,
        MERGE,
        adopted=True,
    ),
)


@pytest.mark.parametrize("found", FOUND, ids=lambda found: found.name)
def test_secret_that_belongs_to_someone_else_is_left_as_it_is(found: Found, orders: Applied) -> None:
    namespace = orders.application.namespace
    if found.type == TOKEN:
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        ensure(orders, accounts, {"metadata": {"name": "default"}})
    orders.api.create(orders.secret_path.rpartition("/")[0], found.body(orders))
    before = orders.api.get(orders.secret_path)
    orders.apply({"target": found.target} if found.target else None, request="due")
    condition = orders.until("Synced", "False", found.reason)
    assert found.says.replace("NAMESPACE", namespace) in condition["message"]
    orders.until("Held", "True", "Unsynced")
    eventually(lambda: "RotationHeld" in orders.reasons(), "the hold is an Event, too")
    assert orders.api.get(orders.secret_path) == before
    assert orders.store_writes() == []


def test_secret_that_somebody_goes_on_changing_is_fought_over_for_a_while_alone(orders: Applied) -> None:
    orders.apply().until_ready()
    wanted = orders.secret()
    for number in range(BURST):
        orders.api.patch(orders.secret_path, {"stringData": {"password": f"mallory {number}"}})
        eventually(lambda: orders.secret() == wanted, "it is put back")
    orders.until_ready()
    orders.api.patch(orders.secret_path, {"stringData": {"password": "mallory"}})
    told = orders.until("Ready", "False", "SyncFailed")["message"]
    assert "--show-managed-fields" in told
    calls, status = len(orders.store_calls()), orders.status
    for number in range(20):
        orders.api.patch(orders.secret_path, {"stringData": {"password": f"mallory still {number}"}})
    orders.ask("what is asked for does not wait")
    orders.until_served("what is asked for does not wait")
    assert len(orders.store_calls()) - calls < 10, "one rotation's, and none of twenty repairs'"
    assert orders.status["history"] != status.get("history")
    orders.until_ready()


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ({"annotations": {ACCOUNT: "default"}}, "reserved"),
        ({"type": TOKEN}, "type"),
        ({"secretName": "kube-system/token"}, "secretName"),
    ],
    ids=["annotation of a token", "type of a token", "another namespace"],
)
def test_target_that_no_resource_may_ask_for_is_refused_by_the_api_server(
    target: Json, says: str, orders: Applied
) -> None:
    with pytest.raises(StatusError, match=says) as refused:
        orders.apply({"target": target})
    assert refused.value.code == 422
    assert orders.store_calls() == []


# ---- hosts


def connections(stack: Stack) -> int:
    return stack.database_proxy.count(CONNECT)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "fd00:ec2::254",
        "::ffff:a9fe:a9fe",
        "64:ff9b::a9fe:a9fe",
        "0xa9fea9fe",
        "2852039166",
        "0251.0376.0251.0376",
        "0.0.0.0",
        "kubernetes.default.svc",
    ],
)
def test_host_that_is_a_metadata_address_or_the_api_servers_name_is_not_connected_to(
    host: str, orders: Applied, stack: Stack
) -> None:
    orders.application.put_value(host=host)
    before = connections(stack)
    orders.apply(request="due")
    condition = orders.until("Ready", "False", "InvalidSecretValue")
    assert re.search(rf"(host {re.escape(host)}|the host in the secret value) is ", condition["message"])
    assert connections(stack) == before
    assert orders.store_writes() == []
    assert orders.secret() is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::ffff:127.0.0.1", "localhost", "0x7f000001"])
def test_api_server_is_not_connected_to_although_its_network_is_allowed(host: str, orders: Applied) -> None:
    """Here the database and the API server share an address, which the operator's settings allow."""
    server = yaml.safe_load(orders.stack.cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    orders.application.put_value(host=host, port=urlsplit(server).port)
    orders.apply(request="due")
    condition = orders.until("Ready", "False", "InvalidSecretValue")
    assert "the Kubernetes API server" in condition["message"]
    assert orders.store_writes() == []
    assert orders.secret() is None


# ---- an endpoint in the resource


@contextmanager
def trap() -> Iterator[socket.socket]:
    """What a tenant would have the operator call instead of AWS."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


def test_endpoint_in_a_resource_or_in_a_value_is_nothing_that_is_called(orders: Applied) -> None:
    with trap() as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        keys: dict[str, Any] = {"endpoint_url": url, "endpointUrl": url, "aws_endpoint_url": url}
        manifest = orders.application.manifest()
        manifest["spec"]["source"] |= {"endpointUrl": url, "endpoint": url}
        with pytest.raises(StatusError, match="unknown field"):
            orders.api.create(orders.path, manifest, fieldValidation="Strict")
        orders.application.put_value(**keys)
        made = orders.api.create(orders.path, manifest, fieldValidation="Ignore")
        assert set(made["spec"]["source"]) == {"secretId"}
        orders.until_ready()
        orders.rotate("now")
        with pytest.raises(BlockingIOError):
            listening.accept()
