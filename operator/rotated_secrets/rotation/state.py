"""The state of a RotatedSecret in one word, and whether its rotation fails: both last until it works again. Pure."""

from __future__ import annotations

from typing import Final

from rotated_secrets.api.status import Condition, ConditionType, Outcome, Reason, RotatedSecretStatus

OK: Final = "OK"
"""The state where nothing is wrong, nothing waits and nothing runs."""


def state_of(status: RotatedSecretStatus) -> str:
    """Return the reason of what is worst, or OK: what pods have, then a rotation that fails, then one that waits."""
    ready, synced = status.condition(ConditionType.READY), status.condition(ConditionType.SYNCED)
    for found in (ready, synced):
        if found is not None and found.status != "True":
            return found.reason
    rotated, held = status.condition(ConditionType.ROTATED), status.condition(ConditionType.HELD)
    if rotated is not None and _is_failure(rotated):
        return rotated.reason
    if held is not None and held.status == "True":
        return held.reason
    return rotated.reason if rotated is not None and rotated.reason == Reason.ROTATING else OK


def rotation_fails(status: RotatedSecretStatus) -> bool:
    """Whether what was due could not be done and has not succeeded since, also while a new attempt runs."""
    rotated, last = status.condition(ConditionType.ROTATED), next(iter(status.history), None)
    return (rotated is not None and _is_failure(rotated)) or (
        last is not None and last.outcome in (Outcome.FAILED, Outcome.ROLLED_BACK)
    )


def _is_failure(rotated: Condition) -> bool:
    """With Abandoned, someone else has rotated: nothing is due any more."""
    return rotated.status == "False" and rotated.reason != Reason.ABANDONED
