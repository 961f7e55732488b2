"""Two releases of different versions, as two processes, on one CustomResourceDefinition, which is the newer one's; then
that release is rolled back."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.application import create_application
from sandbox.operatorprocess import OperatorProcess
from sandbox.stack import ROOT, Stack, install_crd
from sandbox.waiting import eventually
from tests.e2e.conftest import DATABASE, IMPATIENT, MakeApplication
from tests.support.applied import Applied, as_delivered

CHANGES = {
    "api/target.py": (
        "    immutable: bool = False\n",
        '    seal: Annotated[str, Field(max_length=16)] = "Wax"\n    immutable: bool = False\n',
    ),
    "api/status.py": (
        '    ANNOTATION = "Annotation"\n',
        '    ANNOTATION = "Request"\n    BY_ANNOTATION = "Annotation"\n',
    ),
}
"""What a later version may bring: a field with a default, and another word in the history."""


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The import root of a later version."""
    root = tmp_path_factory.mktemp("newer") / "operator"
    shutil.copytree(ROOT / "operator", root, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (before, after) in CHANGES.items():
        file = root / "rotated_secrets" / name
        text = file.read_text()
        assert text.count(before) == 1
        file.write_text(text.replace(before, after))
    return root


@pytest.fixture
def newer_definition(newer: Path, stack: Stack) -> Iterator[None]:
    made = subprocess.run(
        [sys.executable, "-m", "rotated_secrets.api.crd"],
        env=os.environ | {"PYTHONPATH": str(newer)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Wax" in made
    stack.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=made)
    yield
    install_crd(stack.cluster)


@pytest.fixture
def elsewhere(stack: Stack) -> str:
    """The namespace of the newer release."""
    made = stack.api.create("/api/v1/namespaces", {"metadata": {"generateName": "newer-"}})
    name: str = made["metadata"]["name"]
    return name


@pytest.fixture
def theirs(stack: Stack, elsewhere: str) -> Iterator[Applied]:
    name = f"orders-{secrets.token_hex(4)}"
    applied = Applied(create_application(stack, elsewhere, name, database=DATABASE))
    yield applied
    applied.delete()


def release(stack: Stack, kubeconfig: Path, namespace: str, log: str, version: Path | None = None) -> OperatorProcess:
    """An operator that is not started yet, of a version that is not this one where ``version`` names it."""
    where = ("--namespaces", namespace, "--lease-namespace", namespace)
    on = stack if version is None else replace(stack, interpreter=None)
    made = OperatorProcess(on, kubeconfig, stack.directory / log, *where, *IMPATIENT)
    if version is not None:
        made.environment["PYTHONPATH"] = str(version)
    return made


def rotates(orders: Applied, request: str) -> None:
    orders.rotate(request)
    assert orders.secret() == as_delivered(orders.application.value())


def triggers(orders: Applied) -> list[str]:
    return [entry["trigger"] for entry in orders.status["history"]]


@pytest.mark.usefixtures("operator", "newer_definition")
def test_two_versions_serve_one_definition_and_the_newer_one_is_rolled_back(
    newer: Path,
    stack: Stack,
    operator_kubeconfig: Path,
    elsewhere: str,
    theirs: Applied,
    make_application: MakeApplication,
) -> None:
    ours = make_application()
    with release(stack, operator_kubeconfig, elsewhere, "newer.log", newer) as process:
        process.wait_until_it_leads()
        eventually(lambda: "seal" in str(dry_run(ours)), "the newer definition is in force")
        for each in (ours, theirs):
            each.apply().until_ready()
            rotates(each, "of either version")
        assert (triggers(ours), triggers(theirs)) == (["Annotation"], ["Request"])
        process.terminate()
    with release(stack, operator_kubeconfig, elsewhere, "rolled-back.log") as process:
        process.wait_until_it_leads()
        rotates(theirs, "beside the definition of the newer version")
        install_crd(stack.cluster)
        eventually(lambda: "seal" not in str(dry_run(ours)), "the definition is rolled back too")
        for each in (ours, theirs):
            rotates(each, "after the roll-back")
        assert set(triggers(theirs)) == {"Annotation"}


def dry_run(orders: Applied) -> object:
    """The spec that the API server makes of a RotatedSecret now."""
    manifest = orders.application.manifest()
    manifest["metadata"]["name"] = "tried"
    return orders.api.create(orders.path, manifest, dryRun="All")["spec"]
