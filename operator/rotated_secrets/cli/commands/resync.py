"""``resync``: request a check of everything."""

from __future__ import annotations

import typer

from rotated_secrets.api.names import RESYNC_ANNOTATION
from rotated_secrets.cli import options
from rotated_secrets.cli.commands.send_request import follow, send
from rotated_secrets.cli.requests.progress import resync_progress


def resync(
    ctx: typer.Context,
    names: options.Names = None,
    selector: options.Selector = "",
    everything: options.All = False,
    wait: options.Wait = False,
    timeout: options.Timeout = "1m",
    output: options.Output = None,
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Request a full check: the secret's versions, the login, and the Kubernetes Secret. Rotates nothing.

    Exit code 0: the check was requested; with --wait, it has ended and the RotatedSecret is Ready.

    Exit code 1: the RotatedSecret is not Ready, or the check did not end in time or could not be requested.
    """
    printer, longest = options.printer_for(ctx, output), options.longest_wait(ctx, timeout, wait)
    client = options.connect(kubeconfig, context, namespace)
    requests = [
        send(client, each, RESYNC_ANNOTATION, resync_progress, "check")
        for each in options.select(client, names, selector, everything)
    ]
    follow(client, requests, printer, timeout=longest)
