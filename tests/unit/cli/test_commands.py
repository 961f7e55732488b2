"""Which commands and flags there are, under which name, what they cost to start, and that their page tells them all."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from rotated_secrets.cli import main, plugin
from rotated_secrets.cli.answers import Outcome
from tests.unit.cli.objects import object_of, status_of
from tests.unit.cli.scripted_api import Answer, ScriptedApi, listed, refusal, scripted_api
from tests.unit.docs.documents import ROOT, blocks

PAGE = ROOT / "docs" / "cli.md"
BOTH = pytest.mark.parametrize("app", [main.app, plugin.app], ids=["rotated-secrets", "kubectl rotatedsecret"])
EVERYWHERE = {"--namespace", "-n", "--context", "--kubeconfig", "--output", "-o", "--help", "-h"}
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
runner = CliRunner()


def commands(app: typer.Typer) -> dict[str, set[str]]:
    """The flags of each command, short ones too."""
    group: typer.core.TyperGroup = typer.main.get_command(app)  # type: ignore[assignment]
    context = typer.Context(group, **group.context_settings)
    found = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        params = command.get_params(context) if name != "run" else []
        found[name] = {each for param in params for each in param.opts if each.startswith("-")}
    return found


def sections() -> dict[str, str]:
    """The page's text by its headings."""
    _, *parts = re.split(r"^#{2,3} (.+)$", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def flags_in(text: str) -> set[str]:
    return set(re.findall(r"^\| `(--[a-z-]+)`", text, re.MULTILINE)) | set(re.findall(r"\| `(-[a-zA-Z])` \|", text))


# ---- the page


@pytest.mark.parametrize("name", commands(main.app))
def test_the_page_tells_of_each_command_and_each_of_its_flags(name: str) -> None:
    flags = commands(main.app)[name]
    assert flags_in(sections()["What all commands share"]) == EVERYWHERE
    assert flags_in(sections()[name]) == flags - EVERYWHERE
    assert not flags or flags >= EVERYWHERE


def test_the_page_tells_of_every_outcome() -> None:
    told = set(re.findall(r"`(\w+)`", sections()["Output for programs"]))
    assert told >= set(Outcome)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScriptedApi]:
    """Where the kubeconfig leads; its answers are still to be said."""
    with scripted_api() as scripted:
        context = {"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "shop"}}
        written = {
            "contexts": [context, {"name": "other", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": {"server": scripted.url}}],
            "users": [{"name": "test", "user": {"token": "t"}}],
            "current-context": "test",
        }
        (tmp_path / "config").write_text(json.dumps(written))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        yield scripted


def test_programs_read_what_the_page_promises(api: ScriptedApi) -> None:
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


# ---- names and flags


def test_the_plugin_has_all_commands_but_the_operator() -> None:
    ours = commands(main.app)
    assert commands(plugin.app) == {name: flags for name, flags in ours.items() if name != "run"}


@pytest.mark.parametrize("name", commands(plugin.app))
def test_help_says_the_name_by_which_it_was_called(name: str) -> None:
    for app, called in ((main.app, "rotated-secrets"), (plugin.app, plugin.NAME)):
        told = runner.invoke(app, [name, "--help"], prog_name=called).stdout
        assert f"Usage: {called} {name}" in " ".join(told.split())


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
    api.answers += [listed(object_of(name="b"), object_of(name="a"))]
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
        api.answers += [listed(*before), refusal(403, "the policy says no"), *done]
        result = runner.invoke(main.app, [command, "--all", *arguments])
        assert result.exit_code == 1
        assert result.stderr.startswith(f"✗ shop/a was not {word}: ")
        assert len(result.stderr.splitlines()) == 1
        if arguments:
            told = [(each["name"], each["suspended"]) for each in json.loads(result.stdout)["items"]]
            assert told == [("b", to), ("c", to)]
        else:
            assert result.stdout == f"shop/b {word}\nshop/c {word}\n"


def test_an_empty_list_is_said_on_stderr_and_is_a_list_for_programs(api: ScriptedApi) -> None:
    api.answers += [listed(), listed()]
    result = runner.invoke(main.app, ["list", "-l", "app=shop"])
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "there are no RotatedSecrets in namespace shop with labels app=shop\n"
    assert json.loads(runner.invoke(main.app, ["list", "-o", "json"]).stdout) == {"items": []}


# ---- where the cluster is


def test_the_namespace_is_that_of_the_context_unless_named(api: ScriptedApi) -> None:
    for arguments, namespace in (([], "shop"), (["-n", "billing"], "billing"), (["--context", "other"], "default")):
        api.answers += [listed()]
        runner.invoke(main.app, ["list", *arguments])
        assert f"/namespaces/{namespace}/" in api.asked[-1]


def test_a_context_that_is_not_there_is_told_with_those_that_are(api: ScriptedApi) -> None:
    told = runner.invoke(main.app, ["list", "--context", "othr"], prog_name="x").stderr
    assert told == f"x: {os.environ['KUBECONFIG']} has no context othr; did you mean other?\n"
    told = runner.invoke(main.app, ["list", "--context", "production"], prog_name="x").stderr
    assert told == f"x: {os.environ['KUBECONFIG']} has no context production; it has test, other\n"


@pytest.mark.parametrize("content", [None, "contexts: [", "{}"])
def test_a_kubeconfig_that_is_none_is_told_in_one_line(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    result = runner.invoke(main.app, ["list", "--kubeconfig", str(path)], prog_name="x")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert re.match(
        rf"x: (kubeconfig )?{re.escape(str(path))} .+ name (another by --kubeconfig|one by --context)", result.stderr
    )


def test_what_a_credential_plugin_says_is_passed_on(api: ScriptedApi, tmp_path: Path) -> None:
    path = Path(os.environ["KUBECONFIG"])
    written = json.loads(path.read_text())
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "interactiveMode": "Never"}
    token = {"kind": "ExecCredential", "apiVersion": command["apiVersion"], "status": {"token": "from the plugin"}}
    command["args"] = ["-c", f"print({json.dumps(json.dumps(token))})"]  # type: ignore[assignment]
    written["users"][0]["user"] = {"exec": command}
    path.write_text(json.dumps(written))
    api.answers += [listed()]
    assert runner.invoke(main.app, ["list"]).exit_code == 0
    assert api.tokens[-1] == "Bearer from the plugin"


# ---- completion


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["res"], ["resync", "resume"]),
        (["list", "--all-n"], ["--all-namespaces"]),
        (["list", "-o", ""], ["json", "yaml"]),
        (["describe", ""], ["orders-db", "prices"]),
        (["describe", "orders-db", ""], ["prices"]),
        (["rotate", "--wait", "pr"], ["prices"]),
        (["list", "--context", ""], ["test", "other"]),
        (["list", "-n", ""], ["shop"]),
    ],
)
def test_kubectl_is_told_what_may_stand_there(
    words: list[str],
    offered: list[str],
    api: ScriptedApi,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    api.answers += [listed(object_of(name="orders-db"), object_of(name="prices"))]
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-rotatedsecret", *words])
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(SystemExit) as ended:
        plugin.complete()
    assert not ended.value.code
    *lines, directive = capsys.readouterr().out.splitlines()
    assert [line.partition("\t")[0] for line in lines if line] == offered
    assert directive == ":4"


def test_a_cluster_that_does_not_answer_offers_nothing_and_says_nothing(
    api: ScriptedApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-rotatedsecret", "describe", ""])
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(SystemExit):
        plugin.complete()
    told = capsys.readouterr()
    assert (told.out.split(), told.err) == ([":4"], "")


# ---- what it costs


def loaded_by(app: str, *arguments: str) -> set[str]:
    """The modules that a process has imported that ran this."""
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


def test_a_command_loads_no_aws_no_driver_and_no_controller(api: ScriptedApi) -> None:
    api.answers += [listed(object_of(status_of()))]
    loaded = loaded_by("main", "list")
    assert "kubernetes" in loaded
    assert loaded & set(HEAVY) == set()
    assert not {each for each in loaded if each.startswith(("rotated_secrets.controller", "rotated_secrets.databases"))}
    assert "aws_croniter" not in loaded


def test_help_does_not_even_load_what_speaks_to_a_cluster() -> None:
    assert "kubernetes" not in loaded_by("plugin", "rotate", "--help")
    assert "kubernetes" not in loaded_by("main", "--help")


# ---- the screen


def test_colours_are_for_terminals_that_want_them(api: ScriptedApi) -> None:
    for environment, coloured in (
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ):
        api.answers += [listed(object_of(status_of()))]
        told = runner.invoke(main.app, ["list"], env={"TERM": "xterm-256color", "COLUMNS": "120", **environment}).stdout
        assert ("\x1b[32m" in told) is coloured
        assert "orders-db" in told


def test_a_terminal_that_knows_few_letters_gets_an_answer_all_the_same(api: ScriptedApi) -> None:
    api.answers += [listed(object_of(status_of({})))]
    code = "from rotated_secrets.cli.main import app; app(['list'])"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "operator"), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "orders-db" in done.stdout
