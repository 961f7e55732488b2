"""Names, flags and arguments of the commands."""

from __future__ import annotations

import json
import re

import pytest
import typer
from typer.testing import CliRunner

from rotated_secrets.cli import main, plugin
from tests.support.cli.command_flags import flags_by_command
from tests.support.cli.resource_builders import object_of
from tests.support.cli.scripted_api import Answer, ScriptedApi, list_of, refusal

BOTH = pytest.mark.parametrize("app", [main.app, plugin.app], ids=["rotated-secrets", "kubectl rotatedsecret"])
runner = CliRunner()


def test_the_plugin_has_all_commands_but_the_operator() -> None:
    ours = flags_by_command(main.app)
    assert flags_by_command(plugin.app) == {name: flags for name, flags in ours.items() if name != "run"}


@pytest.mark.parametrize("name", flags_by_command(plugin.app))
def test_help_says_the_name_by_which_it_was_called(name: str) -> None:
    for app, called in ((main.app, "rotated-secrets"), (plugin.app, plugin.NAME)):
        output = runner.invoke(app, [name, "--help"], prog_name=called).stdout
        assert f"Usage: {called} {name}" in " ".join(output.split())


@BOTH
def test_a_wrong_flag_is_no_hold(app: typer.Typer) -> None:
    for arguments in (["rotate", "--often"], ["rotat"], ["rotate", "x", "--timeout", "soon"], ["rotate"]):
        result = runner.invoke(app, arguments, prog_name="x")
        assert result.exit_code == 1, arguments
        assert result.stdout == ""


@BOTH
@pytest.mark.parametrize("arguments", [[], ["a", "--all"], ["-l", "app=x", "--all"], ["a", "-l", "app=x"]])
def test_what_is_meant_is_said_in_one_way(app: typer.Typer, arguments: list[str], api: ScriptedApi) -> None:
    for command in ("describe", "history", "rotate", "resync", "suspend", "resume"):
        result = runner.invoke(app, [command, *arguments], prog_name="x")
        assert result.exit_code == 1
        assert "x: name the RotatedSecrets, or say which by --selector or --all: one of the three\n" in result.stderr
    assert api.asked == []


def test_names_may_be_written_as_kubectl_prints_them(api: ScriptedApi) -> None:
    api.answers += [Answer(body=object_of(name=name)) for name in ("a", "b")]
    result = runner.invoke(main.app, ["list", "rotatedsecret.rotatedsecrets.io/a", "b", "-o", "json"])
    assert [each["name"] for each in json.loads(result.stdout)["items"]] == ["a", "b"]


def test_nothing_is_asked_for_where_one_of_several_is_not_there(api: ScriptedApi) -> None:
    missing = refusal(404, "not found", name="b")
    api.answers += [Answer(body=object_of(name="a")), missing, refusal(403)]
    result = runner.invoke(main.app, ["rotate", "a", "b"])
    assert result.exit_code == 1
    assert api.bodies == []


def test_those_with_a_label_are_asked_for_each_by_a_value_of_its_own(api: ScriptedApi) -> None:
    api.answers += [list_of(object_of(name="b"), object_of(name="a"))]
    api.answers += [Answer(body=object_of(name=name)) for name in ("a", "b")]
    result = runner.invoke(main.app, ["rotate", "-l", "app=shop"])
    assert result.exit_code == 0
    assert result.stdout == "✓ shop/a was asked for a rotation\n✓ shop/b was asked for a rotation\n"
    requests = [body["metadata"]["annotations"]["rotatedsecrets.io/rotate"] for body in api.bodies]
    assert len(set(requests)) == 2
    assert all(re.fullmatch(r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\dZ-[0-9a-f]{8}", each) for each in requests)


@pytest.mark.parametrize("command", ["suspend", "resume"])
def test_one_refusal_keeps_no_other_from_being_suspended_or_resumed(command: str, api: ScriptedApi) -> None:
    word, to = f"{command}ed".replace("ee", "e"), command == "suspend"
    before = [object_of(name=name, suspend=not to) for name in ("a", "b", "c")]
    for arguments in ([], ["-o", "json"]):
        done = [Answer(body=object_of(name=name, suspend=to)) for name in ("b", "c")]
        api.answers += [list_of(*before), refusal(403, "the policy says no"), *done]
        result = runner.invoke(main.app, [command, "--all", *arguments])
        assert result.exit_code == 1
        assert result.stderr.startswith(f"✗ shop/a was not {word}: ")
        assert len(result.stderr.splitlines()) == 1
        if arguments:
            output = [(each["name"], each["suspended"]) for each in json.loads(result.stdout)["items"]]
            assert output == [("b", to), ("c", to)]
        else:
            assert result.stdout == f"shop/b {word}\nshop/c {word}\n"


def test_an_empty_list_is_said_on_stderr_and_is_a_list_for_programs(api: ScriptedApi) -> None:
    api.answers += [list_of(), list_of()]
    result = runner.invoke(main.app, ["list", "-l", "app=shop"])
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "there are no RotatedSecrets in namespace shop with labels app=shop\n"
    assert json.loads(runner.invoke(main.app, ["list", "-o", "json"]).stdout) == {"items": []}
