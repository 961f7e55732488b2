"""Which commands there are, by which name, and how one of them ends that cannot do what it was asked."""

from __future__ import annotations

import logging
from typing import Any, Final

import typer
from typer.core import TyperGroup

from rotated_secrets.cli import asking, looking
from rotated_secrets.cli.problem import Problem

_UsageError: Final[type[Exception]] = typer.BadParameter.__mro__[1]
"""Any wrong flag or argument, by the library's name for it, which typer does not pass on."""

LOOK, ASK = "Look", "Ask"


class Commands(TyperGroup):
    """Says in one line what went wrong, and keeps exit code 2 for what is held."""

    def invoke(self, ctx: Any) -> Any:
        program = ctx.find_root().info_name
        # The library for kubeconfigs says by the log what is wrong with a credential plugin.
        logging.basicConfig(level=logging.ERROR, format=f"{program}: %(message)s")
        try:
            return super().invoke(ctx)
        except Problem as problem:
            typer.echo(f"{program}: {problem}", err=True)
            raise typer.Exit(problem.exit_code) from None
        except _UsageError as error:
            error.exit_code = 1  # type: ignore[attr-defined]
            raise


def add_commands(app: typer.Typer) -> None:
    """Those that need a kubeconfig and nothing else."""
    app.command("list", rich_help_panel=LOOK)(looking.show_list)
    app.command("describe", rich_help_panel=LOOK)(looking.describe)
    app.command("history", rich_help_panel=LOOK)(looking.history)
    app.command("rotate", rich_help_panel=ASK)(asking.rotate)
    app.command("resync", rich_help_panel=ASK)(asking.resync)
    app.command("suspend", rich_help_panel=ASK)(asking.suspend)
    app.command("resume", rich_help_panel=ASK)(asking.resume)
