"""Which requests the operator has seen: a status says so at the end of each check, whatever came of it.

A request that is served is in ``handledRequests`` as well. Who waits for one knows by this that an operator works, and
that the conditions are not older than the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict

from rotated_secrets.api.fields import ReportedName
from rotated_secrets.api.rules import WrittenModel

if TYPE_CHECKING:
    from rotated_secrets.api.status import RotatedSecretStatus


class ObservedRequests(WrittenModel):
    """Requests that a check has seen, whatever came of it: the conditions are of this check, or of a later one."""

    model_config = ConfigDict(extra="ignore")

    rotate: ReportedName | None = None
    """The value of the annotation `rotatedsecrets.io/rotate` that was seen last."""

    resync: ReportedName | None = None
    """The value of the annotation `rotatedsecrets.io/resync` that was seen last."""


def with_observed(status: RotatedSecretStatus, rotate: str | None, resync: str | None) -> RotatedSecretStatus:
    """Return the status with these values of the annotations as the ones that a check has seen."""
    seen = ObservedRequests(rotate=rotate, resync=resync) if rotate or resync else None
    return status.model_copy(update={"observed_requests": seen})


def acknowledgement(status: RotatedSecretStatus) -> dict[str, Any]:
    """Return the patch with those fields that say what a check saw, and that no rotation depends on."""
    whole = status.to_patch()
    return {name: whole[name] for name in ("conditions", "state", "observedRequests")}
