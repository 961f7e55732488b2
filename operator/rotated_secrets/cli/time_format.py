"""Read and write times and durations, for people and as the API writes them. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_SECONDS = dict(_UNITS)
_FEW = 10
"""Below so many of a unit, the next smaller unit is shown too."""


def parse_timestamp(text: object) -> datetime | None:
    """Read a time as the API writes it. None if it is not one: another version may have written it."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def timestamp(moment: datetime | None) -> str | None:
    """Write a time as the API does: RFC 3339 in UTC."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def duration(span: timedelta) -> str:
    """``42s``, ``5m20s``, ``3h5m``, ``12h``, ``6d4h``, ``41d``: at most two units, and only one from ten of it on."""
    left = max(int(span.total_seconds()), 0)
    for (unit, size), smaller in zip(_UNITS, (*_UNITS[1:], None), strict=True):
        many, rest = divmod(left, size)
        if not many:
            continue
        if smaller is None or many >= _FEW or not rest // smaller[1]:
            return f"{many}{unit}"
        return f"{many}{unit}{rest // smaller[1]}{smaller[0]}"
    return "0s"


def precise_duration(span: timedelta) -> str:
    """Like ``duration``, but with tenths of a second below a minute."""
    seconds = max(span.total_seconds(), 0.0)
    return f"{seconds:.1f}s" if seconds < 60 else duration(span)


def ago(moment: datetime | None, now: datetime) -> str:
    return "–" if moment is None else f"{duration(now - moment)} ago"


def until(moment: datetime | None, now: datetime) -> str:
    """How long until a due time, or how long ago it was."""
    if moment is None:
        return "–"
    return f"in {duration(moment - now)}" if moment > now else f"due {duration(now - moment)} ago"


def day_and_time(moment: datetime) -> str:
    """In UTC, as schedules are, with the weekday."""
    return f"{moment.astimezone(UTC):%a %Y-%m-%d %H:%M} UTC"


def date_and_time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def parse_duration(text: str) -> float:
    """Read ``90s``, ``5m``, ``1h30m`` or a number of seconds. Returns seconds.

    Raises:
        ValueError: the text is none of these.
    """
    if re.fullmatch(r"[0-9]+([.][0-9]+)?", text):
        return float(text)
    if not re.fullmatch(r"([0-9]+[smhd])+", text):
        raise ValueError(f"{text!r} is not a length of time; write for example 90s, 5m or 1h30m")
    return float(sum(int(many) * _SECONDS[unit] for many, unit in re.findall("([0-9]+)([smhd])", text)))
