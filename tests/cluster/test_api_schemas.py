"""CRDs: what their schema lets in, fills in, drops and refuses."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sandbox.kubernetes.client import Api, Json, StatusError
from tests.support.widgets import SCHEMA, Widgets, crd, eventually, gone, is_established, serves

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def refusal(api: Api, namespace: str, widgets: Widgets, spec: Json) -> StatusError:
    with pytest.raises(StatusError) as refused:
        api.create(widgets.path(namespace), widgets.make("a", spec))
    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    assert refused.value.message.startswith(f'Widget.{widgets.group} "a" is invalid: ')
    return refused.value


def test_defaults_are_filled_in(api: Api, namespace: str, widgets: Widgets) -> None:
    made = api.create(widgets.path(namespace), widgets.make("a", {"nested": {"names": ["x"]}}))
    assert made["spec"] == {"size": 5, "mode": "Safe", "nested": {"depth": 3, "names": ["x"]}}
    assert api.create(widgets.path(namespace), widgets.make("b"))["spec"]["nested"] == {"depth": 3}


def test_null_means_the_default(api: Api, namespace: str, widgets: Widgets) -> None:
    made = api.create(widgets.path(namespace), widgets.make("a", {"mode": None, "code": None}))
    assert made["spec"]["mode"] == "Safe"
    assert "code" not in made["spec"]


def test_removed_field_gets_its_default_again(api: Api, namespace: str, widgets: Widgets) -> None:
    api.create(widgets.path(namespace), widgets.make("a", {"mode": "Fast"}))
    assert api.patch(widgets.path(namespace, "a"), {"spec": {"mode": None}})["spec"]["mode"] == "Safe"


def test_unknown_fields_are_dropped_with_a_warning(api: Api, namespace: str, widgets: Widgets) -> None:
    body = widgets.make("a", {"colour": "red", "nested": {"deeper": 1}, "free": {"any": {"thing": 1}}})
    answer = api.request("POST", widgets.path(namespace), body, fieldValidation="Warn")
    assert "colour" not in answer.body["spec"]
    assert answer.body["spec"]["nested"] == {"depth": 3}
    assert answer.body["spec"]["free"] == {"any": {"thing": 1}}
    assert any('unknown field \\"spec.colour\\"' in warning for warning in answer.warnings)
    assert any('unknown field \\"spec.nested.deeper\\"' in warning for warning in answer.warnings)


def test_unknown_fields_are_refused_where_asked(api: Api, namespace: str, widgets: Widgets) -> None:
    with pytest.raises(StatusError, match=r'strict decoding error: unknown field "spec\.colour"') as refused:
        api.create(widgets.path(namespace), widgets.make("a", {"colour": "red"}), fieldValidation="Strict")
    assert refused.value.code == 400
    with pytest.raises(StatusError, match='unknown field "dat"'):
        body = {"metadata": {"name": "a"}, "dat": {}}
        api.create(f"/api/v1/namespaces/{namespace}/secrets", body, fieldValidation="Strict")


@pytest.mark.parametrize(
    ("spec", "field", "reason", "message"),
    [
        ({"size": None}, "spec.size", "FieldValueRequired", "Required value"),
        (
            {"size": 0},
            "spec.size",
            "FieldValueInvalid",
            "Invalid value: 0: spec.size in body should be greater than or equal to 1",
        ),
        (
            {"size": 101},
            "spec.size",
            "FieldValueInvalid",
            "Invalid value: 101: spec.size in body should be less than or equal to 100",
        ),
        (
            {"size": "big"},
            "spec.size",
            "FieldValueTypeInvalid",
            'Invalid value: "string": spec.size in body must be of type integer: "string"',
        ),
        (
            {"mode": "Slow"},
            "spec.mode",
            "FieldValueNotSupported",
            'Unsupported value: "Slow": supported values: "Fast", "Safe"',
        ),
        (
            {"code": "A1"},
            "spec.code",
            "FieldValueInvalid",
            "Invalid value: \"A1\": spec.code in body should match '^[a-z]+$'",
        ),
        ({"code": "abcdefghi"}, "spec.code", "FieldValueTooLong", "Too long: may not be more than 8 bytes"),
        ({"ports": [{"port": 1}]}, "spec.ports[0].name", "FieldValueRequired", "Required value"),
        (
            {"ports": [{"name": "a"}, {"name": "a"}]},
            "spec.ports[1]",
            "FieldValueDuplicate",
            'Duplicate value: {"name":"a"}',
        ),
        (
            {"nested": {"names": [1]}},
            "spec.nested.names[0]",
            "FieldValueTypeInvalid",
            'Invalid value: "integer": spec.nested.names[0] in body must be of type string: "integer"',
        ),
        (
            {"since": "yesterday"},
            "spec.since",
            "FieldValueTypeInvalid",
            'Invalid value: "yesterday": spec.since in body must be of type date-time: "yesterday"',
        ),
        (
            {"tags": {str(number): "v" for number in range(6)}},
            "spec.tags",
            "FieldValueTooMany",
            "Too many: 6: must have at most 5 items",
        ),
        ({"tags": {"x": "y" * 21}}, "spec.tags.x", "FieldValueTooLong", "Too long: may not be more than 20 bytes"),
    ],
)
def test_value_outside_the_schema_is_refused(
    api: Api, namespace: str, widgets: Widgets, spec: Json, field: str, reason: str, message: str
) -> None:
    causes = refusal(api, namespace, widgets, spec).causes
    assert {"field": field, "reason": reason, "message": message} in causes


@pytest.mark.parametrize("amount", [3, "3Gi"])
def test_int_or_string_takes_both(api: Api, namespace: str, widgets: Widgets, amount: Any) -> None:
    assert api.create(widgets.path(namespace), widgets.make("a", {"amount": amount}))["spec"]["amount"] == amount
    assert refusal(api, namespace, widgets, {"amount": [1]}).causes[0]["field"] == "spec.amount"


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"low": 6}, "spec", "low must not be above size: write a lower one"),
        ({"ratio": 2}, "spec.ratio", "ratio must be below one"),
        ({"tags": {"x-a": "b"}}, "spec.tags", "keys that begin with x- are reserved"),
    ],
)
def test_rule_refuses_with_its_message(
    api: Api, namespace: str, widgets: Widgets, spec: Json, field: str, message: str
) -> None:
    causes = refusal(api, namespace, widgets, spec).causes
    assert [(each["field"], each["reason"]) for each in causes] == [(field, "FieldValueInvalid")]
    assert causes[0]["message"].endswith(f": {message}")


def test_broken_rule_and_wrong_value_are_told_together(api: Api, namespace: str, widgets: Widgets) -> None:
    causes = refusal(api, namespace, widgets, {"size": 0, "low": 6}).causes
    assert [each["field"] for each in causes] == ["spec.size", "spec"]


@pytest.mark.parametrize(("spec", "field"), [({"size": "big"}, "spec.size"), ({"mode": "Slow"}, "spec.mode")])
def test_rules_wait_for_values_of_the_right_kind(
    api: Api, namespace: str, widgets: Widgets, spec: Json, field: str
) -> None:
    causes = refusal(api, namespace, widgets, {**spec, "tags": {"x-a": "b"}}).causes
    assert [each["field"] for each in causes] == [field, "<nil>"]
    assert "some validation rules were not checked because the object was invalid" in causes[1]["message"]


def test_rules_hold_for_good_values(api: Api, namespace: str, widgets: Widgets) -> None:
    spec = {"low": 5, "ratio": 0.5, "tags": {"a": "b"}, "origin": "here", "since": "2026-01-01T00:00:00Z"}
    made = api.create(widgets.path(namespace), widgets.make("a", spec))
    assert made["spec"] == {"size": 5, "mode": "Safe", "nested": {"depth": 3}, **spec}


def test_transition_rule_compares_with_what_was(api: Api, namespace: str, widgets: Widgets) -> None:
    path = widgets.path(namespace, "a")
    api.create(widgets.path(namespace), widgets.make("a"))
    api.patch(path, {"spec": {"origin": "here"}})
    with pytest.raises(StatusError, match="origin cannot be changed") as refused:
        api.patch(path, {"spec": {"origin": "there"}})
    assert (refused.value.code, refused.value.causes[0]["field"]) == (422, "spec.origin")
    api.patch(path, {"spec": {"origin": None}})
    assert api.patch(path, {"spec": {"origin": "there"}})["spec"]["origin"] == "there"


def test_status_is_validated_too(api: Api, namespace: str, widgets: Widgets) -> None:
    api.create(widgets.path(namespace), widgets.make("a"))
    with pytest.raises(StatusError) as refused:
        api.patch(widgets.path(namespace, "a", "status"), {"status": {"phase": "Odd"}})
    assert (refused.value.code, refused.value.causes[0]["field"]) == (422, "status.phase")


def test_stricter_schema_spares_what_an_update_leaves_alone(api: Api, namespace: str, widgets: Widgets) -> None:
    group = f"ratchet.{widgets.group}"
    api.create(CRDS, crd(group))
    eventually(lambda: serves(api, f"/apis/{group}/v1/widgets"))
    here = Widgets(group)
    api.create(here.path(namespace), here.make("a", {"code": "abcdefg", "size": 50}))
    stricter = copy.deepcopy(SCHEMA)
    stricter["properties"]["spec"]["properties"]["size"]["maximum"] = 10
    stored = api.get(f"{CRDS}/{here.crd}")
    stored["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = stricter
    api.replace(f"{CRDS}/{here.crd}", stored)

    def is_stricter() -> bool:
        try:
            api.create(here.path(namespace), here.make("b", {"size": 50}), dryRun="All")
        except StatusError:
            return True
        return False

    eventually(is_stricter)
    assert api.patch(here.path(namespace, "a"), {"spec": {"code": "abc"}})["spec"]["size"] == 50
    with pytest.raises(StatusError, match="less than or equal to 10"):
        api.patch(here.path(namespace, "a"), {"spec": {"size": 49}})
    api.delete(f"{CRDS}/{here.crd}")


def test_crd_is_established_and_discovered(api: Api, widgets: Widgets) -> None:
    stored = api.get(f"{CRDS}/{widgets.crd}")
    assert is_established(stored)
    assert stored["status"]["acceptedNames"]["listKind"] == "WidgetList"
    assert stored["status"]["storedVersions"] == ["v1"]
    listed = {each["name"]: each for each in api.get(f"/apis/{widgets.group}/v1")["resources"]}
    assert set(listed) == {"widgets", "widgets/status"}
    assert listed["widgets"]["shortNames"] == ["wdg"]
    assert listed["widgets"]["categories"] == ["contract"]
    assert set(listed["widgets"]["verbs"]) == {
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    }


def test_deleted_crd_takes_its_objects_along(api: Api, namespace: str, widgets: Widgets) -> None:
    group = f"short.{widgets.group}"
    api.create(CRDS, crd(group))
    eventually(lambda: serves(api, f"/apis/{group}/v1/widgets"))
    here = Widgets(group)
    api.create(here.path(namespace), here.make("a"))
    api.delete(f"{CRDS}/{here.crd}")
    eventually(lambda: gone(api, f"{CRDS}/{here.crd}"))
    eventually(lambda: gone(api, f"/apis/{group}/v1/widgets"))


def _without_type(schema: Json) -> None:
    del schema["properties"]["spec"]["properties"]["size"]["type"]


def _bad_default(schema: Json) -> None:
    schema["properties"]["spec"]["properties"]["mode"]["default"] = "Slow"


def _bad_rule(schema: Json) -> None:
    schema["properties"]["spec"]["x-kubernetes-validations"] = [{"rule": "self.size >"}]


def _unknown_function(schema: Json) -> None:
    schema["properties"]["spec"]["x-kubernetes-validations"] = [{"rule": "nothing(self.size)"}]


@pytest.mark.parametrize("spoil", [_without_type, _bad_default, _bad_rule, _unknown_function])
def test_faulty_schema_is_refused(api: Api, widgets: Widgets, spoil: Any) -> None:
    schema = copy.deepcopy(SCHEMA)
    spoil(schema)
    with pytest.raises(StatusError) as refused:
        api.create(CRDS, crd(f"faulty.{widgets.group}", schema))
    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    assert refused.value.causes[0]["field"].startswith("spec.validation.openAPIV3Schema.properties[spec]")


def test_name_of_a_crd_is_plural_and_group(api: Api, widgets: Widgets) -> None:
    body = crd(f"faulty.{widgets.group}")
    body["metadata"]["name"] = "widgets"
    with pytest.raises(StatusError, match=r"must be spec.names.plural\+\"\.\"\+spec.group"):
        api.create(CRDS, body)
