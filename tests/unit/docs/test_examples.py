"""Examples in the documents are valid for the code, and links lead to existing pages."""

from __future__ import annotations

import ast
import json
import re
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.target import Target
from rotated_secrets.cloud import instances
from rotated_secrets.controller.access.policy import AccessPolicy
from rotated_secrets.controller.access.policy_file import parse_policy
from rotated_secrets.delivery.render import render
from rotated_secrets.rotation.schedule import parse_schedule
from rotated_secrets.secretstores import aws_store
from rotated_secrets.values import Credential, SecretValue
from tests.support.documents import DOCUMENTS, ROOT, anchors, blocks, manifests, prose

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
        assert resource.skipped == ()
        assert resource.spec.rotation.schedule is None or parse_schedule(resource.spec.rotation.schedule)


def test_the_first_resource_fits_its_secrets_and_its_policy() -> None:
    (written,) = of_kind(README, "RotatedSecret")
    heredoc = r"create-secret --name (\S+) --secret-string file:///dev/stdin <<END\n(.*?)END\n"
    written_so = re.findall(heredoc, README.read_text(), re.DOTALL)
    created = {name: text.replace("$DB_PORT", "5432") for name, text in written_so}
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
    texts: dict[str, str] = {}
    for block in blocks(ROOT / "docs" / "reference.md", "yaml"):
        found = yaml.safe_load(block)
        if "target" in found:
            rendered = render(Target.model_validate(found["target"]), value)
            texts |= {key: text.reveal() for key, text in rendered.items()}
    assert texts["DATABASE_URL"] == "postgresql://u:p%2F@h:5432/d"
    assert texts["PGSSLMODE"] == "disable"
    assert texts["PGPASSWORD"] == "p/"


def test_the_first_policy_is_the_default_and_the_others_are_policies() -> None:
    first, *others = map(parse_policy, blocks(POLICY, "yaml"))
    assert first == AccessPolicy.default()
    assert len(others) >= 2


def test_the_iam_policies_allow_what_is_called_and_nothing_else() -> None:
    """The first policy is what every installation needs, the second what some features need more."""
    needed, more = (allowed_by(json.loads(block)) for block in blocks(IAM, "json"))
    asked = {each for (each,) in constants_of("_call", aws_store) if each[0].isupper()}
    always = asked - {"GetCallerIdentity", "RotateSecret"}
    assert needed == {f"secretsmanager:{each}" for each in always} | {"kms:Decrypt", "kms:GenerateDataKey"}
    described = {f"{service}:{operation}" for service, operation in constants_of("ask", instances)}
    reading = {"secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"}
    assert more == described | reading | {"secretsmanager:RotateSecret", "lambda:InvokeFunction"}
    assert all(f"`{each}`" in prose(IAM) for each in needed | more | {"sts:GetCallerIdentity"})


def allowed_by(policy: dict[str, list[dict[str, Any]]]) -> set[str]:
    allowed: set[str] = set()
    for statement in policy["Statement"]:
        actions = statement["Action"]
        if statement["Effect"] == "Allow":
            allowed |= {actions} if isinstance(actions, str) else set(actions)
    return allowed


def constants_of(function: str, module: ModuleType) -> set[tuple[str, ...]]:
    """Return the beginnings of the texts in a module's calls of a function."""
    found: set[tuple[str, ...]] = set()
    for call in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
        called = call.func if isinstance(call, ast.Call) else None
        name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
        if isinstance(call, ast.Call) and name == function:
            texts = takewhile(lambda each: isinstance(each, ast.Constant), call.args)
            found.add(tuple(str(each.value) for each in texts if isinstance(each, ast.Constant)))
    return found - {()}


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_link_inside_the_repository_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        page = (document.parent / path).resolve() if path else document
        assert page.exists(), target
        assert not anchor or anchor in anchors(page), target
