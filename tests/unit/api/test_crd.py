"""The CRD says what the models say, explains every field, and is what is checked in."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from rotated_secrets.api.crd import as_yaml, custom_resource_definition
from rotated_secrets.api.resource import InvalidSpec, RotatedSecret
from rotated_secrets.api.spec import RotatedSecretSpec
from rotated_secrets.api.target import TOKEN_TYPES
from sandbox.kubernetes.embedded.errors import FieldError
from sandbox.kubernetes.embedded.schema import Schema
from tests.support.examples import examples

CHECKED_IN = Path(__file__).parents[3] / "crds" / "rotatedsecrets.yaml"
_VERSION = custom_resource_definition()["spec"]["versions"][0]
_RAW: dict[str, Any] = _VERSION["schema"]["openAPIV3Schema"]


def _compiled() -> Schema:
    problems: list[FieldError] = []
    schema = Schema(_RAW, "openAPIV3Schema", problems)
    assert problems == []
    return schema


_SCHEMA = _compiled()


def _fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from _fields(field, f"{path}.{name}")
        yield from _fields(field.get("items", {}), f"{path}.{name}[]")


def _nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node of a schema: fields, items of lists and values of maps."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from _nodes(field, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in schema:
            yield from _nodes(schema[key], f"{path}{mark}")


def _words(written: Any, names: bool = False) -> set[str]:
    """The words of a JSON schema, without the names of its fields."""
    if isinstance(written, list):
        return {word for each in written for word in _words(each)}
    if not isinstance(written, dict):
        return set()
    inner = {
        word
        for key, each in written.items()
        if key != "default" or names
        for word in _words(each, key in ("properties", "$defs"))
    }
    return inner if names else inner | written.keys()


def test_no_limit_of_a_model_is_lost_in_the_crd() -> None:
    """What the API server takes and the operator does not is InvalidSpec only after it was stored."""
    shape = {"$defs", "$ref", "additionalProperties", "anyOf", "items", "properties", "title"}
    assert _words(RotatedSecretSpec.model_json_schema()) - shape <= _words(_RAW["properties"]["spec"])


def test_checked_in_crd_is_what_the_models_say() -> None:
    assert CHECKED_IN.read_text() == as_yaml(), "run: python -m rotated_secrets.api.crd > crds/rotatedsecrets.yaml"


def test_every_field_is_explained() -> None:
    silent = [path for path, field in _fields(_RAW) if path != ".metadata" and not field.get("description", "").strip()]
    assert silent == []


def test_every_text_list_and_map_is_bounded_so_that_rules_have_a_known_cost() -> None:
    unbounded = [
        path
        for path, field in _fields(_RAW)
        if path not in (".apiVersion", ".kind", ".metadata")
        and (
            (field["type"] == "string" and not {"maxLength", "enum", "format"} & field.keys())
            or (field["type"] == "array" and "maxItems" not in field)
            or ("additionalProperties" in field and "maxProperties" not in field)
        )
    ]
    assert unbounded == []


def test_no_text_list_or_map_of_any_depth_is_without_a_limit() -> None:
    limits = {"string": {"maxLength", "enum"}, "array": {"maxItems"}}
    unbounded = [
        path
        for path, node in _nodes(_RAW)
        if path not in (".apiVersion", ".kind", ".metadata")  # the API server's own
        and (
            not limits.get(node["type"], node.keys()) & node.keys()
            or ("additionalProperties" in node and "maxProperties" not in node)
        )
    ]
    assert unbounded == []


def test_keys_of_every_map_are_limited() -> None:
    """A schema has no word for it, so a rule says it."""
    rules = {
        path: " ".join(rule["rule"] for rule in node.get("x-kubernetes-validations", ()))
        for path, node in _nodes(_RAW)
        if "additionalProperties" in node
    }
    assert rules
    assert [path for path, rule in rules.items() if "size(key) <= " not in rule and "{1,253}" not in rule] == []


def test_status_has_no_defaults_that_nobody_wrote() -> None:
    assert [path for path, field in _fields(_RAW["properties"]["status"]) if "default" in field] == []


def test_times_to_come_are_not_printed_as_ages() -> None:
    columns = {column["name"]: column for column in _VERSION["additionalPrinterColumns"]}
    assert columns["Next rotation"]["type"] == "string"
    assert columns["Last rotation"]["type"] == "date"
    assert [name for name, column in columns.items() if column["priority"] == 0] == [
        "Ready",
        "State",
        "Strategy",
        "Engine",
        "Active user",
        "Last result",
        "Last rotation",
        "Next rotation",
        "Age",
    ]


def test_defaults_fill_what_a_user_leaves_out() -> None:
    spec: dict[str, Any] = {"source": {"secretId": "shop/orders"}, "rotation": {"strategy": "SingleUser"}}
    _SCHEMA.default(written := {"spec": spec})
    assert written["spec"]["rotation"]["password"]["excludePunctuation"] is True
    assert written["spec"]["rotation"]["cloneSuffix"] == "_clone"
    assert written["spec"]["target"] == {
        "type": "Opaque",
        "immutable": False,
        "includeKeys": "All",
        "creationPolicy": "Owner",
        "deletionPolicy": "Delete",
    }
    assert "database" not in written["spec"], "a default would forbid RandomValue"


def _some(**choices: list[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in choices.items()})


_ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/orders-AbCdEf"
_SPECS = st.fixed_dictionaries(
    {
        "source": st.fixed_dictionaries(
            {"secretId": st.sampled_from(["shop/orders", "rds!db-1", _ARN, _ARN[:-7], "a b", "a\n", "x" * 2049, ""])},
            optional={
                "region": st.sampled_from(
                    ["eu-west-1", "us-gov-west-1", "eusc-de-east-1", "fips-us-east-1", "EU", "eu-west-1\n"]
                ),
                "credentials": _some(
                    serviceAccountName=["orders", "Orders"],
                    roleArn=["arn:aws:iam::111122223333:role/orders", "arn:aws:iam::1:role/orders"],
                ),
            },
        ),
        "rotation": st.fixed_dictionaries(
            {
                "strategy": st.sampled_from(
                    ["SingleUser", "AlternatingUsers", "DualPassword", "RandomValue", "External"]
                )
            },
            optional={
                "schedule": st.sampled_from(
                    ["rate(4 hours)", "rate(0 hours)", "rate(1 day) ", "cron(0 2 ? * SUN *)", "0 2 * * *", "cron()"]
                ),
                "adminSecretId": st.sampled_from(["shop/admin/orders", "no spaces please"]),
                "cloneSuffix": st.sampled_from(["_b", "", "-x", "x" * 17]),
                "password": _some(
                    length=[7, 8, 128, 129],
                    excludePunctuation=[False],
                    excludeNumbers=[True],
                    excludeUppercase=[True],
                    excludeLowercase=[True],
                ),
                "verifyQueries": st.sampled_from([[], ["SELECT 1"], [""], ["SELECT 1"] * 11]),
                "rights": st.sampled_from(["Report", "Some"]),
                "retireAfter": st.sampled_from(["1d12h", "a day", ""]),
                "random": _some(keys=[[], ["a"], ["a", "a"], [""]], format=["Hex", "Octal"], prefix=["", "sk_", "a b"]),
            },
        ),
    },
    optional={
        "database": st.fixed_dictionaries(
            {},
            optional={
                "tls": _some(mode=["VerifyFull", "Require", "None"], caSecretName=["rds-ca", "RDS", "a..b"]),
                "webhook": st.fixed_dictionaries(
                    {
                        "url": st.sampled_from(["https://hooks.example.com", "http://hooks.example.com"]),
                        "authSecretName": st.sampled_from(["auth", "Auth"]),
                    }
                ),
            },
        ),
        "rollout": _some(restart=[[], [{"kind": "Deployment", "name": "api"}], [{"kind": "Job", "name": "api"}]]),
        "target": _some(
            secretName=["orders", "Orders", "-a", "a" * 254],
            type=["Opaque", "tls", "a.b/c", "", "a b", *TOKEN_TYPES],
            labels=[
                {},
                {"team": "a"},
                {"a.kubernetes.io/x": "y"},
                {"kubernetes.io/x": "y"},
                {"app.kubernetes.io/managed-by": "y"},
                {"team": "a b"},
                {"-": "a"},
                {"team": "a\n"},
            ],
            annotations=[
                {},
                {"example.org/a": "b c"},
                {"rotatedsecrets.io/owner": "x"},
                {"notk8s.io/a": ""},
                {"a/b/c": ""},
                {"a": "x" * 4096, "b": "x" * 4096, "c": "x" * 4096, "d": "x" * 4096},
                {"a": "x" * 4096, "b": "x" * 4096, "c": "x" * 4096, "d": "x" * 4096, "e": "y"},
                {f"{'a' * 253}/{'b' * 63}": ""},
                {f"{'a' * 254}/{'b' * 63}": ""},
                {f"{'a' * 254}/b": ""},
            ],
            template=[
                {},
                {"URL": "{{ host }}"},
                {"a/b": ""},
                {"": ""},
                {"a\n": ""},
                {"a": "x" * 65536},
                {"a": "x" * 65536, "b": "y"},
            ],
            immutable=[False, True],
            includeKeys=["All", "None"],
            keys=[
                [],
                [{"key": "a"}],
                [{"key": "a/b"}],
                [{"key": "a/b", "name": "a"}, {"key": "a"}],
                [{"key": "a", "name": "a b"}],
                [{"key": "a", "name": ""}],
                [{"key": ""}],
                [{"name": "a"}],
            ],
            creationPolicy=["Owner", "Merge", "None"],
            deletionPolicy=["Delete", "Retain"],
        ),
    },
)


def _texts(schema: dict[str, Any]) -> str:
    return " ".join(rule["rule"] for rule in schema.get("x-kubernetes-validations", ()))


def test_a_rule_that_asks_whether_a_list_or_map_is_there_asks_whether_it_is_empty_too() -> None:
    """The operator cannot tell an empty one from none, so that a rule which can refuses what the operator takes."""
    wrong = [
        f"{path}: {name}"
        for path, node in _nodes(_RAW)
        for name, field in node.get("properties", {}).items()
        if field["type"] == "array" or "additionalProperties" in field
        if f"has(self.{name})" in _texts(node) and f"size(self.{name})" not in _texts(node)
    ]
    assert wrong == []


def _minimal(**target: Any) -> dict[str, Any]:
    return {"source": {"secretId": "shop/orders"}, "rotation": {"strategy": "SingleUser"}, "target": target}


def _server_takes(spec: dict[str, Any]) -> bool:
    _SCHEMA.default(written := {"spec": copy.deepcopy(spec)})
    return not _SCHEMA.problems(written)


def _operator_takes(spec: dict[str, Any]) -> bool:
    metadata = {
        "namespace": "shop",
        "name": "x",
        "uid": "u",
        "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    try:
        RotatedSecret.parse({"metadata": metadata, "spec": spec})
    except InvalidSpec:
        return False
    return True


@examples(400)
@given(_SPECS)
@example({"source": {"secretId": _ARN, "region": "eu-west-2"}, "rotation": {"strategy": "SingleUser"}})
@example(_minimal(creationPolicy="None", labels={}))
@example({**_minimal(), "rollout": {}})
@example(_minimal(template={"a": "x" * 65536}))
@example(_minimal(template={"a": "x" * 65536, "b": "y"}))
@example(_minimal(annotations={"a": "x" * 4096, "b": "x" * 4096, "c": "x" * 4096, "d": "x" * 4097}))
@example(_minimal(annotations=dict.fromkeys("abcd", "x" * 4096) | {"e": "y"}))
@example(_minimal(annotations={f"{'a' * 254}/{'b' * 63}": ""}))
@example(_minimal(annotations={f"{'a' * 254}/b": ""}))
def test_api_server_and_operator_refuse_the_same_specs(spec: dict[str, Any]) -> None:
    assert _server_takes(spec) == _operator_takes(spec)
