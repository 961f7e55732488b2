"""Who refuses a Secret is named, by an API server's own words: a policy, a webhook, a quota or a role."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from rotated_secrets import cluster as connection
from rotated_secrets import cluster_access
from rotated_secrets.delivery.errors import DeliveryDenied, DeliveryError, DeliveryUnavailable
from rotated_secrets.delivery.target import DesiredSecret
from rotated_secrets.delivery.targets import TargetSecrets
from rotated_secrets.values import Arn, SecretText, VersionId
from sandbox.kubernetes.certificates import Authority
from sandbox.kubernetes.client import Api, Json
from sandbox.kubernetes.provider import Cluster, Provider
from sandbox.waiting import eventually

CANARY = "cAnArY-4711"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"


@pytest.fixture(autouse=True)
def control_plane(cluster: Cluster) -> None:
    if cluster.provider is Provider.EMBEDDED:
        pytest.skip("the embedded API has no admission policies")


@contextmanager
def connected(cluster: Cluster) -> Iterator[TargetSecrets]:
    configuration = cluster_access.configuration(cluster.kubeconfig, None)
    with closing(connection.Cluster(configuration, timeout=10, connections=2, retries=0)) as found:
        yield TargetSecrets(found)


@pytest.fixture
def secrets(cluster: Cluster) -> Iterator[TargetSecrets]:
    with connected(cluster) as found:
        yield found


@dataclass
class Tried:
    """Writes a Secret of a new name each time."""

    secrets: TargetSecrets
    namespace: str
    number: int = 0

    def write(self) -> DeliveryError | None:
        """What came of it."""
        try:
            self.secrets.write(self.desired(), None)
        except DeliveryError as error:
            return error
        return None

    def desired(self) -> DesiredSecret:
        """The next one."""
        self.number += 1
        return DesiredSecret(
            namespace=self.namespace,
            name=f"orders-{self.number}",
            owner_name="orders-db",
            owner_uid="11111111-1111-1111-1111-111111111111",
            type="Opaque",
            data={"password": SecretText(CANARY)},
            labels={},
            annotations={},
            version_id=VersionId("v1"),
            secret_arn=Arn("arn:1"),
            rotated_at=datetime(2026, 11, 22, tzinfo=UTC),
        )

    def is_refused(self) -> DeliveryError:
        """What is made takes some time until it has an effect."""
        error = eventually(self.write, "it is refused")
        assert error is not None
        assert CANARY not in str(error)
        assert base64.b64encode(CANARY.encode()).decode() not in str(error)
        return error

    def is_taken(self) -> None:
        eventually(lambda: self.write() is None, "it is taken again")


@pytest.fixture
def tried(secrets: TargetSecrets, namespace: str) -> Tried:
    return Tried(secrets, namespace)


Make = Callable[[str, Json], None]


@pytest.fixture
def make(api: Api, namespace: str) -> Iterator[Make]:
    """Makes objects of admissionregistration.k8s.io for the test's namespace alone."""
    made: list[str] = []

    def create(plural: str, body: Json) -> None:
        name = api.create(f"{ADMISSION}/{plural}", body)["metadata"]["name"]
        made.append(f"{ADMISSION}/{plural}/{name}")

    yield create
    for path in made:
        api.delete(path)


SECRETS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"]}


def only_in(namespace: str) -> Json:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}


def policy(make: Make, namespace: str, *, spec: Json | None = None, validation: Json | None = None) -> str:
    """One that quotes the Secret in what it says."""
    name = f"no-secrets-of-{namespace}"
    said = "'it holds ' + string(object.data.password)"
    body = {
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [SECRETS]},
            "validations": [{"expression": "false", "messageExpression": said, **(validation or {})}],
            **(spec or {}),
        },
    }
    make("validatingadmissionpolicies", body)
    binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": only_in(namespace)}
    make("validatingadmissionpolicybindings", {"metadata": {"name": f"bound-in-{namespace}"}, "spec": binding})
    return name


@pytest.mark.parametrize("validation", [{}, {"reason": "Forbidden"}, {"reason": "RequestEntityTooLarge"}], ids=str)
def test_policy_is_named_and_the_template_is_not_blamed(
    tried: Tried, make: Make, namespace: str, validation: Json
) -> None:
    name = policy(make, namespace, validation=validation)
    error = tried.is_refused()
    assert isinstance(error, DeliveryDenied)
    assert f"ValidatingAdmissionPolicy {name} of the cluster, by its binding bound-in-{namespace}," in str(error)
    assert "because of" not in str(error)


def test_policy_that_is_itself_wrong_is_named(tried: Tried, make: Make, namespace: str) -> None:
    # It counts wherever it is not bound too.
    where = {"resourceRules": [SECRETS], **only_in(namespace)}
    wrong = {"paramKind": {"apiVersion": "nothing.example.org/v1", "kind": "Nothing"}, "matchConstraints": where}
    name = policy(make, namespace, spec=wrong)
    assert f"ValidatingAdmissionPolicy {name} of the cluster does not allow it" in str(tried.is_refused())


def test_mutating_policy_is_named(tried: Tried, make: Make, namespace: str) -> None:
    """It cannot compute what it would change; it answers 403 and names its kind only as a policy."""
    name = f"label-secrets-of-{namespace}"
    patch = {"expression": "[JSONPatch{op: 'add', path: '/type', value: object.metadata.annotations['absent']}]"}
    spec = {
        "matchConstraints": {"resourceRules": [SECRETS]},
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": patch}],
        "reinvocationPolicy": "Never",
    }
    make("mutatingadmissionpolicies", {"metadata": {"name": name}, "spec": spec})
    binding = {"policyName": name, "matchResources": only_in(namespace)}
    make("mutatingadmissionpolicybindings", {"metadata": {"name": f"bound-in-{namespace}"}, "spec": binding})
    error = tried.is_refused()
    assert isinstance(error, DeliveryDenied)
    assert f"MutatingAdmissionPolicy {name} of the cluster, by its binding bound-in-{namespace}," in str(error)


def test_policy_that_is_taken_away_is_in_the_way_no_longer(tried: Tried, make: Make, namespace: str, api: Api) -> None:
    name = policy(make, namespace)
    tried.is_refused()
    api.patch(f"{ADMISSION}/validatingadmissionpolicies/{name}", {"spec": {"validations": [{"expression": "true"}]}})
    tried.is_taken()


def test_secret_is_not_deleted_where_the_one_that_takes_its_place_is_refused(
    tried: Tried, make: Make, namespace: str, secrets: TargetSecrets
) -> None:
    desired = replace(tried.desired(), immutable=True)
    first = secrets.write(desired, None)
    name = policy(make, namespace)
    tried.is_refused()
    with pytest.raises(DeliveryDenied, match=f"create .*ValidatingAdmissionPolicy {name}"):
        secrets.write(replace(desired, data={"password": SecretText("new")}), first)
    assert secrets.read(namespace, desired.name) == first


class Denying(BaseHTTPRequestHandler):
    """A webhook that denies, with a code that a test chooses, and quotes the Secret."""

    status: ClassVar[dict[str, Any]] = {}

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = f"it holds {review['request']['object']['data']['password']}"
        answer = {"uid": review["request"]["uid"], "allowed": False, "status": {"message": said, **self.status}}
        body = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def webhook_server() -> Iterator[tuple[int, str]]:
    """A port on loopback, and the certificate of who signed its own."""
    authority = Authority.create("webhook")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Denying)
    context: ssl.SSLContext = authority.issue("webhook", ["127.0.0.1"]).server_context()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_port, authority.certificate.decode()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def webhook(make: Make, namespace: str, port: int, authority: str) -> str:
    name = f"{namespace}.example.org"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}
    found = {
        "name": name,
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 2,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "clientConfig": {
            "url": f"https://127.0.0.1:{port}/",
            "caBundle": base64.b64encode(authority.encode()).decode(),
        },
    }
    make("validatingwebhookconfigurations", {"metadata": {"name": f"hooks-of-{namespace}"}, "webhooks": [found]})
    return name


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"code": 400},
        {"code": 404},
        {"code": 409},
        {"code": 422, "reason": "Invalid", "details": {"causes": [{"field": "data[hunter2]", "message": CANARY}]}},
        {"code": 500},
        {"code": 503},
    ],
    ids=str,
)
def test_webhook_that_denies_is_named_whatever_its_code(
    tried: Tried, make: Make, namespace: str, monkeypatch: pytest.MonkeyPatch, status: Json
) -> None:
    monkeypatch.setattr(Denying, "status", status)
    with webhook_server() as (port, authority):
        name = webhook(make, namespace, port, authority)
        error = tried.is_refused()
    assert isinstance(error, DeliveryDenied)
    assert f"the admission webhook {name} of the cluster does not allow it" in str(error)
    assert "hunter2" not in str(error)


def test_webhook_that_is_down_is_named(tried: Tried, make: Make, namespace: str) -> None:
    with webhook_server() as (port, authority):
        pass
    name = webhook(make, namespace, port, authority)
    error = tried.is_refused()
    assert isinstance(error, DeliveryUnavailable)
    assert f"the API server cannot call the admission webhook {name}; it is tried again" in str(error)


def test_quota_is_named(tried: Tried, namespace: str, api: Api) -> None:
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    api.create(path, {"metadata": {"name": "few-secrets"}, "spec": {"hard": {"secrets": "0"}}})
    # Without a controller manager, no one counts.
    api.patch(f"{path}/few-secrets/status", {"status": {"hard": {"secrets": "0"}, "used": {"secrets": "0"}}})
    error = tried.is_refused()
    assert isinstance(error, DeliveryDenied)
    assert f"the ResourceQuota few-secrets of namespace {namespace} is used up; raise it" in str(error)


def test_quota_that_is_used_up_keeps_no_secret_from_being_replaced(
    tried: Tried, namespace: str, secrets: TargetSecrets, api: Api
) -> None:
    """Its place is free once it is deleted, and someone has counted."""
    desired = replace(tried.desired(), immutable=True)
    first = secrets.write(desired, None)
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    api.create(path, {"metadata": {"name": "few-secrets"}, "spec": {"hard": {"secrets": "1"}}})
    api.patch(f"{path}/few-secrets/status", {"status": {"hard": {"secrets": "1"}, "used": {"secrets": "1"}}})
    tried.is_refused()
    new = replace(desired, data={"password": SecretText("new")})
    with pytest.raises(DeliveryDenied, match="ResourceQuota few-secrets"):
        secrets.write(new, first)
    api.patch(f"{path}/few-secrets/status", {"status": {"used": {"secrets": "0"}}})
    assert secrets.read(namespace, desired.name) is None
    secrets.write(new, None)


def test_role_is_named_with_the_verb(cluster: Cluster, namespace: str) -> None:
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    kubeconfig = cluster.operator_kubeconfig(rules, namespace, cluster_wide=False)
    configuration = cluster_access.configuration(kubeconfig, None)
    with closing(connection.Cluster(configuration, timeout=10, connections=2, retries=0)) as found:
        error = Tried(TargetSecrets(found), namespace).write()
    assert isinstance(error, DeliveryDenied)
    assert f"may not create Secrets in namespace {namespace}; check its role; it is tried again" in str(error)
