"""RotatedSecrets that were deleted in the middle of a rotation: which there are, a look at one, and when to give up."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from rotated_secrets.api.key import Key
from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.status import Reason
from rotated_secrets.controller.look.gather import Gathered, Gatherer
from rotated_secrets.controller.look.validation import Unusable
from rotated_secrets.controller.reconcile.reporter import Reporter
from rotated_secrets.controller.reconcile.wake_ups import RECHECK
from rotated_secrets.controller.services import Services
from rotated_secrets.controller.work.scheduler import utc_now
from rotated_secrets.databases.base import Unavailable
from rotated_secrets.databases.idle import seconds_since_boot
from rotated_secrets.delivery.errors import DeliveryError
from rotated_secrets.observability.event_reasons import EventReason
from rotated_secrets.rotation.ports import LookAgain
from rotated_secrets.rotation.report import NewEvent
from rotated_secrets.rotation.run import TryAgain
from rotated_secrets.secretstores.base import StoreError

log = logging.getLogger(__name__)

GIVE_UP_AFTER: Final = timedelta(hours=24)
"""How long after its beginning a rotation of a RotatedSecret that is gone is given up. Nothing waits for it, but its
database may be gone too, and answer no more."""
TRY_FOR: Final = 3600.0
"""Seconds for which this process tries in any case: it may have begun long ago, while no operator ran."""


@dataclass(frozen=True)
class Left:
    """What of one name has to be ended."""

    resources: tuple[RotatedSecret, ...] = ()
    """RotatedSecrets that are gone, as they were when their rotation began."""
    has_successor: bool = False
    """Whether there is another RotatedSecret of this name now."""


class DeletedResources:
    """Looks at RotatedSecrets that are gone."""

    def __init__(self, services: Services, gatherer: Gatherer) -> None:
        self._services = services
        self._gatherer = gatherer
        self._tried_since: dict[str, float] = {}
        """By uid, in seconds of a clock that cannot be set."""

    def left_by(self, key: Key) -> Left:
        """Find the RotatedSecrets of this name that were deleted in the middle of a rotation. Raises: ClusterError."""
        if not self._services.journal.has(key):
            return Left()
        found = self._services.resources.read_object(key)
        living = found["metadata"] if found is not None and "deletionTimestamp" not in found["metadata"] else None
        left = self._services.journal.left_by(key, living["uid"] if living else None)
        return Left(tuple(left), living is not None)

    def look(self, resource: RotatedSecret) -> Gathered | None:
        """Gather what is needed to end its rotation; None, and its entry removed, if its secret is gone as well.

        Raises:
            TryAgain: that is not possible now.
        """
        try:
            return self._gatherer.look_at_deleted(resource)
        except Unusable as error:
            if error.reason is not Reason.SECRET_NOT_FOUND:
                raise TryAgain(self._told(resource, str(error)), RECHECK.total_seconds()) from None
            log.info("the rotation of RotatedSecret %s, which was deleted, has nothing to end: %s", resource, error)
            self._services.journal.close(resource.key, resource.uid)
            return None
        except (LookAgain, StoreError, DeliveryError, Unavailable) as error:
            raise TryAgain(self._told(resource, str(error))) from error

    def gives_up(self, resource: RotatedSecret, why: str) -> bool:
        """Remove its entry if that was tried for long enough, and tell what is left to do. Raises: ClusterError."""
        services, claim, boot = self._services, resource.status.rotation, seconds_since_boot()
        tried = boot - self._tried_since.setdefault(resource.uid, boot)
        # A beginning in the future is a clock's error, and no reason to try for ever.
        if claim is None or tried < TRY_FOR or abs(utc_now() - claim.started_at) < GIVE_UP_AFTER:
            return False
        services.guard()
        secret = resource.spec.source.secret_id
        Reporter(services, resource).tell(
            NewEvent(
                EventReason.ROTATION_ABANDONED,
                f"this RotatedSecret was deleted, and its rotation of secret {secret}, which began at "
                f"{claim.started_at:%Y-%m-%dT%H:%M:%SZ}, could not be ended and is given up: {why}; run "
                f"aws secretsmanager describe-secret --secret-id {secret}: if AWSCURRENT (before: version "
                f"{claim.from_version_id}) does not log in, the database may have the password of the version "
                "that carries AWSPENDING",
            )
        )
        services.journal.close(resource.key, resource.uid)
        del self._tried_since[resource.uid]
        return True

    @staticmethod
    def _told(resource: RotatedSecret, why: str) -> str:
        return f"the rotation of RotatedSecret {resource}, which was deleted, could not be ended yet: {why}"
