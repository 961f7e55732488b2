"""A target Secret that would be, or has become, too large: its author is told so before it is written."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from rotated_secrets.cluster import MOST_VALUES
from rotated_secrets.delivery.render import MAX_SECRET, MOST_KEYS
from rotated_secrets.delivery.targets import MOST_ENTRIES
from rotated_secrets.values import Stage
from tests.support.fake_operator import KEY, SPEC, FakeOperator, changed, killed_at, with_admin

SECRET = "/api/v1/namespaces/shop/secrets/orders"
MERGE = changed(SPEC, target={"creationPolicy": "Merge", "deletionPolicy": "Retain"})
ADOPT = {"rotatedsecrets.io/adopt": "orders"}


def many(count: int) -> dict[str, str]:
    return {f"key-{number}": "" for number in range(count)}


def with_keys(operator: FakeOperator, count: int) -> FakeOperator:
    """The secret's value has this many keys more than its credential."""
    operator.secret(value=operator.credential(**many(count)))
    operator.secret("shop/admin/orders", operator.credential("admin", "of-the-admin"))
    return operator


@pytest.mark.parametrize("template", [{}, {"URL": "{{ password }}"}])
def test_value_with_too_many_keys_is_told_before_anything_is_written(
    operator: FakeOperator, template: dict[str, str]
) -> None:
    with_keys(operator, 5_000).apply(changed(SPEC, target={"template": template}))
    operator.settle()
    count = 5_005 + len(template)
    status, reason, message = operator.condition("Synced")
    assert (status, reason) == ("False", "TemplateFailed")
    assert f"the Secret would have {count} keys, 5005 of them of the secret value, and {MOST_KEYS} at most" in message
    assert "write includeKeys: None and a template" in message and "key-" not in message
    assert operator.condition()[0] == "False"
    assert not [path for _, path in operator.cluster.writes if "/secrets" in path]


def test_value_with_too_many_keys_is_delivered_by_a_template_of_those_that_are_used(operator: FakeOperator) -> None:
    spec = changed(SPEC, target={"includeKeys": "None", "template": {"URL": "{{ password }}"}})
    with_keys(operator, 5_000).apply(spec)
    operator.settle()
    assert operator.condition()[0] == "True"


def test_rotation_of_a_value_that_gets_too_many_keys_waits(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()
    operator.aws.find("shop/orders").put(operator.credential(**many(5_000)), "by-a-person")
    operator.ask("now")
    operator.services.look_again([KEY])
    operator.settle()
    status, reason, message = operator.condition("Held")
    assert (status, reason) == ("True", "Unsynced") and "at most are delivered" in message
    stages = operator.aws.find("shop/orders").stages
    assert not any(Stage.PENDING in labels for labels in stages.values())


FULL: dict[str, tuple[dict[str, Any], str]] = {
    "keys": (
        {"data": many(MOST_ENTRIES), "metadata": {}},
        f"keys, labels and annotations, and the operator reads {MOST_ENTRIES} at most",
    ),
    "labels": (
        {"data": {}, "metadata": {"labels": many(MOST_ENTRIES)}},
        f"keys, labels and annotations, and the operator reads {MOST_ENTRIES} at most",
    ),
    "bytes": (
        {"data": {"theirs": base64.b64encode(b"x" * MAX_SECRET).decode()}, "metadata": {}},
        f"bytes, and Kubernetes accepts {MAX_SECRET} at most",
    ),
    "bytes of annotations": (
        {"data": {}, "metadata": {"annotations": {"example.org/notes": "x" * 262_000}}},
        "bytes of annotations, and Kubernetes accepts 262144 at most",
    ),
}


@pytest.mark.parametrize(("secret", "said"), FULL.values(), ids=FULL)
def test_secret_of_others_that_has_no_place_for_the_keys_is_told_and_left_unchanged(
    operator: FakeOperator, secret: dict[str, Any], said: str
) -> None:
    annotations = ADOPT | secret["metadata"].get("annotations", {})
    operator.cluster.put(SECRET, {**secret, "metadata": secret["metadata"] | {"annotations": annotations}})
    with_admin(operator).apply(MERGE)
    operator.settle()
    status, reason, message = operator.condition("Synced")
    assert (status, reason) == ("False", "SyncFailed")
    assert message.startswith("Secret shop/orders, with what others wrote into it, would have ") and said in message
    assert not [path for _, path in operator.cluster.writes if "/secrets" in path]


def test_secret_that_others_made_too_large_to_read_is_told_and_read_again(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()
    before = operator.target()
    assert before is not None
    operator.cluster.put(SECRET, before | {"data": many(MOST_VALUES)})
    operator.reconcile()
    for kind in ("Ready", "Synced"):
        status, reason, message = operator.condition(kind)
        assert (status, reason) == ("False", "SyncFailed")
        assert "get Secret shop/orders: it has more than" in message and "remove keys, labels or annotations" in message
        assert "did not answer" not in message
    operator.cluster.put(SECRET, before)
    operator.settle()
    assert operator.condition()[0] == "True"


def test_secret_that_grew_while_it_was_written_is_told(operator: FakeOperator) -> None:
    """By an admission webhook, for example: it was written, and cannot be read."""

    def grow(method: str, path: str) -> None:
        if "/secrets" in path:
            operator.cluster.objects[SECRET]["metadata"]["labels"] = many(MOST_VALUES)

    operator.cluster.after_write = grow
    with_admin(operator).apply(SPEC)
    operator.reconcile()
    status, reason, message = operator.condition("Synced")
    assert (status, reason) == ("False", "SyncFailed")
    assert "create Secret shop/orders: it was written, but cannot be read: it has more than" in message


def test_target_that_cannot_be_read_stops_no_end_of_a_rotation_whose_resource_is_deleted(
    operator: FakeOperator,
) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()
    later = killed_at(operator, "UpdateSecretVersionStage")
    later.cluster.objects[SECRET]["data"] = many(MOST_VALUES)
    later.delete()
    later.reconcile()
    stages = operator.aws.find("shop/orders").stages
    assert not any(Stage.PENDING in labels for labels in stages.values())
    assert not [path for path in operator.cluster.objects if "/configmaps" in path]


def test_largest_secret_that_is_written_can_be_read(operator: FakeOperator) -> None:
    """The API server's answer has its managedFields, which name every key once more."""
    theirs = many(MOST_ENTRIES - 20)
    fields: dict[str, Any] = {"f:data": {".": {}, **{f"f:{key}": {} for key in theirs}}}
    managed = [{"manager": "kubectl-create", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields}]
    operator.cluster.put(SECRET, {"data": theirs, "metadata": {"annotations": ADOPT, "managedFields": managed}})
    with_admin(operator).apply(MERGE)
    # A Secret keeps its managedFields when it is written.
    operator.cluster.after_write = lambda method, path: (
        operator.cluster.objects[SECRET]["metadata"].update(managedFields=managed) if "/secrets" in path else None
    )
    operator.settle()
    assert operator.condition()[0] == "True"
    written = operator.target()
    assert written is not None and len(written["data"]) == len(theirs) + 5
