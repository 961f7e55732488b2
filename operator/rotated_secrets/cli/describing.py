"""``describe``: everything there is to know of one RotatedSecret, in the order in which it is asked. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rotated_secrets.cli import moments, timeline
from rotated_secrets.cli.screen import Tone
from rotated_secrets.cli.seen import Claim, Condition, Seen
from rotated_secrets.cli.standing import GOOD_SIGN, condition_sign, ready_tone, standing

NARROW = 90
"""Columns below which a condition's message stands on lines of its own."""


def description(seen: Seen, due: Sequence[datetime], now: datetime, *, width: int) -> RenderableType:
    """All of it, for a terminal of this many columns."""
    sections: list[RenderableType] = [_title(seen), _facts(seen, now)]
    if seen.held is not None:
        sections += [Text(), _heading("Held"), _hold(seen.held, now)]
    if seen.claim is not None:
        heading = "Rotating now" if seen.held is None else "Waiting to rotate"
        sections += [Text(), _heading(heading), _running(seen, seen.claim, now)]
    sections += [Text(), _heading("Conditions"), _conditions(seen, now, narrow=width < NARROW)]
    sections += [Text(), _heading("Rotations"), _indented(timeline.past(seen.history, now))]
    sections += [Text(), _heading("Next"), _indented(timeline.future(seen, due, now))]
    return Group(*sections)


def _heading(text: str) -> Text:
    return Text(text, Tone.STRONG)


def _indented(what: RenderableType) -> RenderableType:
    return Padding(what, (0, 0, 0, 2), expand=False)


def _title(seen: Seen) -> RenderableType:
    word, tone = standing(seen)
    ready = {"True": "Ready", "False": "not Ready"}.get(seen.ready, "Ready is not known")
    told = Text.assemble((str(seen), Tone.STRONG), "  ", (ready, ready_tone(seen.ready)))
    return told.append("  ").append(word, tone) if word else told


def _facts(seen: Seen, now: datetime) -> RenderableType:
    facts = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    facts.add_column(style=Tone.QUIET, no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _pairs(seen, now):
        facts.add_row(name, value)
    return _indented(facts)


def _pairs(seen: Seen, now: datetime) -> list[tuple[str, Text]]:
    where = f" in {seen.region}" if seen.region else ""
    pairs = [
        ("Secret in AWS", Text(f"{seen.secret_id}{where}")),
        ("Strategy", Text(f"{seen.strategy}, {seen.engine}" if seen.engine else seen.strategy)),
        ("Active user", Text(seen.active_user or "–")),
        ("Current version", Text(seen.current_version_id or "–")),
        ("Target Secret", _target(seen)),
        ("Schedule", Text(seen.schedule or "none: on demand only")),
        ("Last rotation", _last(seen, now)),
    ]
    if (retiring := seen.retiring) is not None:
        until = f"until {moments.day_and_time(retiring.after)}" if retiring.after else "until the new one is delivered"
        pairs.append(("Old password", Text(f"of user {retiring.user} works beside the new one {until}", Tone.WAITING)))
    if seen.suspended:
        pairs.append(("Suspended", Text("yes: no rotation starts until it is resumed", Tone.WAITING)))
    return pairs


def _target(seen: Seen) -> Text:
    if seen.target is None:
        return Text("none is delivered")
    if seen.synced_version_id is None:
        return Text.assemble(f"{seen.target}  ", ("not written yet", Tone.WAITING))
    if seen.synced_version_id == seen.current_version_id:
        return Text.assemble(f"{seen.target}  ", (f"{GOOD_SIGN} holds the current version", Tone.GOOD))
    return Text.assemble(f"{seen.target}  ", (f"holds version {seen.synced_version_id}", Tone.BAD))


def _last(seen: Seen, now: datetime) -> Text:
    if seen.last_rotation is None:
        return Text("none yet")
    took = f", took {seen.last_duration}" if seen.last_duration else ""
    return Text(f"{moments.day_and_time(seen.last_rotation)}, {moments.ago(seen.last_rotation, now)}{took}")


def _hold(held: Condition, now: datetime) -> RenderableType:
    since = f" for {moments.length(now - held.since)}" if held.since else ""
    ends = "until it is resumed" if held.reason == "Suspended" else "until that has changed; then it goes on by itself"
    return _indented(
        Group(Text.assemble((held.reason, Tone.WAITING), f"{since}, {ends}"), Text(held.message.removeprefix("held: ")))
    )


def _running(seen: Seen, claim: Claim, now: datetime) -> RenderableType:
    what, tone = standing(seen) if seen.held is None else (claim.step, Tone.WAITING)
    since = f" since {moments.exact(claim.started_at)}" if claim.started_at else ""
    version = f" to version {claim.version_id}" if claim.version_id else ""
    told = Text.assemble((what, tone), f"  {claim.trigger}, attempt {claim.attempt}{since}{version}")
    trouble = claim.failure or (seen.trouble.message if seen.trouble else claim.message)
    again = ""
    if seen.waits_to_retry and seen.next_rotation is not None:
        again = f"; the next attempt is {moments.ahead(seen.next_rotation, now)}"
    return _indented(Group(told, Text(f"{trouble}{again}", Tone.QUIET)))


def _conditions(seen: Seen, now: datetime, *, narrow: bool) -> RenderableType:
    if not seen.conditions:
        return _indented(Text("none yet: the operator has not looked at it", Tone.WAITING))
    rows = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    for width in (1, None, None, None):
        rows.add_column(no_wrap=True, width=width)
    if narrow:
        return _indented(Group(*_stacked(seen, now)))
    rows.add_column(overflow="fold")
    for each in seen.conditions:
        sign, tone = condition_sign(each)
        rows.add_row(Text(sign, tone), each.type, Text(each.reason, tone), _age(each, now), _message(each, tone))
    return _indented(rows)


def _stacked(seen: Seen, now: datetime) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for each in seen.conditions:
        sign, tone = condition_sign(each)
        told = Text.assemble((f"{sign} ", tone), f"{each.type:<8} ", (each.reason, tone), "  ", _age(each, now))
        lines += [told, Padding(_message(each, tone), (0, 0, 0, 2), expand=False)]
    return lines


def _message(condition: Condition, tone: Tone) -> Text:
    """Set back where there is nothing to do about it."""
    return Text(condition.message, "" if tone in (Tone.BAD, Tone.WAITING) else Tone.QUIET)


def _age(condition: Condition, now: datetime) -> Text:
    return Text(moments.length(now - condition.since) if condition.since else "?", Tone.QUIET)
