"""docs/cli.md describes every command, flag, outcome and JSON key."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from rotated_secrets.cli import main
from rotated_secrets.cli.requests.result import RequestOutcome
from tests.support.cli.command_flags import flags_by_command
from tests.support.cli.resource_builders import object_of, status_of
from tests.support.cli.scripted_api import Answer, ScriptedApi
from tests.support.documents import ROOT, blocks

PAGE = ROOT / "docs" / "cli.md"
EVERYWHERE = {"--namespace", "-n", "--context", "--kubeconfig", "--output", "-o", "--help", "-h"}
runner = CliRunner()


def sections() -> dict[str, str]:
    """Text of the page by heading."""
    _, *parts = re.split(r"^#{2,3} (.+)$", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def flags_in(text: str) -> set[str]:
    return set(re.findall(r"^\| `(--[a-z-]+)`", text, re.MULTILINE)) | set(re.findall(r"\| `(-[a-zA-Z])` \|", text))


@pytest.mark.parametrize("name", flags_by_command(main.app))
def test_the_page_describes_each_command_and_its_flags(name: str) -> None:
    flags = flags_by_command(main.app)[name]
    assert flags_in(sections()["What all commands share"]) == EVERYWHERE
    assert flags_in(sections()[name]) == flags - EVERYWHERE
    assert not flags or flags >= EVERYWHERE


def test_the_page_names_every_outcome() -> None:
    output = set(re.findall(r"`(\w+)`", sections()["Output for programs"]))
    assert output >= set(RequestOutcome)


def test_json_has_the_keys_that_the_page_promises(api: ScriptedApi) -> None:
    summary, more, answer = (set(json.loads(block)) for block in blocks(PAGE, "json"))
    one = Answer(body=object_of(status_of()))
    api.answers += [one, one, one, one]
    keys = {}
    for command in ("list", "describe", "history", "rotate"):
        api.answers.insert(0, one)
        result = runner.invoke(main.app, [command, "orders-db", "-o", "json"])
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        (item,) = json.loads(result.stdout)["items"]
        keys[command] = set(item)
    assert keys["list"] == summary
    assert keys["describe"] == summary | more
    assert keys["history"] == {"namespace", "name", "history"}
    assert keys["rotate"] == answer
