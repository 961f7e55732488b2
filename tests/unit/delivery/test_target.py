"""Who owns a Secret, when it differs, and which changes by others a write keeps."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.status import Reason
from rotated_secrets.api.target import CreationPolicy, DeletionPolicy
from rotated_secrets.delivery.target import DesiredSecret, LiveSecret, TargetKind, applied, compare, replacement
from rotated_secrets.values import Arn, SecretText, VersionId

CANARY = "cAnArY-4711"
ADOPT = "rotatedsecrets.io/adopt"
OWNER = "rotatedsecrets.io/owner"
MANAGED_BY = "app.kubernetes.io/managed-by"


def _desired(data: Mapping[str, str] | None = None, **changes: Any) -> DesiredSecret:
    whole = DesiredSecret(
        namespace="shop",
        name="orders",
        owner_name="orders-db",
        owner_uid="uid-1",
        type="Opaque",
        data={key: SecretText(text) for key, text in (data or {"password": CANARY}).items()},
        labels={},
        annotations={},
        version_id=VersionId("v1"),
        secret_arn=Arn("arn:1"),
        rotated_at=datetime(2026, 11, 22, 2, tzinfo=UTC),
    )
    return replace(whole, **changes)


def _live(data: Mapping[str, str] | None = None, **changes: Any) -> LiveSecret:
    encoded = {key: SecretText(base64.b64encode(text.encode()).decode()) for key, text in (data or {}).items()}
    return replace(
        LiveSecret("shop", "orders", "Opaque", {}, {}, (), encoded, uid="s-1", resource_version="1"), **changes
    )


def _texts(secret: LiveSecret) -> dict[str, str]:
    return {key: base64.b64decode(text.reveal()).decode() for key, text in secret.data.items()}


MERGE: dict[str, Any] = {"creation_policy": CreationPolicy.MERGE, "deletion_policy": DeletionPolicy.RETAIN}


def test_missing_secret_is_absent_and_equal_after_a_write() -> None:
    assert compare(None, _desired()).kind is TargetKind.ABSENT
    state = compare(applied(None, _desired()), _desired())
    assert (state.kind, state.version_id) == (TargetKind.EQUAL, "v1")


@pytest.mark.parametrize(
    ("known", "kept"),
    [
        ("2026-11-22T02:04:59Z", True),
        ("2026-11-22T01:55:01Z", True),
        ("2027-11-22T02:00:00Z", False),
        ("1990-01-01T00:00:00Z", False),
        ("2026-11-22T02:00:00", False),
        ("yesterday", False),
    ],
)
def test_time_of_a_version_that_a_wrong_clock_has_written_is_corrected(known: str, kept: bool) -> None:
    """Two clocks that differ a little do not write against each other."""
    rotated_at = "rotatedsecrets.io/rotated-at"
    live = applied(None, _desired())
    live = replace(live, annotations={**live.annotations, rotated_at: known})
    assert applied(live, _desired()).annotations[rotated_at] == (known if kept else "2026-11-22T02:00:00Z")
    assert (compare(live, _desired()).kind is TargetKind.EQUAL) is kept


def test_written_secret_names_its_owner_and_version() -> None:
    body = applied(None, _desired(labels={"team": "a"})).manifest()
    assert body["metadata"]["labels"] == {"team": "a", MANAGED_BY: "rotated-secrets"}
    annotations = body["metadata"]["annotations"]
    assert annotations[OWNER] == "shop/orders-db"
    assert annotations["rotatedsecrets.io/version-id"] == "v1"
    assert annotations["rotatedsecrets.io/secret-arn"] == "arn:1"
    assert annotations["rotatedsecrets.io/rotated-at"] == "2026-11-22T02:00:00Z"
    assert body["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "rotatedsecrets.io/v1alpha1",
            "kind": "RotatedSecret",
            "name": "orders-db",
            "uid": "uid-1",
            "controller": True,
        }
    ]
    assert "uid" not in body["metadata"], "a Secret that is made has no precondition but that there is none"


def test_existing_secret_is_not_ours_and_the_message_says_how_to_hand_it_over() -> None:
    state = compare(_live({"password": CANARY}), _desired())
    assert (state.kind, state.reason, state.version_id) == (TargetKind.CONFLICT, Reason.NOT_OURS, None)
    assert "kubectl annotate secret -n shop orders rotatedsecrets.io/adopt=orders-db" in state.message


@pytest.mark.parametrize(
    "annotations",
    [
        {OWNER: "shop/other"},
        {OWNER: "other/orders-db"},
        {ADOPT: "other"},
        {ADOPT: "shop/orders-db"},
        {ADOPT: ""},
        {"rotatedsecrets.io/version-id": "v1"},
    ],
)
def test_no_other_annotation_allows_adoption(annotations: dict[str, str]) -> None:
    policies: tuple[dict[str, Any], ...] = ({}, MERGE)
    for policy in policies:
        state = compare(_live(annotations=annotations, labels={MANAGED_BY: "rotated-secrets"}), _desired(**policy))
        assert (state.kind, state.reason, state.version_id) == (TargetKind.CONFLICT, Reason.NOT_OURS, None)


def test_adoption_takes_over_also_from_another_rotated_secret() -> None:
    others = applied(None, _desired(owner_name="other", owner_uid="uid-2", labels={"theirs": "1"}))
    consenting = replace(others, annotations={**others.annotations, ADOPT: "orders-db"}, uid="s-1")
    assert compare(consenting, _desired()).kind is TargetKind.DIFFERS
    taken = applied(consenting, _desired())
    assert [reference["name"] for reference in taken.owner_references] == ["orders-db"]
    assert "theirs" not in taken.labels
    assert compare(taken, _desired(owner_name="other", owner_uid="uid-2")).reason is Reason.NOT_OURS


def test_recreated_rotated_secret_keeps_its_secret() -> None:
    again = _desired(owner_uid="uid-2")
    old = applied(None, _desired())
    assert compare(old, again).kind is TargetKind.DIFFERS
    assert [reference["uid"] for reference in applied(old, again).owner_references] == ["uid-2"]


def test_removed_owner_annotation_is_drift_while_the_owner_reference_exists() -> None:
    written = applied(None, _desired())
    bare = replace(written, annotations={})
    assert compare(bare, _desired()).kind is TargetKind.DIFFERS
    assert compare(replace(bare, owner_references=()), _desired()).reason is Reason.NOT_OURS
    assert compare(bare, _desired(owner_uid="uid-2")).reason is Reason.NOT_OURS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {}}, "key password is missing"),
        ({"data": {"password": SecretText("eA==")}}, "key password differs"),
        (
            {"data": {"password": SecretText("Y0FuQXJZLTQ3MTE="), "more": SecretText("eA==")}},
            "a key that no template names does not belong",
        ),
        ({"labels": {"team": "a"}}, f"label {MANAGED_BY} is missing"),
        ({"labels": {"team": "b", MANAGED_BY: "rotated-secrets"}}, "label team differs"),
        ({"owner_references": ()}, "the ownerReference is wrong"),
    ],
)
def test_drift_is_described_without_values_and_corrected(change: dict[str, Any], message: str) -> None:
    desired = _desired(labels={"team": "a"})
    drifted = replace(applied(None, desired), **change)
    state = compare(drifted, desired)
    assert (state.kind, state.version_id) == (TargetKind.DIFFERS, "v1")
    assert message in state.message
    assert CANARY not in state.message
    assert "eA==" not in state.message
    assert applied(drifted, desired) == applied(None, desired)


def test_a_new_version_differs() -> None:
    state = compare(applied(None, _desired()), _desired({"password": "new"}, version_id=VersionId("v2")))
    assert (state.kind, state.version_id) == (TargetKind.DIFFERS, "v1")


def test_labels_of_others_stay_and_own_labels_go_when_no_longer_wanted() -> None:
    first = applied(None, _desired(labels={"team": "a", "tier": "1"}, annotations={"example.org/a": "1"}))
    seen = replace(first, labels={**first.labels, "velero": "yes"}, annotations={**first.annotations, "kubectl": "x"})
    second = applied(seen, _desired(labels={"tier": "2"}))
    assert second.labels == {"tier": "2", "velero": "yes", MANAGED_BY: "rotated-secrets"}
    assert second.annotations["kubectl"] == "x"
    assert "example.org/a" not in second.annotations


def test_merge_changes_only_its_own_keys_and_removes_them_again() -> None:
    theirs = _live({"theirs": "1", "password": "old"}, annotations={ADOPT: "orders-db"}, labels={MANAGED_BY: "Helm"})
    merged = applied(theirs, _desired({"password": "new", "url": "x"}, **MERGE))
    assert _texts(merged) == {"theirs": "1", "password": "new", "url": "x"}
    assert merged.labels == {MANAGED_BY: "Helm"}
    assert merged.owner_references == ()
    fewer = applied(merged, _desired({"password": "newer"}, **MERGE))
    assert _texts(fewer) == {"theirs": "1", "password": "newer"}
    assert (
        compare(
            replace(fewer, data={**fewer.data, "late": SecretText("")}), _desired({"password": "newer"}, **MERGE)
        ).kind
        is TargetKind.EQUAL
    )


def test_merge_creates_no_secret() -> None:
    state = compare(None, _desired(**MERGE))
    assert (state.kind, state.reason) == (TargetKind.CONFLICT, Reason.SECRET_CONFLICT)
    assert "does not exist" in state.message


def test_merge_accepts_every_type_except_cluster_tokens() -> None:
    consenting = _live(annotations={ADOPT: "orders-db"}, type="example.org/anything")
    assert compare(consenting, _desired(**MERGE)).kind is TargetKind.DIFFERS
    token = replace(consenting, type="kubernetes.io/service-account-token")
    assert compare(token, _desired(**MERGE)).reason is Reason.SECRET_CONFLICT


def test_a_type_cannot_be_changed_and_says_what_to_do() -> None:
    state = compare(applied(None, _desired()), _desired(type="kubernetes.io/basic-auth"))
    assert (state.kind, state.reason) == (TargetKind.CONFLICT, Reason.SECRET_TYPE_IMMUTABLE)
    assert "delete the Secret, and it is created again" in state.message
    assert state.version_id == "v1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"immutable": True}, "is immutable"),
        ({"deleting": True, "finalizers": ("example.org/hold",)}, "waits for example.org/hold"),
        (
            {"owner_references": ({"kind": "SealedSecret", "name": "s", "uid": "u", "controller": True},)},
            "is controlled by SealedSecret s",
        ),
    ],
)
def test_secret_that_cannot_be_written_is_a_conflict_even_without_changes(change: dict[str, Any], message: str) -> None:
    state = compare(replace(applied(None, _desired()), **change), _desired())
    assert (state.kind, state.reason) == (TargetKind.CONFLICT, Reason.SECRET_CONFLICT)
    assert message in state.message


def test_immutable_secret_is_replaced_only_where_its_values_or_type_change() -> None:
    desired = _desired(immutable=True)
    live = replace(applied(None, desired), uid="s-1", resource_version="7", finalizers=("example.org/hold",))
    assert live.manifest()["immutable"] is True
    assert compare(live, desired).kind is TargetKind.EQUAL
    relabelled = applied(live, _desired(immutable=True, labels={"team": "b"}))
    assert replacement(live, relabelled) is None, "the API server lets metadata change"
    for changed in (_desired({"password": "new"}, immutable=True), _desired(immutable=True, type="example.org/a")):
        assert compare(live, changed).kind is TargetKind.DIFFERS
        new = replacement(live, applied(live, changed))
        assert new is not None
        assert (new.uid, new.resource_version, new.finalizers, new.immutable) == ("", "", (), True)
        assert new.annotations == applied(live, changed).annotations


def test_secret_becomes_immutable_by_an_update() -> None:
    live = applied(None, _desired())
    state = compare(live, _desired(immutable=True))
    assert (state.kind, state.message) == (TargetKind.DIFFERS, "Secret shop/orders: it is not immutable")
    written = applied(live, _desired({"password": "new"}, immutable=True))
    assert written.immutable
    assert replacement(live, written) is None
    assert replacement(None, written) is None


def test_immutable_secret_of_others_is_not_replaced_without_consent() -> None:
    theirs = _live({"theirs": "1"}, immutable=True)
    assert compare(theirs, _desired(immutable=True)).reason is Reason.NOT_OURS
    consenting = replace(theirs, annotations={ADOPT: "orders-db"})
    assert compare(consenting, _desired(immutable=True)).kind is TargetKind.DIFFERS
    state = compare(consenting, _desired())
    assert "is immutable" in state.message and "write target.immutable: true" in state.message


def test_other_owners_that_do_not_control_it_stay() -> None:
    release = {"kind": "Release", "apiVersion": "example.org/v1", "name": "r", "uid": "u"}
    adopted = applied(_live(annotations={ADOPT: "orders-db"}, owner_references=(release,)), _desired())
    assert [reference["kind"] for reference in adopted.owner_references] == ["Release", "RotatedSecret"]


def test_deletion_policy_can_be_switched_back_and_forth() -> None:
    delete, retain = _desired(), _desired(deletion_policy=DeletionPolicy.RETAIN)
    owned = applied(None, delete)
    assert compare(owned, retain).kind is TargetKind.DIFFERS
    kept = applied(owned, retain)
    assert kept.owner_references == ()
    assert compare(kept, retain).kind is TargetKind.EQUAL
    assert applied(kept, delete).owner_references == owned.owner_references


@pytest.mark.parametrize(
    "memory", ["", "nonsense", "[]", '{"data": 3}', '{"data": [[]]}', '{"labels": null}', "[" * 100_000]
)
def test_edited_record_of_written_keys_is_corrected(memory: str) -> None:
    written = applied(None, _desired())
    forged = replace(written, annotations={**written.annotations, "rotatedsecrets.io/written": memory})
    assert compare(forged, _desired()).kind is TargetKind.DIFFERS
    assert applied(forged, _desired()) == written


def test_no_secret_prints_its_data() -> None:
    written = applied(None, _desired())
    assert CANARY not in repr((written, _desired()))
    assert base64.b64encode(CANARY.encode()).decode() not in repr(written)


@pytest.mark.parametrize("kind", ["basic-auth", "kubernetes.io/basic-auth"])
def test_desired_secret_follows_the_resource(kind: str) -> None:
    target = {"type": kind, "labels": {"a": "b"}, "deletionPolicy": "Retain"}
    resource = RotatedSecret.parse(
        {
            "metadata": {
                "namespace": "shop",
                "name": "orders-db",
                "uid": "uid-1",
                "resourceVersion": "1",
                "creationTimestamp": "2026-11-22T02:00:00Z",
            },
            "spec": {"source": {"secretId": "a"}, "rotation": {"strategy": "SingleUser"}, "target": target},
        }
    )
    desired = DesiredSecret.of(
        resource, {}, version_id=VersionId("v1"), secret_arn=Arn("arn:1"), rotated_at=resource.created_at
    )
    assert (desired.name, desired.owner, desired.type) == ("orders-db", "shop/orders-db", "kubernetes.io/basic-auth")
    assert desired.deletion_policy is DeletionPolicy.RETAIN


_WORDS = st.sampled_from(["a", "b", "c", MANAGED_BY])
_MAPS = st.dictionaries(_WORDS, st.sampled_from(["1", "2"]), max_size=3)
_REFERENCES = st.lists(
    st.sampled_from(
        [
            {"kind": "Release", "apiVersion": "v1", "name": "r", "uid": "u"},
            {"kind": "RotatedSecret", "apiVersion": "rotatedsecrets.io/v1alpha1", "name": "orders-db", "uid": "uid-1"},
            {
                "kind": "RotatedSecret",
                "apiVersion": "rotatedsecrets.io/v1",
                "name": "x",
                "uid": "y",
                "controller": True,
            },
        ]
    ),
    max_size=2,
).map(tuple)
_OWN = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["1", "2"]), max_size=3)
_POLICIES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, MERGE, {"deletion_policy": DeletionPolicy.RETAIN}, {"immutable": True}]
)


@given(data=st.data())
def test_written_secret_is_equal_whatever_was_there_before(data: st.DataObject) -> None:
    draw = data.draw
    memory = draw(
        st.sampled_from([{}, {"rotatedsecrets.io/written": '{"labels":["a"],"annotations":["b"],"data":["c"]}'}])
    )
    live = _live(
        draw(_MAPS),
        labels=draw(_MAPS),
        annotations={**draw(_MAPS), **memory, ADOPT: "orders-db"},
        owner_references=draw(_REFERENCES),
    )
    for _ in range(2):
        desired = _desired(draw(_OWN) or {"a": ""}, labels=draw(_OWN), annotations=draw(_OWN), **draw(_POLICIES))
        live = applied(live, desired)
        assert compare(live, desired).kind is TargetKind.EQUAL
        assert applied(live, desired) == live
