"""The command ``rotated-secrets``: commands for people, and ``run``, which starts the operator."""

from __future__ import annotations

import importlib.metadata
import signal
import sys
from functools import cache
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from rotated_secrets.cli.command_group import CommandGroup, add_commands

app = typer.Typer(
    name="rotated-secrets",
    help="Rotate database credentials held in AWS Secrets Manager, and keep Kubernetes Secrets equal to them.",
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
add_commands(app)


def print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rotated-secrets {importlib.metadata.version('rotated-secrets')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Rotate database credentials held in AWS Secrets Manager, and keep Kubernetes Secrets equal to them."""


class OperatorCommand(TyperCommand):
    """``run``, which imports the operator only when it is used: the other commands need not wait for that import."""

    @cache  # noqa: B019 - there is one instance
    def _real(self) -> Any:
        # Until the operator takes over: the first process of a container would not even notice the signal, and be
        # killed after the grace period. Source: "PID namespaces", pid_namespaces(7).
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        from rotated_secrets.cli.operator import app as operator  # noqa: PLC0415

        return typer.main.get_command(operator)

    def get_params(self, ctx: Any) -> Any:
        return self._real().get_params(ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._real().format_help(ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        return self._real().invoke(ctx)


@app.command("run", cls=OperatorCommand, rich_help_panel="Operator")
def run() -> None:
    """Run the operator until SIGTERM or SIGINT."""
