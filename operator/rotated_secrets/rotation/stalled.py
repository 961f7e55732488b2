"""Decides whether a RotatedSecret waits for a person, from its other conditions. Pure.

Programs that wait for resources (Flux, `helm --wait`, others with kstatus) end their wait at the condition Stalled, and
wait on while Ready is False. It is there only while it is True.

Source: the README of sigs.k8s.io/cli-utils/pkg/kstatus.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from rotated_secrets.api.status import Condition, ConditionType, Reason, RotatedSecretStatus

ONLY_A_PERSON_HELPS: Final = frozenset(
    {
        # The resource, or a permission, has to change.
        Reason.INVALID_SPEC,
        Reason.ACCESS_DENIED,
        # The secret has to be made or corrected.
        Reason.SECRET_NOT_FOUND,
        Reason.INVALID_SECRET_VALUE,
        # The template, or the Secret that is in the way.
        Reason.TEMPLATE_FAILED,
        Reason.SECRET_CONFLICT,
        Reason.SECRET_TYPE_IMMUTABLE,
        Reason.NOT_OURS,
    }
)
"""Reasons that trying again does not end. LoginFailed is none: a database that starts answers later, and a rotation may
set the password."""


def stalled_by(status: RotatedSecretStatus) -> Condition | None:
    """Return the condition that says why only a person can help; None where the operator may still succeed."""
    for kind in (ConditionType.READY, ConditionType.SYNCED):
        found = status.condition(kind)
        if found is not None and found.status == "False" and found.reason in ONLY_A_PERSON_HELPS:
            return found
    return None


def with_stalled(status: RotatedSecretStatus, *, now: datetime, generation: int) -> RotatedSecretStatus:
    """Return the status with the condition Stalled where it is so, and without it elsewhere."""
    cause = stalled_by(status)
    if cause is None:
        others = tuple(each for each in status.conditions if each.type != ConditionType.STALLED)
        return status if others == status.conditions else status.model_copy(update={"conditions": others})
    return status.with_condition(
        ConditionType.STALLED, True, Reason(cause.reason), cause.message, now=now, generation=generation
    )
