"""Draw the steps of a rotation for a terminal. Pure, except for the spinner, which turns with the clock."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from rotated_secrets.cli.kube.rotated_secret import STEPS
from rotated_secrets.cli.requests.pending_request import PendingRequest
from rotated_secrets.cli.requests.progress import Running
from rotated_secrets.cli.requests.result import RequestOutcome, RequestResult
from rotated_secrets.cli.view.printer import Tone
from rotated_secrets.cli.view.state import BAD_SIGN, GOOD_SIGN, OPEN_SIGN, WAITING_SIGN

NARROW = 80
"""Below this width, what is wrong with a step stands below the steps."""
SPINNER = Spinner("dots", style=Tone.RUNNING)
"""One instance for all: a new one would start over with each drawing."""


def render_steps(request: PendingRequest, now: float, width: int) -> RenderableType:
    """Draw the steps that are done, the one that runs, and those to come, for a terminal of ``width`` columns."""
    status = Text(request.status_line(now), Tone.WAITING)
    if not request.step_at:
        words = status if status.plain else Text(f"{request.what} requested", Tone.QUIET)
        row = _rows(2)
        row.add_row(SPINNER, Text.assemble((str(request.before), Tone.STRONG), " ", words))
        return row
    is_fine = isinstance(request.progress, Running) and not request.progress.trouble and not request.disconnected
    return _steps(request, SPINNER, now, Text() if is_fine else status, width)


def render_final_steps(request: PendingRequest, result: RequestResult, now: float) -> RenderableType | None:
    """Draw the steps as they stay on the screen; None where none was seen."""
    if not request.step_at:
        return None
    sign, tone = (GOOD_SIGN, Tone.GOOD) if result.is_good else (BAD_SIGN, Tone.BAD)
    if result.outcome is RequestOutcome.HELD:
        sign, tone = WAITING_SIGN, Tone.WAITING
    return _steps(request, Text(sign, tone), now, Text())


def _steps(
    request: PendingRequest, sign: RenderableType, now: float, remark: Text, width: int = NARROW
) -> RenderableType:
    """``sign`` marks the last step that was reached; ``remark`` stands beside it, or below where there is no room."""
    reached = max(filter(None, (*request.step_at, request.last_step)), key=_position)
    rows = _rows(4)
    for step, following in zip(STEPS, (*STEPS[1:], ""), strict=True):
        if _position(step) > _position(reached):
            rows.add_row(Text(OPEN_SIGN, Tone.QUIET), Text(step, Tone.QUIET), "", "")
            continue
        last = step == reached
        began, ended = request.step_at.get(step), now if last else request.step_at.get(following)
        took = "" if began is None or ended is None else f"{ended - began:.1f}s"
        beside = remark if last and width >= NARROW else ""
        rows.add_row(sign if last else Text(GOOD_SIGN, Tone.GOOD), step, Text(took, Tone.QUIET), beside)
    below: list[RenderableType] = [] if width >= NARROW or not remark else [remark]
    parts = [Padding(each, (0, 0, 0, 2), expand=False) for each in [rows, *below]]
    return Group(Text(str(request.before), Tone.STRONG), *parts)


def _rows(columns: int) -> Table:
    """A column for the sign, and others of which the last one wraps."""
    rows = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
    rows.add_column(width=1)
    for _ in range(columns - 2):
        rows.add_column(no_wrap=True)
    rows.add_column(overflow="fold")
    return rows


def _position(step: str) -> int:
    return STEPS.index(step) if step in STEPS else len(STEPS)
