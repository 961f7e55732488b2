"""The way in for those who have something already, step by step as docs/adopting.md has it: by kubectl alone."""

from __future__ import annotations

import base64
import json

import pytest
import yaml

from sandbox.kubernetes.client import Json
from sandbox.waiting import eventually
from tests.support.applied import Applied, as_delivered

pytestmark = pytest.mark.usefixtures("operator")


def kubectl(orders: Applied, *arguments: str, stdin: str | None = None) -> str:
    return orders.stack.cluster.kubectl("-n", orders.application.namespace, *arguments, stdin=stdin).stdout


def apply(orders: Applied, manifest: Json) -> None:
    kubectl(orders, "apply", "-f", "-", stdin=yaml.safe_dump(manifest))


def has_secret(orders: Applied, **metadata: object) -> None:
    """What somebody had written there, with a key of its own that no value has."""
    held = as_delivered(orders.application.value()) | {"DATABASE_NAME": "shop"}
    named = {"name": orders.application.name, **metadata}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": named, "stringData": held}
    # Else kubectl keeps the values in an annotation.
    kubectl(orders, "apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(secret))


def look_again(orders: Applied, mark: str) -> None:
    kubectl(orders, "annotate", "rotatedsecret", orders.application.name, f"rotatedsecrets.io/resync={mark}")


def hand_over(orders: Applied) -> None:
    name = orders.application.name
    kubectl(orders, "annotate", "secret", name, f"rotatedsecrets.io/adopt={name}")


def test_secret_that_a_team_has_is_handed_over_by_the_command_that_the_message_names(orders: Applied) -> None:
    has_secret(orders)
    before = orders.secret()
    apply(orders, orders.application.manifest({"target": {"template": {"DATABASE_NAME": "{{ dbname }}"}}}))
    told = orders.until("Synced", "False", "NotOurs")["message"]
    assert orders.secret() == before
    command = told.partition("kubectl ")[2].partition(";")[0]
    orders.stack.cluster.kubectl(*command.split())
    look_again(orders, "1")
    orders.until_ready()
    assert orders.secret() == before, "pods that read it notice nothing"
    kubectl(orders, "annotate", "rotatedsecret", orders.application.name, "rotatedsecrets.io/rotate=1")
    orders.until_served("1")
    assert orders.secret() == as_delivered(orders.application.value()) | {"DATABASE_NAME": "shop"}


def test_helms_secret_stays_helms_and_gets_the_values_keys(orders: Applied) -> None:
    """Annotated beforehand, as a chart's own template would have it, so that it is taken without a stop."""
    name = orders.application.name
    helm = {"app.kubernetes.io/managed-by": "Helm"}
    has_secret(orders, labels=helm, annotations={"rotatedsecrets.io/adopt": name})
    apply(orders, orders.application.manifest({"target": {"creationPolicy": "Merge", "deletionPolicy": "Retain"}}))
    orders.until_ready()
    kubectl(orders, "annotate", "rotatedsecret", name, "rotatedsecrets.io/rotate=1")
    orders.until_served("1")
    assert orders.secret() == as_delivered(orders.application.value()) | {"DATABASE_NAME": "shop"}
    metadata = orders.api.get(orders.secret_path)["metadata"]
    assert metadata["labels"] == helm
    assert "ownerReferences" not in metadata


def test_secret_of_another_operator_is_taken_over_once_that_has_let_go(orders: Applied) -> None:
    name = f"owner-of-{orders.application.name}"
    owner = orders.api.create(
        orders.secret_path.rpartition("/secrets/")[0] + "/configmaps", {"metadata": {"name": name}}
    )
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": owner["metadata"]["uid"]}
    has_secret(orders, ownerReferences=[reference | {"controller": True}])
    hand_over(orders)
    apply(orders, orders.application.manifest())
    told = orders.until("Synced", "False", "SecretConflict")["message"]
    assert f"controlled by ConfigMap {name}" in told
    kubectl(
        orders,
        "patch",
        "secret",
        orders.application.name,
        "--type=merge",
        "-p",
        '{"metadata":{"ownerReferences":null}}',
    )
    look_again(orders, "1")
    orders.until_ready()
    assert orders.secret() == as_delivered(orders.application.value())


def test_secret_that_a_lambda_rotates_is_delivered_and_rotated_here_once_that_is_cancelled(orders: Applied) -> None:
    client = orders.application.store.client()
    function = "arn:aws:lambda:eu-west-1:123456789012:function:rotate"
    client.rotate_secret(SecretId=orders.application.secret_id, RotationLambdaARN=function, RotateImmediately=False)
    apply(orders, orders.application.manifest())
    held = orders.until("Held", "True", "ManagedElsewhere")
    assert "aws secretsmanager cancel-rotate-secret" in held["message"]
    orders.until_ready()
    assert orders.secret() == as_delivered(orders.application.value())
    client.cancel_rotate_secret(SecretId=orders.application.secret_id)
    look_again(orders, "1")
    orders.until("Held", "False")
    kubectl(orders, "annotate", "rotatedsecret", orders.application.name, "rotatedsecrets.io/rotate=1")
    orders.until_served("1")


def test_admin_secret_is_rotated_and_delivered_nowhere(orders: Applied) -> None:
    application = orders.application
    client = application.store.client()

    def admin() -> Json:
        found: Json = json.loads(client.get_secret_value(SecretId=application.admin_secret_id)["SecretString"])
        return found

    before = admin()
    manifest = application.manifest(
        {
            "source": {"secretId": application.admin_secret_id},
            "rotation": {"strategy": "SingleUser"},
            "target": {"creationPolicy": "None"},
        }
    )
    apply(orders, manifest)
    orders.until_ready()
    kubectl(orders, "annotate", "rotatedsecret", application.name, "rotatedsecrets.io/rotate=1")
    orders.until_served("1")
    after = admin()
    assert after["username"] == before["username"]
    assert after["password"] != before["password"]
    assert orders.secret() is None
    named = base64.b64encode(after["password"].encode()).decode()
    listed = orders.api.get(f"/api/v1/namespaces/{application.namespace}/secrets")["items"]
    assert all(named not in (each.get("data") or {}).values() for each in listed)
    eventually(lambda: "RotationSucceeded" in orders.reasons(), "it is told")

    user = application.manifest() | {
        "metadata": {"name": f"{application.name}-app", "namespace": application.namespace}
    }
    apply(orders, user)
    try:
        path = f"{orders.path}/{application.name}-app"
        orders.api.patch(path, {"metadata": {"annotations": {"rotatedsecrets.io/rotate": "2"}}})
        eventually(
            lambda: ((orders.api.get(path).get("status") or {}).get("handledRequests") or {}).get("rotate") == "2",
            "the new password administers",
        )
        assert application.value()["username"] == application.clone
    finally:
        kubectl(orders, "delete", "rotatedsecret", f"{application.name}-app")
