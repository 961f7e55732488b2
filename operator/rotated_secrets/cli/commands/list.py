"""``list``: one line for each RotatedSecret."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from rotated_secrets.cli import options
from rotated_secrets.cli.errors import CommandError
from rotated_secrets.cli.kube.rotated_secret import read
from rotated_secrets.cli.view import structured_output
from rotated_secrets.cli.view.help_page import HELP, help_about
from rotated_secrets.cli.view.resource_table import resource_table


def list_resources(
    ctx: typer.Context,
    names: options.OptionalNames = None,
    everywhere: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="RotatedSecrets of all namespaces.")
    ] = False,
    selector: options.Selector = "",
    output: options.Output = None,
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """List RotatedSecrets: whether they are ready, the active user, the last and next rotation, and the state."""
    printer = options.printer_for(ctx, output)
    if names and (everywhere or selector):
        raise CommandError("names cannot be combined with --all-namespaces or --selector; leave one of them out")
    client = options.connect(kubeconfig, context, namespace)
    objects = (
        [client.get(options.bare_name(each)) for each in names]
        if names
        else client.list_all(everywhere=everywhere, selector=selector)
    )
    found = sorted(map(read, objects), key=lambda resource: (resource.namespace, resource.name))
    if output:
        printer.print_records([structured_output.summary(each) for each in found])
    elif found:
        printer.print(resource_table(found, datetime.now(UTC), everywhere=everywhere, width=printer.width))
        if any(map(help_about, found)):
            printer.note(HELP)
    else:
        where = "in any namespace" if everywhere else f"in namespace {client.namespace}"
        matching = f" with labels {selector}" if selector else ""
        printer.note(f"there are no RotatedSecrets {where}{matching}")
