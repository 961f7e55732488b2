"""``describe``: all details of some RotatedSecrets."""

from __future__ import annotations

from datetime import UTC, datetime

import typer
from rich.text import Text

from rotated_secrets.cli import options
from rotated_secrets.cli.view import structured_output
from rotated_secrets.cli.view.description import description
from rotated_secrets.cli.view.help_page import help_about


def describe(
    ctx: typer.Context,
    names: options.Names = None,
    selector: options.Selector = "",
    everything: options.All = False,
    output: options.Output = None,
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Show all details of RotatedSecrets: conditions, versions, past and next rotations, and problems."""
    # The schedule parser is slow to import, and `list` does not need it.
    from rotated_secrets.cli.view.due_times import due_times  # noqa: PLC0415

    printer = options.printer_for(ctx, output)
    client = options.connect(kubeconfig, context, namespace)
    now = datetime.now(UTC)
    selected = options.select(client, names, selector, everything)
    found = [(resource, due_times(resource, now)) for resource in selected]
    if output:
        printer.print_records([structured_output.full(resource, due) for resource, due in found])
        return
    for number, (resource, due) in enumerate(found):
        if number:
            printer.print(Text())
        printer.print(description(resource, due, now, width=printer.width))
        if line := help_about(resource):
            printer.print(Text(f"\n{line}"))
