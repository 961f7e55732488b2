"""A rotation that somebody watches, step by step. Pure, but for a wheel that turns by the clock."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from rotated_secrets.cli.answers import Answer, Outcome
from rotated_secrets.cli.asked import Asked
from rotated_secrets.cli.progress import Running
from rotated_secrets.cli.screen import Tone
from rotated_secrets.cli.seen import STEPS
from rotated_secrets.cli.standing import BAD_SIGN, GOOD_SIGN, OPEN_SIGN, WAITING_SIGN

WHEEL = Spinner("dots", style=Tone.RUNNING)
"""One for all, so that it does not begin anew with each drawing."""


def drawn(asked: Asked, now: float) -> RenderableType:
    """What is done and what runs."""
    line = Text(asked.line(now), Tone.WAITING)
    if not asked.step_at:
        told = line if line.plain else Text(f"was asked for {asked.what}", Tone.QUIET)
        row = _rows(2)
        row.add_row(WHEEL, Text.assemble((str(asked.before), Tone.STRONG), " ", told))
        return row
    going_on = isinstance(asked.progress, Running) and not asked.progress.trouble and not asked.cut_off
    return _steps(asked, WHEEL, now, Text() if going_on else line)


def drawn_at_the_end(asked: Asked, answer: Answer, now: float) -> RenderableType | None:
    """The steps as they remain on the screen; None where there were none."""
    if not asked.step_at:
        return None
    sign, tone = (GOOD_SIGN, Tone.GOOD) if answer.is_good else (BAD_SIGN, Tone.BAD)
    if answer.outcome is Outcome.HELD:
        sign, tone = WAITING_SIGN, Tone.WAITING
    return _steps(asked, Text(sign, tone), now, Text())


def _steps(asked: Asked, sign: RenderableType, now: float, remark: Text) -> RenderableType:
    """``sign`` is for the step that was reached last."""
    reached = max(asked.step_at, key=_place)
    rows = _rows(4)
    for step in STEPS:
        if _place(step) > _place(reached):
            rows.add_row(Text(OPEN_SIGN, Tone.QUIET), Text(step, Tone.QUIET), "", "")
            continue
        began = asked.step_at.get(step)
        ended = next((asked.step_at[each] for each in STEPS[_place(step) + 1 :] if each in asked.step_at), now)
        took = Text(f"{ended - began:.1f}s" if began is not None else "", Tone.QUIET)
        last = step == reached
        rows.add_row(sign if last else Text(GOOD_SIGN, Tone.GOOD), step, took, remark if last else "")
    return Group(Text(str(asked.before), Tone.STRONG), Padding(rows, (0, 0, 0, 2), expand=False))


def _rows(columns: int) -> Table:
    """A sign, and words of which the last ones are broken where they do not fit."""
    rows = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
    rows.add_column(width=1)
    for _ in range(columns - 2):
        rows.add_column(no_wrap=True)
    rows.add_column(overflow="fold")
    return rows


def _place(step: str) -> int:
    return STEPS.index(step) if step in STEPS else len(STEPS)
