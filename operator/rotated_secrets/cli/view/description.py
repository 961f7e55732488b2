"""All details of one RotatedSecret, as ``describe`` prints them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rotated_secrets.cli import time_format
from rotated_secrets.cli.kube.rotated_secret import ClaimView, ConditionView, RotatedSecretView
from rotated_secrets.cli.view.history import next_rotations, past_attempts
from rotated_secrets.cli.view.paragraph import Paragraph
from rotated_secrets.cli.view.printer import Tone
from rotated_secrets.cli.view.said import Said
from rotated_secrets.cli.view.state import GOOD_SIGN, condition_sign, ready_tone, state_of

NARROW = 90
"""Below this width, the message of a condition is printed under it."""
INDENT = 2
"""Columns before what stands below a heading."""


def description(resource: RotatedSecretView, due: Sequence[datetime], now: datetime, *, width: int) -> RenderableType:
    """All details, for a terminal of ``width`` columns."""
    said = Said()
    sections: list[RenderableType] = [_title(resource), _facts(resource, now)]
    if resource.held is not None:
        sections += [Text(), _heading("Held"), _hold(resource.held, now, said)]
    if resource.claim is not None:
        waits = resource.held is not None or resource.waits_to_retry
        heading = "Waiting to rotate" if waits else "Rotating now"
        sections += [Text(), _heading(heading), _running(resource, resource.claim, now, said)]
    sections += [Text(), _heading("Conditions"), _conditions(resource, now, said, narrow=width < NARROW)]
    sections += [Text(), _heading("Rotations"), past_attempts(resource.history, now, said, indent=INDENT)]
    sections += [Text(), _heading("Next"), _indented(next_rotations(resource, due, now))]
    return Group(*sections)


def _heading(text: str) -> Text:
    return Text(text, Tone.STRONG)


def _indented(what: RenderableType) -> RenderableType:
    return Padding(what, (0, 0, 0, INDENT), expand=False)


def _title(resource: RotatedSecretView) -> RenderableType:
    word, tone = state_of(resource)
    ready = {"True": "Ready", "False": "not Ready"}.get(resource.ready, "Ready is unknown")
    title = Text.assemble((str(resource), Tone.STRONG), "  ", (ready, ready_tone(resource.ready)))
    return title.append("  ").append(word, tone) if word else title


def _facts(resource: RotatedSecretView, now: datetime) -> RenderableType:
    facts = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    facts.add_column(style=Tone.QUIET, no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _pairs(resource, now):
        facts.add_row(name, value)
    return _indented(facts)


def _pairs(resource: RotatedSecretView, now: datetime) -> list[tuple[str, Text]]:
    where = f" in {resource.region}" if resource.region else ""
    pairs = [
        ("Secret in AWS", Text(f"{resource.secret_id}{where}")),
        ("Strategy", Text(f"{resource.strategy}, {resource.engine}" if resource.engine else resource.strategy)),
        ("Active user", Text(resource.active_user or "–")),
        ("Current version", Text(resource.current_version_id or "–")),
        ("Target Secret", _target(resource)),
        ("Schedule", Text(resource.schedule or "none: on demand only")),
        ("Last rotation", _last(resource, now)),
    ]
    if (retiring := resource.retiring) is not None:
        end = time_format.day_and_time(retiring.after) if retiring.after else "the new one is delivered"
        words = f"of user {retiring.user} still works until {end}"
        pairs.append(("Old password", Text(words, Tone.WAITING)))
    if resource.suspended:
        pairs.append(("Suspended", Text("yes: no rotation starts until it is resumed", Tone.WAITING)))
    return pairs


def _target(resource: RotatedSecretView) -> Text:
    if resource.target is None:
        return Text("none is written")
    if resource.synced_version_id is None:
        return Text.assemble(f"{resource.target}  ", ("not written yet", Tone.WAITING))
    synced = resource.condition("Synced")
    if synced is not None and synced.status == "Unknown":
        return Text.assemble(f"{resource.target}  ", ("not known now", Tone.WAITING))
    if synced is not None and synced.status == "False" and resource.synced_version_id == resource.current_version_id:
        # What the ids say is from the last look that came to its end.
        return Text.assemble(f"{resource.target}  ", ("not as it must be", Tone.BAD))
    if resource.synced_version_id == resource.current_version_id:
        return Text.assemble(f"{resource.target}  ", (f"{GOOD_SIGN} holds the current version", Tone.GOOD))
    return Text.assemble(f"{resource.target}  ", (f"holds version {resource.synced_version_id}", Tone.BAD))


def _last(resource: RotatedSecretView, now: datetime) -> Text:
    if resource.last_rotation is None:
        return Text("none yet")
    took = f", took {resource.last_duration}" if resource.last_duration else ""
    return Text(
        f"{time_format.day_and_time(resource.last_rotation)}, {time_format.ago(resource.last_rotation, now)}{took}"
    )


def _hold(held: ConditionView, now: datetime, said: Said) -> RenderableType:
    since = f" for {time_format.duration(now - held.since)}" if held.since else ""
    ends = (
        "until it is resumed" if held.reason == "Suspended" else "until the cause is gone; then the rotation continues"
    )
    return Group(
        _line(Text.assemble((held.reason, Tone.WAITING), f"{since}, {ends}")), _line(Text(said.unsaid(held.message)))
    )


def _running(resource: RotatedSecretView, claim: ClaimView, now: datetime, said: Said) -> RenderableType:
    what, tone = state_of(resource) if resource.held is None else (claim.step, Tone.WAITING)
    began = None if resource.waits_to_retry else claim.started_at  # of the attempt before
    since = f" since {time_format.date_and_time(began)}" if began else ""
    version = f" to version {claim.version_id}" if claim.version_id else ""
    running = Text.assemble((what, tone), f"  {claim.trigger}, attempt {claim.attempt}{since}{version}")
    trouble = said.unsaid(claim.failure or (resource.trouble.message if resource.trouble else claim.message))
    again = ""
    if resource.waits_to_retry and resource.next_rotation is not None:
        again = f"; the next attempt is {time_format.until(resource.next_rotation, now)}"
    return Group(_line(running), _line(Text(f"{trouble}{again}", Tone.QUIET)))


def _line(text: Text) -> RenderableType:
    return Paragraph(text, first=Text(" " * INDENT), indent=INDENT)


def _conditions(resource: RotatedSecretView, now: datetime, said: Said, *, narrow: bool) -> RenderableType:
    """Each condition with its message: beside it, or below it where there is no room."""
    if not resource.conditions:
        return _line(Text("none yet: the operator has not checked it", Tone.WAITING))
    rows = [(each, *condition_sign(each), _age(each, now)) for each in resource.conditions]
    types, reasons, ages = (
        max(map(cell_len, cells))
        for cells in zip(*((each.type, each.reason, age) for each, _, _, age in rows), strict=True)
    )
    lines: list[RenderableType] = []
    for each, sign, tone, age in rows:
        # Dimmed where there is nothing to do about it.
        message = Text(said.unsaid(each.message), "" if tone in (Tone.BAD, Tone.WAITING) else Tone.QUIET)
        if narrow:
            title = Text.assemble((f"{sign} ", tone), f"{each.type:<{types}} ", (each.reason, tone), f"  {age}")
            lines += [_line(title), Paragraph(message, first=Text(" " * 4), indent=4)]
            continue
        first = Text.assemble(
            " " * INDENT, (sign, tone), f"  {each.type:<{types}}  ", (f"{each.reason:<{reasons}}", tone), "  "
        )
        first.append(f"{age:<{ages}}  ", Tone.QUIET)
        lines.append(Paragraph(message, first=first, indent=cell_len(first.plain)))
    return Group(*lines)


def _age(condition: ConditionView, now: datetime) -> str:
    return time_format.duration(now - condition.since) if condition.since else "?"
