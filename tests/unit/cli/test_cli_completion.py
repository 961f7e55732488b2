"""What the shell offers for TAB."""

from __future__ import annotations

import os
import sys

import pytest

from rotated_secrets.cli import plugin
from tests.support.cli.resource_builders import object_of
from tests.support.cli.scripted_api import ScriptedApi, list_of


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
def test_completion_offers_commands_flags_and_names(
    words: list[str],
    offered: list[str],
    api: ScriptedApi,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    api.answers += [list_of(object_of(name="orders-db"), object_of(name="prices"))]
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-rotatedsecret", *words])
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(SystemExit) as ended:
        plugin.complete()
    assert not ended.value.code
    *lines, directive = capsys.readouterr().out.splitlines()
    assert [line.partition("\t")[0] for line in lines if line] == offered
    assert directive == ":4"


def test_completion_is_empty_and_silent_when_the_cluster_does_not_answer(
    api: ScriptedApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-rotatedsecret", "describe", ""])
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(SystemExit):
        plugin.complete()
    output = capsys.readouterr()
    assert (output.out.split(), output.err) == ([":4"], "")
