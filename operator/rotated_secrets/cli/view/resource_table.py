"""The table that ``list`` prints: one line for each RotatedSecret. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rotated_secrets.cli import time_format
from rotated_secrets.cli.kube.rotated_secret import RotatedSecretView
from rotated_secrets.cli.view.paragraph import Paragraph
from rotated_secrets.cli.view.printer import Tone
from rotated_secrets.cli.view.state import ready_tone, state_of

WIDE, NARROW = 3, 2
"""Spaces between two columns, where there is room and where there is not."""
LAST = 12
"""Least width of the last column, which wraps between its words."""
NOTHING = "–"


@dataclass(frozen=True)
class Column:
    heading: str
    cell: Callable[[RotatedSecretView, datetime], Text]
    drop_order: int = 0
    """On a narrow terminal, the column with the highest number is left out first; 0 is never left out."""


def _plain(text: str | None) -> Text:
    return Text(text or NOTHING, "" if text else Tone.QUIET)


def _next(resource: RotatedSecretView, now: datetime) -> Text:
    overdue = resource.next_rotation is not None and resource.next_rotation <= now
    return Text(time_format.until(resource.next_rotation, now), Tone.WAITING if overdue else "")


COLUMNS = (
    Column("NAMESPACE", lambda resource, _: Text(resource.namespace)),
    Column("NAME", lambda resource, _: Text(resource.name, Tone.STRONG)),
    Column("READY", lambda resource, _: Text(resource.ready, ready_tone(resource.ready))),
    Column("STRATEGY", lambda resource, _: _plain(resource.strategy), drop_order=3),
    Column("ENGINE", lambda resource, _: _plain(resource.engine), drop_order=4),
    Column("ACTIVE USER", lambda resource, _: _plain(resource.active_user), drop_order=2),
    Column("LAST", lambda resource, now: Text(time_format.ago(resource.last_rotation, now)), drop_order=1),
    Column("NEXT", _next),
    Column("STATE", lambda resource, _: Text(*state_of(resource))),
)


def resource_table(
    resources: Sequence[RotatedSecretView], now: datetime, *, everywhere: bool, width: int
) -> RenderableType:
    """A table with as many columns as ``width`` has room for. Names and states are always shown."""
    ordered = sorted(resources, key=lambda resource: (resource.namespace, resource.name))
    columns = list(COLUMNS if everywhere else COLUMNS[1:])
    cells = {column.heading: [column.cell(resource, now) for resource in ordered] for column in columns}

    def widths() -> list[int]:
        return [max(map(cell_len, [each.heading, *map(str, cells[each.heading])])) for each in columns]

    def needed(gap: int) -> int:
        return sum(widths()) + gap * (len(columns) - 1)

    gap = WIDE if needed(WIDE) <= width else NARROW
    while needed(gap) > width and any(each.drop_order for each in columns):
        columns.remove(max(columns, key=lambda each: each.drop_order))
    longest = max(cell_len(word) for state in cells[columns[-1].heading] for word in ("", *str(state).split()))
    if sum(widths()[:-1]) + gap * (len(columns) - 1) + max(LAST, longest) > width:
        return _stacked(ordered, columns, cells)
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), show_edge=False, header_style=Tone.QUIET)
    for column in columns:
        # A table that is still too wide wraps in its last column.
        table.add_column(column.heading, no_wrap=column is not columns[-1], overflow="fold")
    for row in zip(*(cells[column.heading] for column in columns), strict=True):
        table.add_row(*row)
    return table


def _stacked(
    resources: Sequence[RotatedSecretView], columns: Sequence[Column], cells: dict[str, list[Text]]
) -> RenderableType:
    """For a terminal in which not even the names fit into a table: each name, and below it what is known."""
    lines: list[RenderableType] = []
    for number, resource in enumerate(resources):
        lines.append(Text(str(resource) if columns[0].heading == "NAMESPACE" else resource.name, Tone.STRONG))
        facts = [cells[each.heading][number] for each in columns if each.heading not in ("NAMESPACE", "NAME")]
        lines.append(Paragraph(Text("  ").join(each for each in facts if each), first=Text("  "), indent=2))
    return Group(*lines)
