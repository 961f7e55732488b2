"""Which cluster and namespace a command uses, and errors in a kubeconfig."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rotated_secrets.cli import main
from tests.support.cli.scripted_api import ScriptedApi, list_of

runner = CliRunner()


def test_the_namespace_is_that_of_the_context_unless_a_flag_names_one(api: ScriptedApi) -> None:
    for arguments, namespace in (([], "shop"), (["-n", "billing"], "billing"), (["--context", "other"], "default")):
        api.answers += [list_of()]
        runner.invoke(main.app, ["list", *arguments])
        assert f"/namespaces/{namespace}/" in api.asked[-1]


def test_an_unknown_context_is_reported_with_the_known_ones(api: ScriptedApi) -> None:
    output = runner.invoke(main.app, ["list", "--context", "othr"], prog_name="x").stderr
    assert output == f"x: {os.environ['KUBECONFIG']} has no context othr; did you mean other?\n"
    output = runner.invoke(main.app, ["list", "--context", "production"], prog_name="x").stderr
    assert output == f"x: {os.environ['KUBECONFIG']} has no context production; it has test, other\n"


@pytest.mark.parametrize("content", [None, "contexts: [", "{}"])
def test_an_unusable_kubeconfig_is_reported_in_one_line(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    result = runner.invoke(main.app, ["list", "--kubeconfig", str(path)], prog_name="x")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert re.match(
        rf"x: (kubeconfig )?{re.escape(str(path))} .+ choose (another with --kubeconfig|one with --context)",
        result.stderr,
    )


def test_the_token_of_a_credential_plugin_is_used(api: ScriptedApi, tmp_path: Path) -> None:
    path = Path(os.environ["KUBECONFIG"])
    written = json.loads(path.read_text())
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "interactiveMode": "Never"}
    token = {"kind": "ExecCredential", "apiVersion": command["apiVersion"], "status": {"token": "from the plugin"}}
    command["args"] = ["-c", f"print({json.dumps(json.dumps(token))})"]  # type: ignore[assignment]
    written["users"][0]["user"] = {"exec": command}
    path.write_text(json.dumps(written))
    api.answers += [list_of()]
    assert runner.invoke(main.app, ["list"]).exit_code == 0
    assert api.tokens[-1] == "Bearer from the plugin"
