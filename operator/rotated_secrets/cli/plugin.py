"""The command ``kubectl rotatedsecret``, and what the shell offers for it.

kubectl runs the program ``kubectl-rotatedsecret`` for the command, and ``kubectl_complete-rotatedsecret`` for TAB. The
latter gets the words after the plugin's name, the last one unfinished, and prints what may stand there: a line each,
with a description after a tab, and at the end a number that says what the shell is to do with it. Source: kubectl's
"Extend kubectl with plugins", and cobra's shell completion directives.
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import Annotated

import typer
from typer.completion import get_completion_inspect_parameters

from rotated_secrets.cli.commands import Commands, add_commands
from rotated_secrets.cli.main import print_version

NAME = "kubectl rotatedsecret"
NO_FILES = 4
"""Cobra's ShellCompDirectiveNoFileComp: file names are no answer."""
_VARIABLE = "_KUBECTL_ROTATEDSECRET_COMPLETE"

app = typer.Typer(
    name=NAME,
    help="Look at RotatedSecrets, and ask for rotations.",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
add_commands(app)


@app.callback()
def plugin(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Look at RotatedSecrets, and ask for rotations."""


def main() -> None:
    """``kubectl-rotatedsecret``."""
    app(prog_name=NAME)


def complete() -> None:
    """``kubectl_complete-rotatedsecret``, by what typer answers to fish, whose lines look the same as cobra's."""
    *words, unfinished = sys.argv[1:] or [""]
    line = shlex.join(["kubectl-rotatedsecret", *words])
    os.environ |= {
        _VARIABLE: "complete_fish",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": f"{line} {shlex.quote(unfinished) if unfinished else ''}",
    }
    get_completion_inspect_parameters()  # which makes typer's shells known, as an app with a completion of its own does
    try:
        app(prog_name=NAME, complete_var=_VARIABLE)
    finally:
        sys.stdout.write(f":{NO_FILES}\n")
