"""The command ``kubectl rotatedsecret``, and its completion.

kubectl runs the program ``kubectl-rotatedsecret`` for the command, and ``kubectl_complete-rotatedsecret`` for TAB. The
latter gets the words after the plugin's name, the last one unfinished. It prints one line for each candidate, with a
description after a tab, and a last line with a number that tells the shell how to use them. Source: kubectl's "Extend
kubectl with plugins", and cobra's shell completion directives.
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import Annotated

import typer
from typer.completion import get_completion_inspect_parameters

from rotated_secrets.cli.command_group import CommandGroup, add_commands
from rotated_secrets.cli.main import print_version

NAME = "kubectl rotatedsecret"
NO_FILES = 4
"""Cobra's ShellCompDirectiveNoFileComp: do not offer file names."""
_VARIABLE = "_KUBECTL_ROTATEDSECRET_COMPLETE"

app = typer.Typer(
    name=NAME,
    help="Show RotatedSecrets, and request rotations.",
    cls=CommandGroup,
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
    """Show RotatedSecrets, and request rotations."""


def main() -> None:
    """Entry point of ``kubectl-rotatedsecret``."""
    app(prog_name=NAME)


def complete() -> None:
    """Entry point of ``kubectl_complete-rotatedsecret``: typer's answer to fish has the same lines as cobra's."""
    *words, unfinished = sys.argv[1:] or [""]
    line = shlex.join(["kubectl-rotatedsecret", *words])
    os.environ |= {
        _VARIABLE: "complete_fish",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": f"{line} {shlex.quote(unfinished) if unfinished else ''}",
    }
    get_completion_inspect_parameters()  # registers typer's shells; an app without add_completion does not
    try:
        app(prog_name=NAME, complete_var=_VARIABLE)
    finally:
        sys.stdout.write(f":{NO_FILES}\n")
