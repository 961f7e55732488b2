"""Looks that did not come to an end: what is known of the RotatedSecret then, and what is not."""

from __future__ import annotations

import contextlib
import logging
from typing import Final

from rotated_secrets.api.key import Key
from rotated_secrets.api.observed_requests import acknowledgement, with_observed
from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.status import ConditionType, Reason
from rotated_secrets.api.target import CreationPolicy
from rotated_secrets.cluster import Conflict, NotFound
from rotated_secrets.controller.look.gather import Gatherer, TargetNow
from rotated_secrets.controller.reconcile.reporter import Reporter
from rotated_secrets.controller.services import Services
from rotated_secrets.controller.work.scheduler import utc_now
from rotated_secrets.delivery.errors import DeliveryError
from rotated_secrets.rotation.report import Finding, with_findings
from rotated_secrets.rotation.run import TryAgain
from rotated_secrets.rotation.unfinished import unknown, without_target
from rotated_secrets.secretstores.base import StoreThrottled

log = logging.getLogger(__name__)

THROTTLED_LOOKS: Final = 3
"""From so many looks in a row on that AWS throttles, it is unknown what is so; fewer pass, while the target Secret is
as it was left. Each is several requests."""


class Interruptions:
    """Reports them. Raises ClusterError where the API server does not take that."""

    def __init__(self, services: Services, gatherer: Gatherer) -> None:
        self._services = services
        self._gatherer = gatherer
        self._throttled: dict[Key, int] = {}
        """How many looks in a row AWS has throttled."""

    def end(self, key: Key) -> None:
        """A look came to an end, or the RotatedSecret is gone."""
        self._throttled.pop(key, None)

    def interrupted(self, resource: RotatedSecret, error: Exception) -> TryAgain:
        """Report what did not answer, and return what ends the run."""
        throttled = 0
        if isinstance(error, StoreThrottled):
            throttled = self._throttled[resource.key] = self._throttled.get(resource.key, 0) + 1
        target = self._gatherer.target_now(resource)
        reason = error.reason if isinstance(error, DeliveryError) else Reason.STORE_UNAVAILABLE
        if target is TargetNow.ABSENT:
            is_merged = resource.spec.target.creation_policy is CreationPolicy.MERGE
            findings = without_target(resource.status, reason, str(error), is_merged=is_merged)
        elif target is TargetNow.AS_LEFT and 0 < throttled < THROTTLED_LOOKS:
            findings = {}
        else:
            findings = unknown(resource.status, reason, str(error))
        self._services.guard()
        Reporter(self._services, resource).interrupted(str(error), findings)
        return TryAgain(str(error))

    def being_deleted(self, resource: RotatedSecret) -> None:
        """Report a RotatedSecret whose deletion waits for a finalizer: nothing is looked at for it any more, and its
        target Secret may be gone. It is no trouble, so there is no Event."""
        message = "it is being deleted, which waits for a finalizer; what it delivers is not looked at any more"
        finding, status = Finding(None, Reason.SYNC_FAILED, message), resource.status
        findings = {ConditionType.READY: finding, ConditionType.SYNCED: finding}
        after = with_findings(status, findings, generation=resource.generation, now=utc_now())
        after = with_observed(after, resource.rotate_request, resource.resync_request)
        if after.conditions == status.conditions and not resource.has_new_request:
            return
        self._services.guard()
        # If it has changed meanwhile, or is gone, the watch shows it.
        with contextlib.suppress(Conflict, NotFound):
            self._services.resources.write_status(resource, acknowledgement(after))

    def unexpected(self, key: Key, error: Exception) -> None:
        """Report a fault of the operator, after which nothing is known. Its text is not shown."""
        message = (
            f"the operator has failed unexpectedly ({type(error).__name__}); its log says where; it is tried again"
        )
        try:
            resource = self._services.resources.read(key)
            if resource is not None and not resource.deleting:
                self._services.guard()
                findings = unknown(resource.status, Reason.SYNC_FAILED, message)
                Reporter(self._services, resource).interrupted(message, findings)
        except Exception as again:  # noqa: BLE001 - the first error is the one to raise
            log.warning(
                "an unexpected failure could not be reported on RotatedSecret %s: %s", key, type(again).__name__
            )
