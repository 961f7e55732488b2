"""When the next rotations are due. Pure; apart from the rest because reading schedules takes an import of its own."""

from __future__ import annotations

from datetime import datetime, timedelta

from rotated_secrets.cli.seen import Seen
from rotated_secrets.rotation.schedule import InvalidSchedule, parse_schedule

DUE = 3
"""How many of the next due times are told."""


def due_times(seen: Seen, now: datetime, many: int = DUE) -> list[datetime]:
    """By what the operator says of the next one, and the schedule of those that follow.

    Nothing where there is no schedule, or the operator has not said yet when it comes true.
    """
    if seen.next_rotation is None:
        return []
    found = [seen.next_rotation]
    try:
        # How often is often enough was the operator's to decide, when it told the next one.
        schedule = parse_schedule(seen.schedule, timedelta(0)) if seen.schedule else None
    except InvalidSchedule:
        schedule = None
    while schedule is not None and len(found) < many:
        following = schedule.next_after(max(found[-1], now))
        if following is None:
            break
        found.append(following)
    return found
