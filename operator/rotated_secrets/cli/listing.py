"""``list``: one line for each RotatedSecret. Pure: what was seen in, what is printed out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from rotated_secrets.cli import moments
from rotated_secrets.cli.screen import Tone
from rotated_secrets.cli.seen import Seen
from rotated_secrets.cli.standing import ready_tone, standing

WIDE, NARROW = 3, 2
"""Blanks between two columns, where there is room and where there is not."""
NOTHING = "–"


@dataclass(frozen=True)
class Column:
    heading: str
    cell: Callable[[Seen, datetime], Text]
    spare: int = 0
    """The higher, the sooner it is left out where there is no room."""


def _plain(text: str | None) -> Text:
    return Text(text or NOTHING, "" if text else Tone.QUIET)


def _next(seen: Seen, now: datetime) -> Text:
    overdue = seen.next_rotation is not None and seen.next_rotation <= now
    return Text(moments.ahead(seen.next_rotation, now), Tone.WAITING if overdue else "")


COLUMNS = (
    Column("NAMESPACE", lambda seen, _: Text(seen.namespace)),
    Column("NAME", lambda seen, _: Text(seen.name, Tone.STRONG)),
    Column("READY", lambda seen, _: Text(seen.ready, ready_tone(seen.ready))),
    Column("STRATEGY", lambda seen, _: _plain(seen.strategy), spare=3),
    Column("ENGINE", lambda seen, _: _plain(seen.engine), spare=4),
    Column("ACTIVE USER", lambda seen, _: _plain(seen.active_user), spare=2),
    Column("LAST", lambda seen, now: Text(moments.ago(seen.last_rotation, now)), spare=1),
    Column("NEXT", _next),
    Column("STATE", lambda seen, _: Text(*standing(seen))),
)


def table(resources: Sequence[Seen], now: datetime, *, everywhere: bool, width: int) -> RenderableType:
    """As many columns as ``width`` has room for; names and states always."""
    ordered = sorted(resources, key=lambda seen: (seen.namespace, seen.name))
    columns = list(COLUMNS if everywhere else COLUMNS[1:])
    cells = {column.heading: [column.cell(seen, now) for seen in ordered] for column in columns}

    def needed(gap: int) -> int:
        widths = [max(map(cell_len, [each.heading, *map(str, cells[each.heading])])) for each in columns]
        return sum(widths) + gap * (len(widths) - 1)

    gap = WIDE if needed(WIDE) <= width else NARROW
    while needed(gap) > width and any(each.spare for each in columns):
        columns.remove(max(columns, key=lambda each: each.spare))
    made = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), show_edge=False, header_style=Tone.QUIET)
    for column in columns:
        # What is still too wide is broken in its last column.
        made.add_column(column.heading, no_wrap=column is not columns[-1], overflow="fold")
    for row in zip(*(cells[column.heading] for column in columns), strict=True):
        made.add_row(*row)
    return made
