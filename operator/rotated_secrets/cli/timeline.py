"""``history``, and the past and future of ``describe``: what happened when, newest first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rotated_secrets.cli import moments
from rotated_secrets.cli.screen import Tone
from rotated_secrets.cli.seen import Attempt, Seen
from rotated_secrets.cli.standing import attempt_sign


def past(history: Sequence[Attempt], now: datetime) -> RenderableType:
    """Each attempt that is remembered, with what it came to."""
    return Group(*(_entry(attempt, now) for attempt in history)) if history else Text("none yet", Tone.QUIET)


def _entry(attempt: Attempt, now: datetime) -> RenderableType:
    sign, tone = attempt_sign(attempt)
    when = moments.exact(attempt.started_at) if attempt.started_at else "?"
    what = attempt.outcome if attempt.succeeded else f"{attempt.outcome} at {attempt.step}"
    took = f"  {moments.short(attempt.took)}" if attempt.took is not None else ""
    ago = f"  {moments.ago(attempt.started_at, now)}"
    why = ", ".join(
        (
            attempt.trigger,
            *([f"attempt {attempt.number}"] if attempt.number > 1 else []),
            *([f"user {attempt.user}"] if attempt.user else []),
        )
    )
    return Group(
        Text.assemble((f"{sign} ", tone), when, (ago, Tone.QUIET), "  ", (what, tone), took),
        Padding(Text.assemble(why, (f": {attempt.message}", Tone.QUIET)), (0, 0, 0, 2), expand=False),
    )


def future(seen: Seen, due: Sequence[datetime], now: datetime) -> RenderableType:
    """The next due times, or why there are none."""
    if not due:
        unknown = "not known yet: the operator has not looked at the schedule"
        return Text(unknown if seen.schedule else "on demand only: there is no schedule", Tone.QUIET)
    listed = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for number, moment in enumerate(due):
        again = seen.claim if seen.waits_to_retry and not number else None
        remark = f", attempt {again.attempt} of the one that failed" if again else ""
        listed.add_row(moments.day_and_time(moment), Text(f"{moments.ahead(moment, now)}{remark}", Tone.QUIET))
    return Group(listed, Text("none of them starts while it is suspended", Tone.WAITING)) if seen.suspended else listed
