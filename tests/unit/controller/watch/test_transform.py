"""What is kept of a RotatedSecret from a list or a watch, whatever is in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rotated_secrets.controller.watch.transform import LARGEST, only_metadata, parts_by_size, transform

METADATA = {
    "namespace": "shop",
    "name": "orders",
    "uid": "u",
    "resourceVersion": "7",
    "generation": 3,
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "deletionTimestamp": "2026-02-01T00:00:00Z",
}
SPEC: dict[str, Any] = {
    "source": {"secretId": "shop/orders", "region": "eu-west-1", "credentials": {"roleArn": "arn"}},
    "target": {"secretName": "db"},
}


def rotated_secret(**more: Any) -> dict[str, Any]:
    return {"apiVersion": "v", "kind": "k", "metadata": METADATA | more, "spec": SPEC}


def test_what_the_index_asks_for_is_kept() -> None:
    kept = transform(rotated_secret(), 100)
    assert kept["spec"] == SPEC
    assert {name: value for name, value in kept["metadata"].items() if name != "annotations"} == METADATA
    assert (kept["apiVersion"], kept["kind"]) == ("v", "k")


@pytest.mark.parametrize(
    ("rotation", "follows"),
    [
        (None, False),
        ({"strategy": "SingleUser"}, False),
        ({"strategy": "External", "schedule": "rate(30 days)"}, False),
        ({"strategy": "External"}, True),
    ],
)
def test_one_that_only_follows_is_known_by_its_strategy(rotation: dict[str, Any] | None, follows: bool) -> None:
    obj = rotated_secret() | {"spec": SPEC | {"rotation": rotation}}
    assert transform(obj, 100)["spec"].get("follows", False) is follows


def test_what_fills_an_object_is_dropped() -> None:
    large = "x" * 100_000
    obj = rotated_secret(
        annotations={"a": large},
        labels={"b": large},
        managedFields=[{"manager": large}],
        finalizers=[large],
        ownerReferences=[{"name": large}],
    )
    obj["spec"] = SPEC | {"target": SPEC["target"] | {"template": {"t": large}}, "rotation": {"verifyQueries": [large]}}
    obj["status"] = {"conditions": [{"message": large}]}
    assert len(json.dumps(transform(obj, LARGEST))) < 1000


def test_each_change_of_an_annotation_shows() -> None:
    seen = [
        transform(rotated_secret(annotations=annotations), 1)["metadata"]["annotations"]
        for annotations in ({}, {"a": "1"}, {"a": "2"}, {"b": "1"})
    ]
    assert len({json.dumps(each) for each in seen}) == 4
    assert transform(rotated_secret(), 1) == transform(rotated_secret(annotations={}), 1)


@pytest.mark.parametrize(("size", "has_spec"), [(LARGEST, True), (LARGEST + 1, False)])
def test_spec_of_an_object_that_is_too_large_is_not_kept(size: int, has_spec: bool) -> None:
    kept = transform(rotated_secret(), size)
    assert ("spec" in kept) is has_spec
    assert (kept["metadata"]["uid"], kept["metadata"]["generation"]) == ("u", 3)


def test_object_whose_spec_is_of_no_use_is_kept_without_it() -> None:
    assert transform({"metadata": METADATA, "spec": {"source": None}}, 1)["spec"] == {"source": {}, "target": {}}


def test_only_metadata_says_which_object_it_is() -> None:
    assert only_metadata(rotated_secret(labels={"a": "b"}), 1) == {
        "metadata": {"namespace": "shop", "name": "orders", "uid": "u"}
    }


def test_largest_part_is_named_first() -> None:
    obj = rotated_secret(annotations={"a": "x" * 3000}) | {"status": {"engine": "y" * 9000}}
    assert [name for name, _ in parts_by_size(obj)[:2]] == ["metadata.annotations", "spec.source"]
    obj["spec"] = SPEC | {"target": {"template": {"t": "é" * 3000}}}
    assert parts_by_size(obj)[0] == ("spec.target", 6023)
