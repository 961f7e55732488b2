"""Wait for requests, and show their progress on stderr: as an animation on a terminal, as lines elsewhere."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.text import Text

from rotated_secrets.cli.kube.watch_events import Changed, WatchEvent
from rotated_secrets.cli.requests.pending_request import PendingRequest
from rotated_secrets.cli.requests.result import RequestOutcome, RequestResult
from rotated_secrets.cli.requests.steps_view import render_final_steps, render_steps
from rotated_secrets.cli.view.printer import Printer

if TYPE_CHECKING:
    from rotated_secrets.cli.kube.client import RotatedSecretClient

TICK = 0.1
"""Seconds after which the clock is read again if there is no event."""


def wait(
    client: RotatedSecretClient,
    requests: Sequence[PendingRequest],
    printer: Printer,
    *,
    timeout: float,
    done: Callable[[RequestResult], None],
) -> None:
    """Wait until each request has ended, or for ``timeout`` seconds. Calls ``done`` with each result as it comes.

    Ctrl-C ends the wait, but not the requests.
    """
    events: queue.SimpleQueue[WatchEvent] = queue.SimpleQueue()
    watches = [client.watch(each.before, each.version, events) for each in requests]
    pending = {each.before.name: each for each in requests}
    live = printer.err.is_terminal and not printer.err.is_dumb_terminal
    view = _LiveView(printer) if live else _LineView(printer)
    for watch in watches:
        watch.start()
    deadline = time.monotonic() + timeout
    try:
        while pending:
            view.update(list(pending.values()))
            results = _next_results(events, pending)
            if time.monotonic() >= deadline:
                ended = {result.name for result in results}
                late = [each for name, each in pending.items() if name not in ended]
                results += [each.timed_out(timeout, printer.program) for each in late]
            for result in results:
                view.ended(pending.pop(result.name), result)
                done(result)
    except KeyboardInterrupt:
        view.close()
        for each in pending.values():
            done(each.result(RequestOutcome.INTERRUPTED, "is no longer waited for; the request continues"))
    finally:
        view.close()
        for watch in watches:
            watch.stop()


def _next_results(events: queue.SimpleQueue[WatchEvent], pending: dict[str, PendingRequest]) -> list[RequestResult]:
    """Handle the next event, or check the clock where there is none."""
    try:
        event = events.get(timeout=TICK)
    except queue.Empty:
        now = time.monotonic()
        return [result for each in pending.values() if (result := each.result_at(now))]
    request = pending.get(event.resource.name if isinstance(event, Changed) else event.name)
    result = request.handle(event, time.monotonic()) if request else None
    return [result] if result else []


class _LiveView:
    """For a terminal: draws over itself, and is removed before other output is printed."""

    def __init__(self, printer: Printer) -> None:
        self._console = printer.err
        self._live: Live | None = None

    def update(self, requests: Sequence[PendingRequest]) -> None:
        if not requests:
            return
        if self._live is None:
            self._live = Live(console=self._console, refresh_per_second=10, transient=True)
            self._live.start()
        now = time.monotonic()
        # The empty line at the end takes the ^C that a terminal prints; it would wrap behind a full line.
        self._live.update(Group(*(render_steps(each, now, self._console.width) for each in requests), Text()))

    def ended(self, request: PendingRequest, result: RequestResult) -> None:
        self.close()
        steps = render_final_steps(request, result, time.monotonic())
        if steps is not None:
            self._console.print(steps)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


class _LineView:
    """For anything but a terminal: prints a line whenever the status changes."""

    def __init__(self, printer: Printer) -> None:
        self._printer = printer
        self._printed: dict[str, str] = {}

    def update(self, requests: Sequence[PendingRequest]) -> None:
        now = time.monotonic()
        for each in requests:
            if each.is_about_to_end:
                continue  # its result says the same
            line = each.status_line(now) or f"{each.what} requested"
            if line != self._printed.get(each.before.name):
                self._printer.note(f"{each.before} {line}")
                self._printed[each.before.name] = line

    def ended(self, request: PendingRequest, result: RequestResult) -> None:
        """Print nothing: the result has its line."""

    def close(self) -> None:
        """Leave the lines as they are."""
