"""docs/security.md explains every permission of the operator."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import pytest
import yaml

from rotated_secrets.databases.registry import BUILT_IN
from tests.support.documents import ROOT, prose

SECURITY = ROOT / "docs" / "security.md"
RULES_OF_THE_CHART = ROOT / "charts" / "rotated-secrets" / "templates"
MANIFESTS = ROOT / "deploy" / "rotated-secrets.yaml"
ACTION = re.compile(r"`([a-z]+:[A-Z]\w+)`|\"([a-z]+:[A-Z]\w+)\"")
SERVICES = {"secretsmanager", "sts", "kms", "lambda", "rds", "redshift", "elasticache"}


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading."""
    _, _, below = SECURITY.read_text().partition(f"### {heading}\n")
    lines = [line for line in below.partition("\n### ")[0].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def granted() -> set[tuple[str, str]]:
    """Return the verbs and resources of the page."""
    return {(verb, each) for verbs, what, *_ in rows("In Kubernetes") for verb in named(verbs) for each in named(what)}


def of_rules(rules: Sequence[Mapping[str, Sequence[str]]]) -> set[tuple[str, str]]:
    return {(verb, each) for rule in rules for verb in rule["verbs"] for each in rule["resources"]}


def rules_in_templates() -> Iterator[Mapping[str, Sequence[str]]]:
    """Yield all rules that the chart's values can enable, without rendering it and without the roles of users."""
    for template in (RULES_OF_THE_CHART / "_rules.tpl", RULES_OF_THE_CHART / "rbac.yaml"):
        for block in re.findall(r"^ *- apiGroups:.*\n(?: +[a-z].*\n)+", template.read_text(), re.MULTILINE):
            lines = [line for line in block.splitlines() if "{{" not in line]
            yield from yaml.safe_load("\n".join(lines))


def rules_of_manifests() -> Iterator[Mapping[str, Sequence[str]]]:
    for found in yaml.safe_load_all(MANIFESTS.read_text()):
        is_ours = (
            found
            and found["kind"] in ("Role", "ClusterRole")
            and not found["metadata"]["name"].endswith(("-view", "-edit"))
        )
        yield from found["rules"] if is_ours else ()


def test_every_permission_in_kubernetes_is_explained_and_nothing_else() -> None:
    chart = of_rules(list(rules_in_templates()))
    assert {("get", "secrets"), ("patch", "deployments"), ("create", "leases")} < chart, "the templates were read"
    assert granted() == chart


def test_every_permission_of_the_manifests_is_explained() -> None:
    found = of_rules(list(rules_of_manifests()))
    assert ("get", "secrets") in found
    assert found - granted() == set()


@pytest.mark.parametrize("page", ["iam.md", "elasticache.md", "tenant-credentials.md"])
def test_every_action_at_aws_is_explained(page: str) -> None:
    found = {one or other for one, other in ACTION.findall((ROOT / "docs" / page).read_text())}
    asked = {each for each in found if each.partition(":")[0] in SERVICES} - {
        "elasticache:AddTagsToResource",
        "kms:ViaService",
        "sts:ExternalId",
    }
    explained = {each for row in rows("At AWS") for each in named(row[0])}
    assert asked - explained == set()


def test_every_engines_privileges_are_linked() -> None:
    text = prose(SECURITY)
    pages = {"mongo": "mongodb", "docdb": "mongodb", "postgres": "postgresql"}
    for engine in BUILT_IN:
        name = engine.removeprefix("aurora-")
        assert f"]({pages.get(name, name)}.md" in text, engine
