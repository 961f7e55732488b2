"""Colours and characters depend on what the terminal can show."""

from __future__ import annotations

import os
import subprocess
import sys

from typer.testing import CliRunner

from rotated_secrets.cli import main
from tests.support.cli.resource_builders import object_of, status_of
from tests.support.cli.scripted_api import ScriptedApi, list_of
from tests.support.documents import ROOT

runner = CliRunner()


def test_colours_are_for_terminals_that_want_them(api: ScriptedApi) -> None:
    for environment, coloured in (
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ):
        api.answers += [list_of(object_of(status_of()))]
        output = runner.invoke(
            main.app, ["list"], env={"TERM": "xterm-256color", "COLUMNS": "120", **environment}
        ).stdout
        assert ("\x1b[32m" in output) is coloured
        assert "orders-db" in output


def test_a_terminal_with_few_characters_still_gets_the_result(api: ScriptedApi) -> None:
    api.answers += [list_of(object_of(status_of({})))]
    code = "from rotated_secrets.cli.main import app; app(['list'])"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "operator"), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "orders-db" in done.stdout
