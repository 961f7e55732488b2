"""The Events for what keeps a RotatedSecret from being ready or rotated: one each time a reason begins. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from rotated_secrets.api.status import Condition, ConditionType, Reason, RotatedSecretStatus
from rotated_secrets.observability.event_reasons import EventReason
from rotated_secrets.rotation.report import NewEvent

_TOLD = frozenset(reason.value for reason in EventReason)


def events_for_reasons(before: RotatedSecretStatus, after: RotatedSecretStatus) -> Iterator[NewEvent]:
    """Return the Events for conditions that are not true, and were true, or not so for another reason.

    Where two conditions begin for one reason, that is one Event, with the message of Ready. A rotation that has ended
    has its own Event.
    """
    begun: dict[str, str] = {}
    for kind in (ConditionType.SYNCED, ConditionType.READY):
        now = after.condition(kind)
        if now is None or not _begins(before.condition(kind), now) or now.reason not in _TOLD:
            continue
        if kind is ConditionType.READY and now.reason == Reason.SYNC_FAILED and _is_untrue(after, ConditionType.SYNCED):
            continue  # the reason of Synced says more
        begun[now.reason] = now.message
    for reason, message in begun.items():
        yield NewEvent(EventReason(reason), message)
    rotated = after.condition(ConditionType.ROTATED)
    if rotated is None or rotated.status != "False" or after.history[:1] != before.history[:1]:
        return
    if _begins(before.condition(ConditionType.ROTATED), rotated):
        yield NewEvent(EventReason.ROTATION_FAILED, rotated.message)


def _begins(was: Condition | None, now: Condition) -> bool:
    if now.status == "True":
        return False
    return was is None or was.status == "True" or was.reason != now.reason


def _is_untrue(status: RotatedSecretStatus, kind: ConditionType) -> bool:
    found = status.condition(kind)
    return found is not None and found.status != "True"
