"""The names of the commands, and how a command ends when it fails."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperGroup

from rotated_secrets.cli.commands.describe import describe
from rotated_secrets.cli.commands.history import history
from rotated_secrets.cli.commands.list import list_resources
from rotated_secrets.cli.commands.resync import resync
from rotated_secrets.cli.commands.rotate import rotate
from rotated_secrets.cli.commands.suspend import resume, suspend
from rotated_secrets.cli.errors import CommandError

_UsageError: Final[type[Exception]] = typer.BadParameter.__mro__[1]
"""click's error for a wrong flag or argument. typer does not export it."""

_CANNOT_WRITE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EBADF})
"""Errors of a file or device that takes no more. A closed pipe is typer's to handle."""
VIEW, REQUESTS = "View", "Requests"


class CommandGroup(TyperGroup):
    """Prints an error in one line. A usage error exits with 1, because 2 means that a rotation is held."""

    def main(self, *args: Any, **extra: Any) -> Any:
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # it was closed by the shell
                setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - until the process ends
        try:
            return super().main(*args, **extra)
        except OSError as error:
            if error.errno not in _CANNOT_WRITE:
                raise
            with contextlib.suppress(OSError):
                typer.echo(
                    f"{extra.get('prog_name') or self.name}: cannot write the result: {error.strerror}", err=True
                )
            # What is left in the buffers would be an error again when Python ends.
            for stream in (sys.stdout, sys.stderr):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            sys.exit(1)

    def invoke(self, ctx: Any) -> Any:
        program = ctx.find_root().info_name
        # The kubeconfig library reports a failing credential plugin by a log record.
        logging.basicConfig(level=logging.ERROR, format=f"{program}: %(message)s")
        try:
            return super().invoke(ctx)
        except CommandError as error:
            with contextlib.suppress(OSError):
                typer.echo(f"{program}: {error}", err=True)
            raise typer.Exit(error.exit_code) from None
        except _UsageError as error:
            error.exit_code = 1  # type: ignore[attr-defined]
            raise


def add_commands(app: typer.Typer) -> None:
    """Add the commands that need only a kubeconfig."""
    app.command("list", rich_help_panel=VIEW)(list_resources)
    app.command("describe", rich_help_panel=VIEW)(describe)
    app.command("history", rich_help_panel=VIEW)(history)
    app.command("rotate", rich_help_panel=REQUESTS)(rotate)
    app.command("resync", rich_help_panel=REQUESTS)(resync)
    app.command("suspend", rich_help_panel=REQUESTS)(suspend)
    app.command("resume", rich_help_panel=REQUESTS)(resume)
