"""Commands import only what they need, so that they start fast."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.cli.resource_builders import object_of, status_of
from tests.support.cli.scripted_api import ScriptedApi, list_of
from tests.support.documents import ROOT

HEAVY = (
    "boto3",
    "botocore",
    "kopf",
    "psycopg2",
    "pymysql",
    "pymongo",
    "redis",
    "oracledb",
    "pytds",
    "prometheus_client",
)


def loaded_by(app: str, *arguments: str) -> set[str]:
    """Run a command in a new process. Returns the modules that it has imported."""
    code = f"""
import sys
from rotated_secrets.cli.{app} import app
try:
    app({list(arguments)!r}, prog_name="x")
except SystemExit:
    pass
print(*sys.modules)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "operator")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_a_command_imports_no_aws_no_driver_and_no_controller(api: ScriptedApi) -> None:
    api.answers += [list_of(object_of(status_of()))]
    loaded = loaded_by("main", "list")
    assert "kubernetes" in loaded
    assert loaded & set(HEAVY) == set()
    assert not {each for each in loaded if each.startswith(("rotated_secrets.controller", "rotated_secrets.databases"))}
    assert "rotated_secrets.rotation.cron" not in loaded


def test_help_does_not_import_the_kubernetes_client() -> None:
    assert "kubernetes" not in loaded_by("plugin", "rotate", "--help")
    assert "kubernetes" not in loaded_by("main", "--help")
