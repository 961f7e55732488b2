"""``history``: the last rotations of some RotatedSecrets."""

from __future__ import annotations

from datetime import UTC, datetime

import typer
from rich.text import Text

from rotated_secrets.cli import options
from rotated_secrets.cli.view import structured_output
from rotated_secrets.cli.view.history import past_attempts
from rotated_secrets.cli.view.printer import Tone


def history(
    ctx: typer.Context,
    names: options.Names = None,
    selector: options.Selector = "",
    everything: options.All = False,
    output: options.Output = None,
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Show the last rotations of RotatedSecrets, newest first: when, why, for which user, and how they ended."""
    printer = options.printer_for(ctx, output)
    client = options.connect(kubeconfig, context, namespace)
    found = options.select(client, names, selector, everything)
    if output:
        printer.print_records([structured_output.history(each) for each in found])
        return
    for number, resource in enumerate(found):
        if number:
            printer.print(Text())
        if len(found) > 1:
            printer.print(Text(str(resource), Tone.STRONG))
        printer.print(past_attempts(resource.history, datetime.now(UTC)))
