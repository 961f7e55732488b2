"""``rotate``: request a rotation now."""

from __future__ import annotations

import typer

from rotated_secrets.api.names import ROTATE_ANNOTATION
from rotated_secrets.cli import options
from rotated_secrets.cli.commands.send_request import follow, send
from rotated_secrets.cli.kube.rotated_secret import RotatedSecretView
from rotated_secrets.cli.requests.pending_request import PendingRequest
from rotated_secrets.cli.requests.progress import rotation_progress
from rotated_secrets.cli.requests.result import RequestOutcome, RequestResult


def rotate(
    ctx: typer.Context,
    names: options.Names = None,
    selector: options.Selector = "",
    everything: options.All = False,
    wait: options.Wait = False,
    timeout: options.Timeout = "5m",
    output: options.Output = None,
    namespace: options.Namespace = None,
    context: options.Context = None,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Request one rotation now.

    Exit code 0: the rotation was requested; with --wait, it succeeded.

    Exit code 1: the rotation failed, was rolled back or abandoned, did not end in time, or could not be requested.

    Exit code 2: the rotation is held, and the message says why. For a suspended RotatedSecret, none is requested.

    Ctrl-C ends the wait, not the rotation. The exit code is then 130.
    """
    printer, longest = options.printer_for(ctx, output), options.longest_wait(ctx, timeout, wait)
    client = options.connect(kubeconfig, context, namespace)

    def request(resource: RotatedSecretView) -> PendingRequest | RequestResult:
        if resource.suspended:
            command = f"{printer.program} resume -n {resource.namespace} {resource.name}"
            message = f"is suspended, so no rotation was requested; run {command} first"
            return RequestResult(resource.namespace, resource.name, None, RequestOutcome.HELD, message)
        return send(client, resource, ROTATE_ANNOTATION, rotation_progress, "rotation")

    selected = options.select(client, names, selector, everything)
    requests = [request(each) for each in selected]
    follow(client, requests, printer, timeout=longest)
