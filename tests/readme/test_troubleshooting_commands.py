"""The commands of docs/troubleshooting.md that only look at a cluster, run on one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rotated_secrets.api.names import API_VERSION, KIND, TROUBLESHOOTING
from sandbox.kubernetes.provider import Cluster, Provider
from sandbox.stack import install_crd
from tests.support.cli.resource_builders import claim_of, object_of, status_of
from tests.support.documents import ROOT, blocks

NAME = "orders-db"
FIRST, *OTHERS = blocks(ROOT / TROUBLESHOOTING, "sh")
LOOKS = re.compile(r"^kubectl (?:-n \S+ )?(?:get|describe|explain|logs|auth|patch|annotate|rotatedsecret) ")
LINES = [line for block in OTHERS for line in block.splitlines() if LOOKS.match(line)]
"""Not those that edit, delete or restart."""


def objects(namespace: str) -> list[dict[str, Any]]:
    """What the commands are about, in one namespace."""

    def manifest(api_version: str, kind: str, name: str, **rest: Any) -> dict[str, Any]:
        labels = {"app.kubernetes.io/name": "rotated-secrets"}
        metadata = {"namespace": namespace, "name": name, "labels": labels}
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}

    container = {"name": "operator", "image": "operator", "args": ["--namespaces=shop"]}
    pods = {"metadata": {"labels": {"app": "operator"}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"app": "operator"}}, "template": pods}
    return [
        manifest(API_VERSION, KIND, NAME, spec=object_of(name=NAME, namespace=namespace)["spec"]),
        manifest("v1", "Secret", NAME),
        manifest("apps/v1", "Deployment", "rotated-secrets", spec=spec),
        manifest("coordination.k8s.io/v1", "Lease", "rotated-secrets", spec={"holderIdentity": "operator"}),
    ]


@pytest.fixture
def shell(cluster: Cluster, namespace: str) -> Any:
    install_crd(cluster)
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects(namespace)))
    status = status_of(rotation=claim_of()).model_dump(mode="json", by_alias=True, exclude_none=True)
    body = yaml.safe_dump({"status": status})
    cluster.kubectl("-n", namespace, "patch", "rsec", NAME, "--subresource=status", "--type=merge", "-p", body)
    environment = cluster.environment()
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"

    def run(line: str) -> subprocess.CompletedProcess[str]:
        typed = ["bash", "-c", f"set -euo pipefail\n{line}"]
        return subprocess.run(typed, env=environment, capture_output=True, text=True, check=False, timeout=120)

    here = FIRST.replace("NS=shop", f"NS={namespace}").replace("OPERATOR=rotated-secrets", f"OPERATOR={namespace}")
    found = run(f"{here}\necho $NS $NAME $OPERATOR $SECRET $TARGET").stdout.split()
    assert found == [namespace, NAME, namespace, f"{namespace}/{NAME}", NAME]
    environment |= dict(zip(("NS", "NAME", "OPERATOR", "SECRET", "TARGET"), found, strict=True))
    return run


def test_commands_that_look_find_what_they_look_for(shell: Any, cluster: Cluster) -> None:
    """Without what filters their output: it finds nothing where nothing is wrong."""
    assert len(LINES) > 50
    said = {}
    for line in dict.fromkeys(LINES):
        if "--wait" in line:
            continue  # for an answer of an operator
        done = shell(line.partition(" | ")[0])
        if cluster.provider is Provider.EMBEDDED and "doesn't have a resource type" in done.stderr:
            continue  # it serves what the operator uses
        may_say_no = line.startswith("kubectl auth can-i") and done.stdout == "no\n"
        assert done.returncode == 0 or may_say_no, f"{line}\n{done.stderr}"
        said[line] = done.stdout
    conditions = next(text for line, text in said.items() if "{range .status.conditions[*]}" in line)
    assert "Ready=True CredentialWorks: AWSCURRENT works\n" in conditions
