"""What ends the wait of a RotatedSecret, by the reason for which it waits.

An edit of the resource, a new value of its annotations, a change of its target Secret, another access policy and a move
of its secret's stages end every wait. The table says what else does, for what no watch and no change feed shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rotated_secrets.api.status import Reason
from rotated_secrets.delivery.target import TargetKind
from rotated_secrets.rotation.actions import Hold, Sleep
from rotated_secrets.rotation.observation import Login, Observation

CHECK_EVERY: Final = timedelta(minutes=1)
"""How often to compare what a look depends on, at the price of one GET of the target Secret."""
RECHECK: Final = timedelta(minutes=5)
"""How often to ask the store and the database again, a login that was rejected among it: many databases lock a user out
after a few."""


@dataclass(frozen=True)
class WakeUp:
    """What ends a wait beside what the watches and feeds show."""

    recheck: timedelta | None = None
    """After how long everything is looked at again, which costs calls to the store and maybe a login."""
    check_every: timedelta | None = None
    """After how long it is seen whether what a look depends on has changed."""
    not_before_recheck: bool = False
    """Whether a look before that time would do harm: nothing that is due earlier shortens the wait."""


BY_EVENTS: Final = WakeUp()
"""A watch or a feed shows the end, or the queue tries again by itself with its back-off."""

WAKE_UPS: Final[Mapping[Reason, WakeUp]] = {
    # Nothing is wrong.
    Reason.CREDENTIAL_WORKS: BY_EVENTS,
    Reason.UP_TO_DATE: BY_EVENTS,
    Reason.NOTHING_TO_DELIVER: BY_EVENTS,
    Reason.ROTATION_SUCCEEDED: BY_EVENTS,
    Reason.NEVER_ROTATED: BY_EVENTS,
    Reason.ROTATING: BY_EVENTS,
    Reason.NOT_HELD: BY_EVENTS,
    # The spec or the target Secret has to change.
    Reason.SUSPENDED: BY_EVENTS,
    Reason.UNSYNCED: BY_EVENTS,
    # The run has ended with an error, or the plan waits for a time that it knows.
    Reason.STORE_UNAVAILABLE: BY_EVENTS,
    Reason.SECRET_NOT_FOUND: BY_EVENTS,
    Reason.INVALID_SECRET_VALUE: BY_EVENTS,
    Reason.CREATE_FAILED: BY_EVENTS,
    Reason.SET_FAILED: BY_EVENTS,
    Reason.TEST_FAILED: BY_EVENTS,
    Reason.FINISH_FAILED: BY_EVENTS,
    Reason.RETIRE_FAILED: BY_EVENTS,
    Reason.ROLLED_BACK: BY_EVENTS,
    Reason.ABANDONED: BY_EVENTS,
    # AWS, a database or the operator's own settings have to change, and nothing shows it.
    Reason.MANAGED_ELSEWHERE: WakeUp(RECHECK),
    Reason.VERIFY_QUERIES_FAILED: WakeUp(RECHECK),
    Reason.TOO_MANY_REQUESTS: WakeUp(RECHECK),
    Reason.LOGIN_FAILED: WakeUp(RECHECK, not_before_recheck=True),
    Reason.RIGHTS_MISSING: WakeUp(RECHECK),
    Reason.INVALID_SPEC: WakeUp(RECHECK, not_before_recheck=True),
    Reason.ACCESS_DENIED: WakeUp(RECHECK, not_before_recheck=True),
    # A Secret in the way, or with too much of others in it, may not carry our label, so no watch shows when it changes.
    Reason.SYNC_FAILED: WakeUp(check_every=CHECK_EVERY),
    Reason.SECRET_CONFLICT: WakeUp(check_every=CHECK_EVERY),
    Reason.SECRET_TYPE_IMMUTABLE: WakeUp(check_every=CHECK_EVERY),
    Reason.NOT_OURS: WakeUp(check_every=CHECK_EVERY),
    Reason.TEMPLATE_FAILED: WakeUp(check_every=CHECK_EVERY),
}


@dataclass(frozen=True)
class Rest:
    """For how long a RotatedSecret needs no look."""

    until: datetime | None
    """When everything is looked at again; None: when something happens."""
    check_every: timedelta | None = None


def rest_after(seen: Observation, waiting: Hold | Sleep, now: datetime) -> Rest:
    """How long a RotatedSecret rests after a run that came to ``waiting``."""
    wake_ups = [WAKE_UPS[reason] for reason in _reasons(seen, waiting)]
    check_every = min((each.check_every for each in wake_ups if each.check_every is not None), default=None)
    strict = [each.recheck for each in wake_ups if each.recheck is not None and each.not_before_recheck]
    if strict:
        return Rest(now + min(strict), check_every)
    moments = [now + each.recheck for each in wake_ups if each.recheck is not None]
    if waiting.until is not None:
        moments.append(waiting.until)
    return Rest(min(moments, default=None), check_every)


def _reasons(seen: Observation, waiting: Hold | Sleep) -> Iterable[Reason]:
    """Every reason for which it waits now."""
    if isinstance(waiting, Hold):
        yield waiting.reason
    if seen.login is Login.REJECTED:
        yield Reason.LOGIN_FAILED
    if seen.missing_rights:
        yield Reason.RIGHTS_MISSING
    if seen.obstacle is not None:
        yield seen.obstacle.reason
    if seen.target is not None and seen.target.kind is TargetKind.CONFLICT:
        yield seen.target.reason or Reason.SECRET_CONFLICT
