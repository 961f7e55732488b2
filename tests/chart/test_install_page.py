"""What docs/install.md has people type is what the chart takes, and makes what the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from sandbox.helm import CHART, helm, rendered
from sandbox.helm_packages import OLDEST
from tests.support.chart_files import README, ROOT, merged, metadata
from tests.support.documents import blocks
from tests.support.manifests import CLUSTER_WIDE, Manifest

INSTALL = ROOT / "docs" / "install.md"


def commands(program: str) -> list[list[str]]:
    """What follows this word in the page's examples."""
    lines = "".join(blocks(INSTALL, "sh")).replace("\\\n", " ").splitlines()
    return [words[1:] for words in map(shlex.split, lines) if words[:1] == [program]]


def places(made: list[Manifest]) -> set[tuple[str, str | None, str]]:
    return {(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in made}


def test_what_helm_templates_can_be_applied_by_kubectl() -> None:
    (words,) = (each for each in commands("helm") if each[0] == "template")
    asked = [str(CHART) if each == "charts/rotated-secrets" else each for each in words[: words.index(">")]]
    asked[asked.index("values.yaml")] = "-"
    said = helm(*asked, stdin="{}")
    assert places(list(filter(None, yaml.safe_load_all(said))))
    assert "helm.sh/hook" not in said
    assert "helm.sh/resource-policy" not in said


def test_the_second_release_of_the_page_shares_nothing_with_the_first() -> None:
    (second,) = (each for each in map(yaml.safe_load, blocks(INSTALL, "yaml")) if each.get("namespaces"))
    first = rendered({"namespaces": ["shop"]})
    other = rendered(second, release="rotated-secrets-bank", namespace="rotated-secrets-bank")
    assert not places(first) & places(other)
    assert not {kind for kind, *_ in places(other)} & CLUSTER_WIDE
    same_name = rendered(merged(second, {"namespaces": ["shop"]}), namespace="another")
    assert places(first) & places(same_name)


def test_each_way_to_an_identity_adds_to_the_values_of_the_page() -> None:
    """In the order of the page, nothing is named before it is made."""
    examples = [yaml.safe_load(block) for block in blocks(INSTALL, "yaml")]
    (base,) = (each for each in examples if "image" in each)
    for name in ("serviceAccount", "aws"):
        (way,) = (each for each in examples if list(each) == [name])
        assert rendered(merged(way, base, {"databases": {"caBundle": ""}}))
    text = INSTALL.read_text()
    steps = (
        "docker push",
        "kubectl create namespace",
        "aws iam create-policy",
        "create secret generic",
        "helm install",
    )
    assert [text.index(each) for each in steps] == sorted(text.index(each) for each in steps)


@pytest.mark.parametrize("page", [INSTALL, README], ids=lambda page: page.name)
def test_versions_that_are_needed_are_told(page: Path) -> None:
    text = page.read_text()
    (kubernetes,) = re.findall(r">=(\d+\.\d+)", metadata()["kubeVersion"])
    assert f"Kubernetes {kubernetes} or later" in text
    assert f"Helm {OLDEST[0]}.{OLDEST[1]} or later" in text
