"""When the next rotations are due. Pure.

A module for itself: few commands need the schedule parser.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from rotated_secrets.cli.kube.rotated_secret import RotatedSecretView
from rotated_secrets.rotation.schedule import InvalidSchedule, parse_schedule

SHOWN = 3
"""How many due times ``describe`` shows."""


def due_times(resource: RotatedSecretView, now: datetime, count: int = SHOWN) -> list[datetime]:
    """The next due time as the status has it, and those that follow from the schedule.

    Empty where the status has none: there is no schedule, or the operator has not read it yet.
    """
    if resource.next_rotation is None:
        return []
    found = [resource.next_rotation]
    try:
        # The operator checks the shortest interval allowed; here any interval is accepted.
        schedule = parse_schedule(resource.schedule, timedelta(0)) if resource.schedule else None
    except InvalidSchedule:
        schedule = None
    while schedule is not None and len(found) < count:
        following = schedule.next_after(max(found[-1], now))
        if following is None:
            break
        found.append(following)
    return found
