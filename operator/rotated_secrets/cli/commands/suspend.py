"""``suspend`` and ``resume``: set ``spec.rotation.suspend``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from rotated_secrets.cli import options
from rotated_secrets.cli.errors import CommandError
from rotated_secrets.cli.kube.rotated_secret import RotatedSecretView, read
from rotated_secrets.cli.requests.result import FAILED, RequestOutcome, RequestResult
from rotated_secrets.cli.view.printer import Printer

if TYPE_CHECKING:
    from rotated_secrets.cli.kube.client import RotatedSecretClient


def suspend(
    ctx: typer.Context,
    names: options.Names = None,
    selector: options.Selector = "",
    everything: options.All = False,
    output: options.Output = None,
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Start no rotation until resumed. A running rotation continues to its end; the Secret is kept up to date."""
    printer = options.printer_for(ctx, output)
    client = options.connect(kubeconfig, context, namespace)
    _set_suspend(client, options.select(client, names, selector, everything), printer, to=True)


def resume(
    ctx: typer.Context,
    names: options.Names = None,
    selector: options.Selector = "",
    everything: options.All = False,
    output: options.Output = None,
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Let rotations start again. A rotation that has become due in the meantime starts at once."""
    printer = options.printer_for(ctx, output)
    client = options.connect(kubeconfig, context, namespace)
    _set_suspend(client, options.select(client, names, selector, everything), printer, to=False)


def _set_suspend(
    client: RotatedSecretClient, selected: Sequence[RotatedSecretView], printer: Printer, *, to: bool
) -> None:
    records: list[dict[str, Any]] = []
    unwritten: OSError | None = None
    for before in selected:
        try:
            after = read(client.patch(before.name, {"spec": {"rotation": {"suspend": to}}}))
        except CommandError as error:
            message = f"was not {'suspended' if to else 'resumed'}: {error}"
            printer.note(RequestResult(before.namespace, before.name, None, RequestOutcome.FAILED, message).line())
            continue
        records.append({"namespace": after.namespace, "name": after.name, "suspended": after.suspended})
        word = "suspended" if to else "resumed"
        if before.suspended is to:
            word = "was already suspended" if to else "was not suspended"
        if printer.output is None and unwritten is None:
            try:
                printer.print(Text(f"{after} {word}{_what_follows(before, after)}"))
            except OSError as error:  # a full disk, or `| head -1`: the others must not stay as they are for that
                unwritten = error
    if unwritten is not None:
        raise unwritten
    if printer.output:
        printer.print_records(records)
    if len(records) < len(selected):
        raise typer.Exit(FAILED)


def _what_follows(before: RotatedSecretView, after: RotatedSecretView) -> str:
    if after.suspended and after.claim is not None and after.claim.version_id is not None:
        return f"; the running rotation, at {after.claim.step}, continues to its end"
    overdue = after.next_rotation is not None and after.next_rotation <= datetime.now(UTC)
    return "; a rotation has become due in the meantime, and starts now" if before.suspended and overdue else ""
