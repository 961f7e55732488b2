"""Names, flags and arguments of the commands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from rotated_secrets.cli import main, plugin
from tests.support.cli.command_flags import flags_by_command
from tests.support.cli.resource_builders import object_of
from tests.support.cli.scripted_api import Answer, ScriptedApi, list_of, refusal
from tests.support.documents import ROOT

BOTH = pytest.mark.parametrize("app", [main.app, plugin.app], ids=["rotated-secrets", "kubectl rotatedsecret"])
runner = CliRunner()


def test_the_plugin_has_all_commands_but_the_operator() -> None:
    ours = flags_by_command(main.app)
    assert flags_by_command(plugin.app) == {name: flags for name, flags in ours.items() if name != "run"}


@pytest.mark.parametrize("name", flags_by_command(plugin.app))
def test_help_shows_the_program_name_it_was_called_with(name: str) -> None:
    for app, called in ((main.app, "rotated-secrets"), (plugin.app, plugin.NAME)):
        output = runner.invoke(app, [name, "--help"], prog_name=called).stdout
        assert f"Usage: {called} {name}" in " ".join(output.split())


@BOTH
def test_a_usage_error_does_not_exit_with_the_code_for_held(app: typer.Typer) -> None:
    for arguments in (["rotate", "--often"], ["rotat"], ["rotate", "x", "--timeout", "soon"], ["rotate"]):
        result = runner.invoke(app, arguments, prog_name="x")
        assert result.exit_code == 1, arguments
        assert result.stdout == ""


@BOTH
@pytest.mark.parametrize("arguments", [[], ["a", "--all"], ["-l", "app=x", "--all"], ["a", "-l", "app=x"]])
def test_names_selector_and_all_exclude_each_other(app: typer.Typer, arguments: list[str], api: ScriptedApi) -> None:
    for command in ("describe", "history", "rotate", "resync", "suspend", "resume"):
        result = runner.invoke(app, [command, *arguments], prog_name="x")
        assert result.exit_code == 1
        assert (
            "x: select RotatedSecrets by their names, by --selector or by --all: exactly one of the three\n"
            in result.stderr
        )
    assert api.asked == []


def test_names_may_be_written_as_kubectl_prints_them(api: ScriptedApi) -> None:
    api.answers += [Answer(body=object_of(name=name)) for name in ("a", "b")]
    result = runner.invoke(main.app, ["list", "rotatedsecret.rotatedsecrets.io/a", "b", "-o", "json"])
    assert [each["name"] for each in json.loads(result.stdout)["items"]] == ["a", "b"]


def test_nothing_is_requested_when_one_of_several_names_does_not_exist(api: ScriptedApi) -> None:
    missing = refusal(404, "not found", name="b")
    api.answers += [Answer(body=object_of(name="a")), missing, refusal(403)]
    result = runner.invoke(main.app, ["rotate", "a", "b"])
    assert result.exit_code == 1
    assert api.bodies == []


def test_each_resource_with_a_label_gets_a_request_value_for_itself(api: ScriptedApi) -> None:
    api.answers += [list_of(object_of(name="b"), object_of(name="a"))]
    api.answers += [Answer(body=object_of(name=name)) for name in ("a", "b")]
    result = runner.invoke(main.app, ["rotate", "-l", "app=shop"])
    assert result.exit_code == 0
    assert result.stdout == "✓ shop/a rotation requested\n✓ shop/b rotation requested\n"
    requests = [body["metadata"]["annotations"]["rotatedsecrets.io/rotate"] for body in api.bodies]
    assert len(set(requests)) == 2
    assert all(re.fullmatch(r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\dZ-[0-9a-f]{8}", each) for each in requests)


@pytest.mark.parametrize("command", ["suspend", "resume"])
def test_a_refusal_does_not_keep_others_from_being_suspended_or_resumed(command: str, api: ScriptedApi) -> None:
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


def test_an_empty_list_is_a_note_on_stderr_and_an_empty_list_in_json(api: ScriptedApi) -> None:
    api.answers += [list_of(), list_of()]
    result = runner.invoke(main.app, ["list", "-l", "app=shop"])
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "there are no RotatedSecrets in namespace shop with labels app=shop\n"
    assert json.loads(runner.invoke(main.app, ["list", "-o", "json"]).stdout) == {"items": []}


@BOTH
@pytest.mark.parametrize("command", ["rotate", "resync"])
def test_a_timeout_without_a_wait_is_refused_and_requests_nothing(
    command: str, app: typer.Typer, api: ScriptedApi
) -> None:
    result = runner.invoke(app, [command, "a", "--timeout", "5m"], prog_name="x")
    assert result.exit_code == 1
    assert result.stderr == "x: --timeout has no effect without --wait; add --wait, or leave --timeout out\n"
    assert api.asked == []


def ran(arguments: list[str], redirected: str) -> tuple[int, str, str]:
    """The exit code and both outputs of a process whose streams the shell redirects."""
    code = "from rotated_secrets.cli.main import app; app(prog_name='rotated-secrets')"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "operator")}
    command = ["/bin/sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [["list"], ["list", "-o", "json"], ["describe", "a"], ["--version"], ["--help"]])
def test_a_result_that_cannot_be_written_is_an_error_in_one_line(arguments: list[str], api: ScriptedApi) -> None:
    one = object_of(name="a")
    api.answers += [list_of(one) if arguments[0] == "list" else Answer(body=one)]
    written = ran(arguments, ">/dev/full")
    assert written == (1, "", "rotated-secrets: cannot write the result: No space left on device\n")


@pytest.mark.parametrize("command", ["suspend", "resume", "rotate", "resync"])
@pytest.mark.parametrize(("redirected", "said"), [(">/dev/full", "No space left on device"), ("| true", "")])
def test_a_result_that_cannot_be_written_keeps_no_resource_from_its_change(
    command: str, redirected: str, said: str, api: ScriptedApi
) -> None:
    names = ("a", "b", "c")
    api.answers += [list_of(*(object_of(name=name) for name in names))]
    api.answers += [Answer(body=object_of(name=name)) for name in names]
    _, _, err = ran([command, "--all"], redirected)
    assert [asked.partition(" ")[0].rpartition("/")[2] for asked in api.asked[1:]] == list(names)
    assert len(api.bodies) == len(names)
    assert said in err
    assert "Traceback" not in err


def test_notes_that_cannot_be_written_do_not_change_the_exit_code(api: ScriptedApi) -> None:
    api.answers += [list_of(), list_of(object_of(name="a"))]
    assert ran(["list"], "2>/dev/full") == (0, "", "")
    assert ran(["rotate"], "2>/dev/full")[0] == 1
    assert ran(["list", "-o", "name"], ">/dev/full 2>/dev/full")[0] == 1


@pytest.mark.parametrize("redirected", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_error(redirected: str, api: ScriptedApi) -> None:
    api.answers += [list_of(object_of(name="a"))]
    code, _, err = ran(["list"], redirected)
    assert (code, err) == (0, "")
