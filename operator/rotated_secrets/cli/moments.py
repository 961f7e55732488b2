"""Moments and lengths of time as a person reads and writes them. Pure; every function takes the present."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_SECONDS = dict(_UNITS)
_FEW = 10
"""Of a unit, below which the next smaller one is told as well."""


def read(text: object) -> datetime | None:
    """A moment as the API writes it; None where it is none, for another version may have written it."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def written(moment: datetime | None) -> str | None:
    """As the API writes it."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def length(span: timedelta) -> str:
    """``42s``, ``5m20s``, ``3h5m``, ``12h``, ``6d4h``, ``41d``: two units at most, and one where it is many of it."""
    left = max(int(span.total_seconds()), 0)
    for (unit, size), smaller in zip(_UNITS, (*_UNITS[1:], None), strict=True):
        many, rest = divmod(left, size)
        if not many:
            continue
        if smaller is None or many >= _FEW or not rest // smaller[1]:
            return f"{many}{unit}"
        return f"{many}{unit}{rest // smaller[1]}{smaller[0]}"
    return "0s"


def short(span: timedelta) -> str:
    """A length of which tenths of a second matter."""
    seconds = max(span.total_seconds(), 0.0)
    return f"{seconds:.1f}s" if seconds < 60 else length(span)


def ago(moment: datetime | None, now: datetime) -> str:
    return "–" if moment is None else f"{length(now - moment)} ago"


def ahead(moment: datetime | None, now: datetime) -> str:
    """How far off something due is, or for how long it has been due."""
    if moment is None:
        return "–"
    return f"in {length(moment - now)}" if moment > now else f"due {length(now - moment)} ago"


def day_and_time(moment: datetime) -> str:
    """In UTC, as schedules are, with the day of the week."""
    return f"{moment.astimezone(UTC):%a %Y-%m-%d %H:%M} UTC"


def exact(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def seconds(text: str) -> float:
    """What ``90s``, ``5m``, ``1h30m`` or a number of seconds means.

    Raises:
        ValueError: it means nothing.
    """
    if re.fullmatch(r"[0-9]+([.][0-9]+)?", text):
        return float(text)
    if not re.fullmatch(r"([0-9]+[smhd])+", text):
        raise ValueError(f"{text!r} is not a length of time; write for example 90s, 5m or 1h30m")
    return float(sum(int(many) * _SECONDS[unit] for many, unit in re.findall("([0-9]+)([smhd])", text)))
