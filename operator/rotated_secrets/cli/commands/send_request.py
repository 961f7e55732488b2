"""Send a request to the operator, and report how it ended: what ``rotate`` and ``resync`` share.

A request is an annotation with a new value; the operator acts once for each value. See "Annotations and labels" in
docs/reference.md.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from rotated_secrets.cli.errors import CommandError
from rotated_secrets.cli.kube.rotated_secret import RotatedSecretView, read
from rotated_secrets.cli.requests.pending_request import PendingRequest, ProgressOf
from rotated_secrets.cli.requests.result import RequestOutcome, RequestResult, exit_code
from rotated_secrets.cli.view.help_page import HELP
from rotated_secrets.cli.view.printer import Printer

if TYPE_CHECKING:
    from rotated_secrets.cli.kube.client import RotatedSecretClient


def send(
    client: RotatedSecretClient, resource: RotatedSecretView, annotation: str, progress_of: ProgressOf, what: str
) -> PendingRequest | RequestResult:
    """Write the annotation with a new value, which also says when it was written.

    Returns a result at once where the API server refuses the write.
    """
    request = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}-{secrets.token_hex(4)}"
    try:
        written = client.patch(resource.name, {"metadata": {"annotations": {annotation: request}}})
    except CommandError as error:
        message = f"{what} not requested: {error}"
        return RequestResult(resource.namespace, resource.name, None, RequestOutcome.FAILED, message)
    version = written["metadata"]["resourceVersion"]
    return PendingRequest(request, read(written), version, progress_of, what, since=time.monotonic())


def follow(
    client: RotatedSecretClient,
    requests: Sequence[PendingRequest | RequestResult],
    printer: Printer,
    *,
    timeout: float | None,
) -> None:
    """Report the result of each request, then exit; wait at most ``timeout`` seconds, or not at all with None."""
    results: dict[str, RequestResult] = {}

    def done(result: RequestResult) -> None:
        results[result.name] = result
        if not result.is_good:
            printer.note(result.line())
        elif printer.output is None:
            printer.print(result.line())

    pending = [each for each in requests if isinstance(each, PendingRequest)]
    for each in requests:
        if isinstance(each, RequestResult):
            done(each)
        elif timeout is None:
            done(each.result(RequestOutcome.ASKED, f"{each.what} requested"))
    if timeout is not None and pending:
        from rotated_secrets.cli.requests.wait import wait  # noqa: PLC0415 - rich's live display is slow to import

        wait(client, pending, printer, timeout=timeout, done=done)
    if not all(each.is_good for each in results.values()):
        printer.note(HELP)
    if printer.output:
        names = [each.name if isinstance(each, RequestResult) else each.before.name for each in requests]
        printer.print_records([results[name].record() for name in names])
    raise typer.Exit(exit_code(results.values()))
