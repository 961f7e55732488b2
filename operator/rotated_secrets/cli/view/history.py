"""The last attempts, newest first, and the next due times, as ``history`` and ``describe`` print them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rotated_secrets.cli import time_format
from rotated_secrets.cli.kube.rotated_secret import Attempt, RotatedSecretView
from rotated_secrets.cli.view.paragraph import Paragraph
from rotated_secrets.cli.view.printer import Tone
from rotated_secrets.cli.view.said import Said
from rotated_secrets.cli.view.state import attempt_sign


def past_attempts(
    history: Sequence[Attempt], now: datetime, said: Said | None = None, *, indent: int = 0
) -> RenderableType:
    """Every attempt in the status, with how it ended; of its message what was not ``said`` already."""
    if not history:
        return Text.assemble(" " * indent, ("none yet", Tone.QUIET))
    return Group(*(_entry(attempt, now, said or Said(), indent) for attempt in history))


def _entry(attempt: Attempt, now: datetime, said: Said, indent: int) -> RenderableType:
    sign, tone = attempt_sign(attempt)
    when = time_format.date_and_time(attempt.started_at) if attempt.started_at else "?"
    what = attempt.outcome if attempt.succeeded else f"{attempt.outcome} at {attempt.step}"
    took = f"  {time_format.precise_duration(attempt.took)}" if attempt.took is not None else ""
    ago = f"  {time_format.ago(attempt.started_at, now)}"
    why = ", ".join(
        (
            attempt.trigger,
            *([f"attempt {attempt.number}"] if attempt.number > 1 else []),
            *([f"user {attempt.user}"] if attempt.user else []),
        )
    )
    title = Text.assemble((f"{sign} ", tone), when, (ago, Tone.QUIET), "  ", (what, tone), took)
    message = Text.assemble(why, (f": {said.unsaid(attempt.message)}", Tone.QUIET))
    return Group(
        Paragraph(title, first=Text(" " * indent), indent=indent + 2),
        Paragraph(message, first=Text(" " * (indent + 2)), indent=indent + 2),
    )


def next_rotations(resource: RotatedSecretView, due: Sequence[datetime], now: datetime) -> RenderableType:
    """The next due times, or why there are none."""
    if not due:
        unknown = "not known yet: the operator has not read the schedule"
        return Text(unknown if resource.schedule else "on demand only: there is no schedule", Tone.QUIET)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for number, moment in enumerate(due):
        again = resource.claim if resource.waits_to_retry and not number else None
        remark = f", attempt {again.attempt} after a failure" if again else ""
        when = f"{time_format.until(moment, now)}{remark}"
        table.add_row(time_format.day_and_time(moment), Text(when, Tone.QUIET))
    if not resource.suspended:
        return table
    return Group(table, Text("none of them starts while the resource is suspended", Tone.WAITING))
