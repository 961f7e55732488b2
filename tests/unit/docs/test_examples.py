"""What a reader copies out of the documents is taken by the code, and what a reader follows is there."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.target import Target
from rotated_secrets.controller.access import AccessPolicy
from rotated_secrets.controller.access_file import parse_policy
from rotated_secrets.delivery.render import render
from rotated_secrets.rotation.schedule import parse_schedule
from rotated_secrets.secretstores import aws
from rotated_secrets.values import Credential, SecretValue
from tests.unit.docs.documents import DOCUMENTS, ROOT, anchors, blocks, manifests, prose

IAM = ROOT / "docs" / "iam.md"
POLICY = ROOT / "docs" / "access-policy.md"
README = ROOT / "README.md"
SERVER_SIDE = {"uid": "1", "resourceVersion": "1", "generation": 1, "creationTimestamp": "2026-11-22T00:00:00Z"}


def named(path: Path) -> str:
    return path.name


def of_kind(document: Path, kind: str) -> list[dict[str, Any]]:
    return [each for each in manifests(document) if isinstance(each, dict) and each.get("kind") == kind]


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_resource_is_one(document: Path) -> None:
    for written in of_kind(document, "RotatedSecret"):
        resource = RotatedSecret.parse(written | {"metadata": SERVER_SIDE | written["metadata"]})
        assert resource.spec.rotation.schedule is None or parse_schedule(resource.spec.rotation.schedule)


def test_the_first_resource_fits_its_secrets_and_its_policy() -> None:
    (written,) = of_kind(README, "RotatedSecret")
    created = dict(re.findall(r"create-secret --name (\S+) --secret-string \\\n\s*'(\{.*\})'", README.read_text()))
    spec, namespace = written["spec"], written["metadata"]["namespace"]
    assert set(created) == {spec["source"]["secretId"], spec["rotation"]["adminSecretId"]}
    (rule,) = AccessPolicy.default().rules
    prefixes = (rule.secrets[0], rule.admin_secrets[0])
    for name, prefix in zip(created, prefixes, strict=True):
        assert name.startswith(prefix.replace("{namespace}", namespace).removesuffix("*"))
    application, admin = (Credential.of(SecretValue.parse(text)) for text in created.values())
    assert (application.engine, application.host) == (admin.engine, admin.host)
    (secret,) = (each for each in created if "/admin/" not in each)
    rendered = render(Target.model_validate(spec["target"]), SecretValue.parse(created[secret]))
    assert rendered["DATABASE_URL"].reveal().startswith("postgresql://orders:")
    (pod,) = of_kind(README, "Pod")
    assert pod["spec"]["volumes"][0]["secret"]["secretName"] == written["metadata"]["name"]


def test_every_template_renders() -> None:
    value = SecretValue.parse(
        '{"username": "u", "password": "p/", "host": "h", "port": 5432, "dbname": "d", "ssl": false}'
    )
    for block in blocks(ROOT / "docs" / "reference.md", "yaml"):
        found = yaml.safe_load(block)
        if "target" in found:
            rendered = render(Target.model_validate(found["target"]), value)
            assert rendered["DATABASE_URL"].reveal() == "postgresql://u:p%2F@h:5432/d"
            assert rendered["PGSSLMODE"].reveal() == "disable"


def test_the_first_policy_is_the_default_and_the_others_are_policies() -> None:
    first, *others = map(parse_policy, blocks(POLICY, "yaml"))
    assert first == AccessPolicy.default()
    assert len(others) >= 2


def test_the_iam_policy_allows_what_is_called_and_nothing_else() -> None:
    (policy,) = map(json.loads, blocks(IAM, "json"))
    allowed: set[str] = set()
    for statement in policy["Statement"]:
        actions = statement["Action"]
        if statement["Effect"] == "Allow":
            allowed |= {actions} if isinstance(actions, str) else set(actions)
    asked = {
        str(call.args[0].value)
        for call in ast.walk(ast.parse(Path(aws.__file__).read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Asked"
        if isinstance(call.args[0], ast.Constant) and str(call.args[0].value)[0].isupper()
    }
    ours = {f"secretsmanager:{each}" for each in asked - {"GetCallerIdentity"}}
    assert allowed == ours | {"kms:Decrypt", "kms:GenerateDataKey"}
    assert all(f"`{each}`" in prose(IAM) for each in allowed | {"sts:GetCallerIdentity"})


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_link_inside_the_repository_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        page = (document.parent / path).resolve() if path else document
        assert page.exists(), target
        assert not anchor or anchor in anchors(page), target
