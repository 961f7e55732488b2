"""docs/reference.md names every field, setting, metric, reason and annotation, and none that does not exist."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import chain, product
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from rotated_secrets.api import names
from rotated_secrets.api.spec import RotatedSecretSpec
from rotated_secrets.api.status import Outcome, Reason, RotatedSecretStatus
from rotated_secrets.delivery.template import FILTERS, TESTS
from rotated_secrets.observability.event_reasons import EventReason
from rotated_secrets.observability.metrics import PREFIX, Metrics
from sandbox.helm import rendered
from sandbox.reference import SETTINGS
from tests.support.documents import DOCUMENTS, REFERENCE, blocks, in_backticks

DOCUMENTED = in_backticks(REFERENCE)


def parts_of(annotation: object) -> Iterator[object]:
    yield annotation
    for argument in typing.get_args(annotation):
        yield from parts_of(argument)


def fields(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[StrEnum] | None]]:
    """Yield every field by its path, with its choices if it has any."""
    for field in model.model_fields.values():
        types = [each for each in parts_of(field.annotation) if inspect.isclass(each)]
        here = f"{path}.{field.alias}"
        inner = next((each for each in types if issubclass(each, BaseModel)), None)
        listed = inner is not None and any(typing.get_origin(each) is tuple for each in parts_of(field.annotation))
        here += "[]" if listed else ""
        yield here, next((each for each in types if issubclass(each, StrEnum)), None)
        if inner is not None:
            yield from fields(inner, here)


FIELDS = dict(chain(fields(RotatedSecretSpec, "spec"), fields(RotatedSecretStatus, "status")))
METRICS = {
    f"{metric.name}_total" if metric.type == "counter" else metric.name
    for metric in Metrics().registry.collect()
    if metric.name.startswith(PREFIX)
}


def names_of_api() -> Iterator[str]:
    for name, text in vars(names).items():
        if name.endswith(("_ANNOTATION", "_LABEL")):
            yield text


@pytest.mark.parametrize(
    "name",
    sorted({*FIELDS, *SETTINGS, *METRICS, *Reason, *EventReason, *Outcome, *names_of_api()})
    + sorted({*FILTERS, *TESTS, names.API_VERSION, names.KIND, names.PLURAL, names.SINGULAR, names.SHORT_NAME}),
)
def test_everything_has_its_place_in_the_reference(name: str) -> None:
    assert name in DOCUMENTED


def row_of(name: str) -> str:
    return next(line for line in REFERENCE.read_text().splitlines() if line.startswith(f"| `{name}`"))


@pytest.mark.parametrize(("path", "choices"), [(path, choices) for path, choices in FIELDS.items() if choices])
def test_a_fields_choices_are_all_told(path: str, choices: type[StrEnum]) -> None:
    assert [each.value for each in choices if f"`{each.value}`" not in row_of(path)] == []


@pytest.mark.parametrize("metric", [each for each in Metrics().registry.collect() if each.name.startswith(PREFIX)])
def test_a_metrics_labels_are_all_told(metric: typing.Any) -> None:
    (family,) = (each for each in vars(Metrics()).values() if getattr(each, "_name", None) == metric.name)
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    assert [label for label in family._labelnames if f"`{label}`" not in row_of(name)] == []
    assert metric.type in row_of(name)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_is_named_is_there(document: typing.Any) -> None:
    text = document.read_text()
    flags = set(re.findall(r"(?<![\w-])--([a-z]+(?:-[a-z]+)+)\b", "\n".join(in_backticks(document))))
    ours = {each.removeprefix("--") for each in SETTINGS} | OTHERS_FLAGS
    assert flags - ours == set()
    mentioned = set(re.findall(rf"\b{PREFIX}_\w+", text))
    assert mentioned - METRICS == set()
    named = set(re.findall(r"`((?:spec|status)\.[A-Za-z.\[\]]+)`", text))
    assert named - FIELDS.keys() - {path.replace("[]", "") for path in FIELDS} == set()
    annotations = set(re.findall(rf"\b{names.GROUP}/([a-z-]+)\b", text)) - {names.VERSION}
    assert annotations - {each.partition("/")[2] for each in names_of_api()} == set()


OTHERS_FLAGS = {
    *("kube-context", "all-namespaces", "install-completion", "show-completion", "take-ownership", "reuse-values"),
}
"""Flags of pytest, Helm and other programs in the documents; another test checks those of our commands."""


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_setting_has_a_row_among_the_settings(name: str) -> None:
    """A row has its default and its meaning, not only its name."""
    _, _, below = REFERENCE.read_text().partition("\n## Settings\n")
    rows = [line for line in below.partition("\n## ")[0].splitlines() if line.startswith(f"| `{name}` |")]
    assert [len(row.split(" | ")) for row in rows] == [3]


def test_the_permissions_are_those_that_the_chart_grants() -> None:
    told = map(yaml.safe_load, blocks(REFERENCE, "yaml"))
    assert permissions(told) == permissions(bound(rendered()))


def permissions(manifests: Iterable[Any]) -> set[tuple[str | None, ...]]:
    """Return the permissions of Roles and ClusterRoles: each verb with role, namespace and names of objects."""
    return {
        (role["kind"], role["metadata"]["name"], role["metadata"].get("namespace"), *one)
        for role in manifests
        if role.get("kind") in ("Role", "ClusterRole")
        for rule in role["rules"]
        for one in product(rule["apiGroups"], rule["resources"], rule.get("resourceNames", [None]), rule["verbs"])
    }


def bound(manifests: Sequence[Any]) -> Iterator[Any]:
    """Yield the roles of the operator, without those for users."""
    given = {
        (each["roleRef"]["kind"], each["roleRef"]["name"])
        for each in manifests
        if each["kind"] in ("RoleBinding", "ClusterRoleBinding")
    }
    return (each for each in manifests if (each["kind"], each["metadata"]["name"]) in given)
