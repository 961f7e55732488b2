"""The command line of the operator: settings, help and exit codes."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rotated_secrets.cli import main, operator
from rotated_secrets.controller.services import Reconciler
from rotated_secrets.controller.settings import Settings, flag, variable

runner = CliRunner()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings of each operator that a test starts."""
    found: list[Settings] = []

    def run(settings: Settings, _: Reconciler) -> int:
        found.append(settings)
        return 7

    monkeypatch.setattr(operator, "run", run)
    return found


def test_flags_override_variables_and_variables_override_defaults(started: list[Settings]) -> None:
    result = runner.invoke(
        main.app,
        ["run", "--threads", "3", "--namespaces", "shop,billing"],
        env={variable("threads"): "5", variable("log_format"): "text"},
    )
    assert result.exit_code == 7
    (settings,) = started
    assert (settings.threads, settings.log_format) == (3, "text")
    assert settings.namespaces == ("shop", "billing")
    assert settings.retry_period == Settings.model_fields["retry_period"].default


def test_invalid_setting_starts_nothing(started: list[Settings]) -> None:
    result = runner.invoke(main.app, ["run", "--threads", "many"])
    assert result.exit_code == 2
    assert result.output.startswith("rotated-secrets: --threads: input should be a valid integer")
    assert len(result.output.splitlines()) == 1
    assert not started


def test_help_names_every_setting_with_its_variable() -> None:
    shown = runner.invoke(main.app, ["run", "--help"], env={"COLUMNS": "200"}, terminal_width=200).output
    for name in Settings.model_fields:
        assert flag(name) in shown
        assert variable(name) in shown


def test_sigterm_ends_it_with_exit_code_0_also_while_it_is_imported() -> None:
    code = "\n".join(
        (
            "import builtins, os, signal, time",
            "from rotated_secrets.cli.main import app",
            "imported = builtins.__import__",
            "def slow(name, *rest):",
            "    if name == 'rotated_secrets.cli.operator':",
            "        os.kill(os.getpid(), signal.SIGTERM)",
            "        time.sleep(60)",
            "    return imported(name, *rest)",
            "builtins.__import__ = slow",
            "app(['run'], prog_name='rotated-secrets')",
        )
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_version_is_that_of_the_package() -> None:
    version = importlib.metadata.version("rotated-secrets")
    assert runner.invoke(main.app, ["--version"]).output == f"rotated-secrets {version}\n"


def test_file_in_a_setting_must_exist(started: list[Settings], tmp_path: Path) -> None:
    missing, there = tmp_path / "missing", tmp_path / "policy.yaml"
    there.touch()
    assert runner.invoke(main.app, ["run", "--access-policy-file", str(missing)]).exit_code == 2
    assert runner.invoke(main.app, ["run", "--access-policy-file", str(there)]).exit_code == 7
    assert [each.access_policy_file for each in started] == [there]
