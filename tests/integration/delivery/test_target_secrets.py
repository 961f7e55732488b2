"""Target Secrets at an API server: written, put right, and never taken from anyone."""

from __future__ import annotations

import base64
import logging
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from kubernetes import client

from rotated_secrets import cluster as connection
from rotated_secrets import cluster_access
from rotated_secrets.api import names
from rotated_secrets.api.status import Reason
from rotated_secrets.api.target import CreationPolicy, DeletionPolicy
from rotated_secrets.delivery.errors import (
    DeliveryDenied,
    DeliveryError,
    DeliveryRefused,
    DeliveryUnavailable,
    SecretConflict,
)
from rotated_secrets.delivery.target import DesiredSecret, LiveSecret, TargetKind, compare
from rotated_secrets.delivery.targets import TargetSecrets
from rotated_secrets.values import Arn, SecretText, VersionId
from sandbox.kubernetes.client import Api, Json
from sandbox.kubernetes.provider import Cluster
from sandbox.stack import install_crd

CANARY = "cAnArY-4711"
ADOPT = "rotatedsecrets.io/adopt"


@pytest.fixture(scope="module")
def secrets(cluster: Cluster) -> Iterator[TargetSecrets]:
    with _connected(cluster_access.configuration(cluster.kubeconfig, None)) as connected:
        yield TargetSecrets(connected)


@contextmanager
def _connected(configuration: client.Configuration, timeout: float = 10) -> Iterator[connection.Cluster]:
    with closing(connection.Cluster(configuration, timeout=timeout, connections=4, retries=0)) as connected:
        yield connected


@pytest.fixture(scope="module")
def installed(cluster: Cluster, api: Api) -> Api:
    install_crd(cluster)
    return api


def _owner_path(namespace: str) -> str:
    return f"/apis/{names.API_VERSION}/namespaces/{namespace}/{names.PLURAL}"


@pytest.fixture
def desired(installed: Api, namespace: str) -> DesiredSecret:
    """Wanted by a RotatedSecret that exists, so that a garbage collector lets it live."""
    spec = {"source": {"secretId": "shop/orders"}, "rotation": {"strategy": "SingleUser"}}
    body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": "orders-db"}, "spec": spec}
    owner = installed.create(_owner_path(namespace), body)
    return DesiredSecret(
        namespace=namespace,
        name="orders",
        owner_name="orders-db",
        owner_uid=owner["metadata"]["uid"],
        type="Opaque",
        data={"password": SecretText(CANARY), "username": SecretText("örders")},
        labels={"team": "orders"},
        annotations={"example.org/a": "1"},
        version_id=VersionId("v1"),
        secret_arn=Arn("arn:1"),
        rotated_at=datetime(2026, 11, 22, 2, tzinfo=UTC),
    )


def _path(namespace: str, *name: str) -> str:
    return "/".join([f"/api/v1/namespaces/{namespace}/secrets", *name])


def _texts(api: Api, desired: DesiredSecret) -> dict[str, str]:
    data = api.get(_path(desired.namespace, desired.name)).get("data", {})
    return {key: base64.b64decode(text).decode() for key, text in data.items()}


def _make(api: Api, namespace: str, texts: Json | None = None, **metadata: object) -> None:
    body = {"metadata": {"name": "orders", **metadata}, "stringData": texts or {"theirs": "1"}}
    api.create(_path(namespace), body)


def _edit(api: Api, desired: DesiredSecret, change: Json) -> None:
    api.patch(_path(desired.namespace, desired.name), change)


def _current(secrets: TargetSecrets, desired: DesiredSecret) -> LiveSecret:
    live = secrets.read(desired.namespace, desired.name)
    assert live is not None
    return live


def test_what_is_written_is_read_back_as_equal(secrets: TargetSecrets, api: Api, desired: DesiredSecret) -> None:
    assert secrets.read(desired.namespace, desired.name) is None
    written = secrets.write(desired, None)
    assert compare(written, desired).kind is TargetKind.EQUAL
    assert compare(_current(secrets, desired), desired).kind is TargetKind.EQUAL
    assert _texts(api, desired) == {"password": CANARY, "username": "örders"}


def test_the_owner_reference_is_taken_and_taken_off_again(secrets: TargetSecrets, desired: DesiredSecret) -> None:
    owned = secrets.write(desired, None)
    (reference,) = owned.owner_references
    assert reference["controller"] is True
    assert not reference.get("blockOwnerDeletion")
    retained = secrets.write(replace(desired, deletion_policy=DeletionPolicy.RETAIN), owned)
    assert retained.owner_references == ()


def test_the_secret_goes_with_its_rotated_secret(
    cluster: Cluster, secrets: TargetSecrets, api: Api, desired: DesiredSecret
) -> None:
    if not cluster.has_garbage_collector:
        pytest.skip("a control plane without its controller manager collects nothing")
    secrets.write(desired, None)
    api.delete(f"{_owner_path(desired.namespace)}/orders-db")
    cluster.kubectl("wait", "--for=delete", f"secret/{desired.name}", "-n", desired.namespace, "--timeout=60s")
    assert secrets.read(desired.namespace, desired.name) is None


def test_an_edit_is_put_right(secrets: TargetSecrets, api: Api, desired: DesiredSecret) -> None:
    secrets.write(desired, None)
    edit = {
        "metadata": {"labels": {"app.kubernetes.io/managed-by": None, "velero": "yes"}},
        "stringData": {"password": "mine", "more": "x"},
    }
    _edit(api, desired, edit)
    live = _current(secrets, desired)
    state = compare(live, desired)
    assert (state.kind, state.version_id) == (TargetKind.DIFFERS, "v1")
    repaired = secrets.write(desired, live)
    assert compare(repaired, desired).kind is TargetKind.EQUAL
    assert repaired.labels["velero"] == "yes"
    assert _texts(api, desired) == {"password": CANARY, "username": "örders"}


def test_a_secret_that_is_not_ours_is_left_as_it_is(secrets: TargetSecrets, api: Api, desired: DesiredSecret) -> None:
    _make(api, desired.namespace)
    with pytest.raises(SecretConflict) as caught:
        secrets.write(desired, _current(secrets, desired))
    assert caught.value.reason is Reason.NOT_OURS
    assert _texts(api, desired) == {"theirs": "1"}


def test_a_secret_that_appears_in_between_is_left_as_it_is(
    secrets: TargetSecrets, api: Api, desired: DesiredSecret
) -> None:
    _make(api, desired.namespace)
    with pytest.raises(DeliveryUnavailable):
        secrets.write(desired, None)
    assert _texts(api, desired) == {"theirs": "1"}


def test_a_secret_that_changes_in_between_is_left_as_it_is(
    secrets: TargetSecrets, api: Api, desired: DesiredSecret
) -> None:
    live = secrets.write(desired, None)
    _edit(api, desired, {"stringData": {"password": "mine"}})
    with pytest.raises(DeliveryUnavailable):
        secrets.write(replace(desired, version_id=VersionId("v2")), live)
    assert _texts(api, desired)["password"] == "mine"


def test_a_secret_that_is_another_by_now_is_left_as_it_is(
    secrets: TargetSecrets, api: Api, desired: DesiredSecret
) -> None:
    old = secrets.write(desired, None)
    api.delete(_path(desired.namespace, desired.name))
    with pytest.raises(DeliveryUnavailable):
        secrets.write(replace(desired, version_id=VersionId("v2")), old)
    _make(api, desired.namespace)
    same_version = replace(old, resource_version=_current(secrets, desired).resource_version)
    with pytest.raises(DeliveryUnavailable):
        secrets.write(replace(desired, version_id=VersionId("v2")), same_version)
    assert _texts(api, desired) == {"theirs": "1"}


def test_adoption_with_consent_and_merge(secrets: TargetSecrets, api: Api, desired: DesiredSecret) -> None:
    _make(api, desired.namespace, annotations={ADOPT: "orders-db"}, labels={"keep": "me"})
    merging = replace(desired, creation_policy=CreationPolicy.MERGE, deletion_policy=DeletionPolicy.RETAIN)
    secrets.write(merging, _current(secrets, desired))
    assert _texts(api, desired) == {"theirs": "1", "password": CANARY, "username": "örders"}
    owned = secrets.write(desired, _current(secrets, desired))
    assert _texts(api, desired) == {"password": CANARY, "username": "örders"}
    assert owned.labels["keep"] == "me"


def test_an_immutable_secret_is_a_conflict_before_the_api_server_says_so(
    secrets: TargetSecrets, api: Api, desired: DesiredSecret
) -> None:
    secrets.write(desired, None)
    _edit(api, desired, {"immutable": True})
    with pytest.raises(SecretConflict, match="is immutable"):
        secrets.write(desired, _current(secrets, desired))


def test_a_type_is_never_changed(secrets: TargetSecrets, desired: DesiredSecret) -> None:
    secrets.write(desired, None)
    with pytest.raises(SecretConflict) as caught:
        secrets.write(replace(desired, type="kubernetes.io/basic-auth"), _current(secrets, desired))
    assert caught.value.reason is Reason.SECRET_TYPE_IMMUTABLE


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("kubernetes.io/basic-auth", {"password": "x"}),
        ("kubernetes.io/tls", {"tls.crt": "", "tls.key": ""}),
        ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": '{"auths":{}}'}),
        ("kubernetes.io/ssh-auth", {"ssh-privatekey": "x"}),
    ],
)
def test_each_type_is_taken(secrets: TargetSecrets, desired: DesiredSecret, kind: str, keys: dict[str, str]) -> None:
    typed = replace(desired, type=kind, data={key: SecretText(text) for key, text in keys.items()})
    assert compare(secrets.write(typed, None), typed).kind is TargetKind.EQUAL


def test_what_the_api_server_refuses_is_told_by_field_without_the_value(
    secrets: TargetSecrets, desired: DesiredSecret
) -> None:
    bad = replace(desired, data={"not a key": SecretText(CANARY)}, labels={"team": f"{CANARY} {CANARY}"})
    with pytest.raises(DeliveryRefused) as caught:
        secrets.write(bad, None)
    assert CANARY not in str(caught.value)
    assert base64.b64encode(CANARY.encode()).decode() not in str(caught.value)
    assert caught.value.__context__ is None


def test_what_the_role_forbids_is_told_with_the_verb(cluster: Cluster, desired: DesiredSecret) -> None:
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    kubeconfig = cluster.operator_kubeconfig(rules, desired.namespace, cluster_wide=False)
    with _connected(cluster_access.configuration(kubeconfig, None)) as connected:
        secrets = TargetSecrets(connected)
        assert secrets.read(desired.namespace, desired.name) is None
        with pytest.raises(DeliveryDenied, match="may not create Secrets in namespace"):
            secrets.write(desired, None)


def test_an_api_server_that_does_not_answer_is_unavailable(desired: DesiredSecret) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        configuration = client.Configuration(host=f"http://127.0.0.1:{silent.getsockname()[1]}")
        with _connected(configuration, 0.2) as connected, pytest.raises(DeliveryUnavailable, match="did not answer"):
            TargetSecrets(connected).read(desired.namespace, desired.name)


def test_a_namespace_that_does_not_exist_is_unavailable(secrets: TargetSecrets, desired: DesiredSecret) -> None:
    with pytest.raises(DeliveryError):
        secrets.write(replace(desired, namespace="nowhere"), None)


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog


def test_no_log_holds_what_was_written(
    everything_logged: pytest.LogCaptureFixture, secrets: TargetSecrets, desired: DesiredSecret
) -> None:
    secrets.write(desired, None)
    secrets.read(desired.namespace, desired.name)
    assert base64.b64encode(CANARY.encode()).decode() not in everything_logged.text
    assert CANARY not in everything_logged.text


def test_certificate_authorities_are_read_and_nothing_else(secrets: TargetSecrets, api: Api, namespace: str) -> None:
    pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    _make(api, namespace, {"ca.crt": pem}, name="rds-ca")
    _make(api, namespace, {"ca.crt": CANARY}, name="other")
    assert secrets.certificate_authorities(namespace, "rds-ca") == pem
    with pytest.raises(DeliveryRefused, match="does not exist"):
        secrets.certificate_authorities(namespace, "nowhere")
    with pytest.raises(DeliveryRefused, match="holds no PEM certificates") as caught:
        secrets.certificate_authorities(namespace, "other")
    assert CANARY not in str(caught.value)


def test_immutable_secret_is_replaced_by_one_with_the_new_value(
    secrets: TargetSecrets, api: Api, desired: DesiredSecret
) -> None:
    fixed = replace(desired, immutable=True)
    first = secrets.write(fixed, None)
    assert api.get(_path(desired.namespace, desired.name))["immutable"] is True
    _edit(api, desired, {"metadata": {"labels": {"velero": "yes"}}})
    relabelled = secrets.write(replace(fixed, labels={"team": "b"}), _current(secrets, desired))
    assert relabelled.uid == first.uid, "metadata can be changed"
    new = replace(fixed, data={"password": SecretText("new")}, version_id=VersionId("v2"))
    second = secrets.write(new, relabelled)
    assert second.uid != first.uid
    assert compare(_current(secrets, desired), new).kind is TargetKind.EQUAL
    assert (second.labels["velero"], _texts(api, desired)) == ("yes", {"password": "new"})
    typed = secrets.write(replace(new, type="example.org/a"), second)
    assert (typed.type, typed.immutable) == ("example.org/a", True)


def test_secret_that_changed_since_it_was_read_is_not_deleted(
    secrets: TargetSecrets, api: Api, desired: DesiredSecret
) -> None:
    fixed = replace(desired, immutable=True)
    first = secrets.write(fixed, None)
    _edit(api, desired, {"metadata": {"labels": {"theirs": "1"}}})
    with pytest.raises(DeliveryUnavailable, match="changed in the meantime"):
        secrets.write(replace(fixed, data={"password": SecretText("new")}), first)
    assert _current(secrets, desired).uid == first.uid


def test_secret_whose_deletion_waits_is_not_written_until_it_is_gone(
    secrets: TargetSecrets, api: Api, desired: DesiredSecret
) -> None:
    fixed = replace(desired, immutable=True)
    secrets.write(fixed, None)
    _edit(api, desired, {"metadata": {"finalizers": ["example.org/hold"]}})
    new = replace(fixed, data={"password": SecretText("new")})
    with pytest.raises(DeliveryUnavailable):
        secrets.write(new, _current(secrets, desired))
    with pytest.raises(SecretConflict, match=r"waits for example\.org/hold"):
        secrets.write(new, _current(secrets, desired))
    _edit(api, desired, {"metadata": {"finalizers": None}})
    assert secrets.read(desired.namespace, desired.name) is None
    secrets.write(new, None)
    assert _texts(api, desired) == {"password": "new"}


def test_bytes_that_are_no_text_are_delivered_as_they_are(
    secrets: TargetSecrets, api: Api, desired: DesiredSecret
) -> None:
    content = bytes(range(256))
    binary = replace(desired, data={"keystore": SecretText(content.decode(errors="surrogateescape"))})
    secrets.write(binary, None)
    assert base64.b64decode(api.get(_path(desired.namespace, desired.name))["data"]["keystore"]) == content
    assert compare(_current(secrets, desired), binary).kind is TargetKind.EQUAL
