"""Reports on one RotatedSecret: its status, Events, metrics and log lines.

The words are chosen by :mod:`rotated_secrets.rotation.report`; here they are delivered.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import chain

from rotated_secrets.api.key import Key
from rotated_secrets.api.observed_requests import acknowledgement, with_observed
from rotated_secrets.api.resource import InvalidSpec, RotatedSecret
from rotated_secrets.api.rollout import Workload
from rotated_secrets.api.status import ConditionType, Outcome, Reason, RotatedSecretStatus, Step
from rotated_secrets.cluster import ClusterError
from rotated_secrets.controller.reconcile.status_writer import DeletedStatusWriter, ResourceStatusWriter
from rotated_secrets.controller.services import Services
from rotated_secrets.controller.work.scheduler import utc_now
from rotated_secrets.databases.base import Unavailable
from rotated_secrets.delivery.errors import DeliveryError
from rotated_secrets.delivery.restart import Restart
from rotated_secrets.delivery.target import TargetState
from rotated_secrets.observability import logs
from rotated_secrets.observability.event_reasons import WARNINGS, EventReason
from rotated_secrets.rotation.actions import Doing, FinishPending, SyncTarget
from rotated_secrets.rotation.observation import Observation
from rotated_secrets.rotation.ports import LookAgain, PasswordSet
from rotated_secrets.rotation.reason_events import events_for_reasons
from rotated_secrets.rotation.report import (
    STEP_FAILED,
    Finding,
    NewEvent,
    event_for_ignored_times,
    event_for_restart,
    event_for_sync,
    events_for_rights,
    events_for_status,
    tried_again,
    with_findings,
)
from rotated_secrets.rotation.state import rotation_fails
from rotated_secrets.secretstores.base import AccessDenied, StoredVersion, StoreUnavailable
from rotated_secrets.values import VersionId

log = logging.getLogger(__name__)

NO_ENGINE = "none"
_REASONS = frozenset(reason.value for reason in Reason)


def tell(services: Services, key: Key, uid: str, resource_version: str, telling: NewEvent) -> None:
    """Record an Event on a RotatedSecret, and log it."""
    log.log(logging.WARNING if telling.reason in WARNINGS else logging.INFO, "%s: %s", telling.reason, telling.message)
    services.events.record(
        namespace=key.namespace,
        name=key.name,
        uid=uid,
        resource_version=resource_version,
        reason=telling.reason,
        message=telling.message,
    )


class Reporter:
    """Reports on one RotatedSecret. Has the protocol :class:`~rotated_secrets.rotation.ports.Reports`."""

    def __init__(self, services: Services, resource: RotatedSecret, engine: str | None = None) -> None:
        """``engine`` is one that the operator knows, since a secret value must not choose the labels of metrics.

        None where it was not found out.
        """
        self._services = services
        self._engine = engine
        self._moved_at: datetime | None = None
        self.status = (
            DeletedStatusWriter(services.journal, resource, self._status_changed)
            if resource.deleting
            else ResourceStatusWriter(services.resources, services.journal, resource, self._status_changed)
        )

    def conditions(self, findings: dict[ConditionType, Finding]) -> None:
        """Write these conditions. If another operator has written since, its conditions are newer, and stay."""
        resource = self.status.resource
        self._acknowledge(with_findings(resource.status, findings, generation=resource.generation, now=utc_now()))

    def _acknowledge(self, status: RotatedSecretStatus) -> None:
        """Write the status at the end of a look: whatever it says, the look has seen the requests."""
        resource = self.status.resource
        status = with_observed(status, resource.rotate_request, resource.resync_request)
        self.concluded(status)  # also where the status cannot be written
        with contextlib.suppress(LookAgain):
            self.status.write(status)

    # ---- what a run reports

    @contextlib.contextmanager
    def acting(self, action: Doing) -> Iterator[None]:
        """Measure AWS's four steps."""
        step = action.aws_step
        if step is None:
            yield
            return
        began = time.monotonic()
        with logs.about(step=step):
            yield
            took = time.monotonic() - began
            log.info("%s done in %.2f s", step, took)
        self._services.metrics.step_took(engine=self._engine or NO_ENGINE, step=step, seconds=took)

    def acted(self, action: Doing, seen: Observation) -> None:
        """Note when AWSCURRENT moved, have its other followers looked at, and count what was not delivered."""
        if isinstance(action, FinishPending):
            self._moved_at = utc_now()
            services, key, current = self._services, self.status.resource.key, seen.current
            # Now, and not when the run has ended: with one user, what they have delivered does not log in any more.
            services.look_again(services.index.record_current(key, current.arn, action.version_id))
        elif isinstance(action, SyncTarget) and not seen.synced:
            self._services.metrics.sync_finished(outcome="failed")

    def failed(self, error: Exception, findings: Mapping[ConditionType, Finding]) -> None:
        """An action could not be done now, and is tried again."""
        if not isinstance(error, Unavailable | StoreUnavailable | DeliveryError):
            self._count_refusal()
        if isinstance(error, AccessDenied):
            self._denied(str(error))
        if isinstance(error, DeliveryError):
            self._services.metrics.sync_finished(outcome="failed")
        self.interrupted(str(error), findings)

    def concluding(self, seen: Observation) -> None:
        """Record an Event for times that were corrected. The status then does not show them as new."""
        if seen.ignored_times:
            self.tell(event_for_ignored_times(seen.ignored_times))

    # ---- what else is reported

    def interrupted(self, message: str, findings: Mapping[ConditionType, Finding]) -> None:
        """Write on the conditions why a look or a step did not finish.

        Args:
            message: why.
            findings: what Ready and Synced are by it; none where it passes.
        """
        status, found = self.status.resource.status, dict(findings)
        if status.rotation is not None:
            found[ConditionType.ROTATED] = tried_again(status.rotation, message)
        ready = found.get(ConditionType.READY)
        if status.condition(ConditionType.READY) is None and (ready is None or ready.status is None):
            found[ConditionType.READY] = Finding(False, Reason.SYNC_FAILED, message)  # nothing was delivered yet
        if found:
            self.conditions(found)
        else:
            self._acknowledge(status)

    def not_taken(self, message: str) -> None:
        """Write on the conditions that the API server takes no journal entry or no status."""
        resource = self.status.resource
        status, claim = resource.status, resource.status.rotation
        reason = STEP_FAILED[claim.step if claim is not None else Step.CREATE]
        findings = {ConditionType.ROTATED: Finding(False, reason, f"{message}; it is tried again")}
        if status.condition(ConditionType.READY) is None:
            findings[ConditionType.READY] = Finding(False, Reason.SYNC_FAILED, message)
        after = with_findings(status, findings, generation=resource.generation, now=utc_now())
        if after.conditions != status.conditions:
            self.tell(NewEvent(EventReason.ROTATION_FAILED, message))
        elif not resource.has_new_request:
            return
        after = with_observed(after, resource.rotate_request, resource.resync_request)
        self.concluded(after)
        # Not as a run writes it: that needs the journal too.
        with contextlib.suppress(ClusterError, InvalidSpec):
            self._services.resources.write_status(resource, acknowledgement(after))

    def _count_refusal(self) -> None:
        """Count a step that was refused and is tried again: once, not at each attempt. What passes is not counted."""
        status = self.status.resource.status
        claim, rotated = status.rotation, status.condition(ConditionType.ROTATED)
        if claim is None or (
            rotated is not None and (rotated.status, rotated.reason) == ("False", STEP_FAILED[claim.step])
        ):
            return
        self._services.metrics.rotation_finished(
            engine=self._engine or NO_ENGINE,
            strategy=self.status.resource.spec.rotation.strategy,
            trigger=claim.trigger,
            outcome=Outcome.FAILED,
        )

    def _denied(self, message: str) -> None:
        """Record an Event for a step that AWS denies, which no condition says yet: once, not at each attempt."""
        if all(message not in condition.message for condition in self.status.resource.status.conditions):
            self.tell(NewEvent(EventReason.ACCESS_DENIED, message))

    def tell(self, telling: NewEvent) -> None:
        """Record an Event, and log it."""
        resource = self.status.resource
        tell(self._services, resource.key, resource.uid, resource.resource_version, telling)

    def set_password(self, report: PasswordSet) -> None:
        """Report what setSecret did beside setting a password."""
        if report.sessions:
            log.info("user %s had %d sessions when its password was set; they stay open", report.user, report.sessions)
        for telling in events_for_rights(report):
            self.tell(telling)

    def written(self, before: TargetState, current: StoredVersion) -> None:
        """Report that the target Secret was written."""
        resource = self.status.resource
        spec_changed = resource.generation != resource.status.observed_generation
        telling = event_for_sync(before, current.version_id, spec_changed=spec_changed)
        drift = telling.reason is EventReason.SECRET_DRIFT_REPAIRED
        # The first version in a Secret is not late.
        moved = before.version_id not in (None, current.version_id)
        lag = (utc_now() - (self._moved_at or current.created_at)).total_seconds() if moved else None
        self._services.metrics.sync_finished(outcome="repaired" if drift else "written", lag_seconds=lag)
        self.tell(telling)

    def restarted(self, workload: Workload, version_id: VersionId, restart: Restart) -> None:
        """Report that a workload was restarted, or could not be."""
        telling = event_for_restart(workload, version_id, restart)
        if telling is not None:
            self._services.metrics.restart_requested(kind=workload.kind, outcome=restart.kind.name.lower())
            self.tell(telling)

    def _status_changed(self, before: RotatedSecret, after: RotatedSecretStatus) -> None:
        metrics, strategy = self._services.metrics, before.spec.rotation.strategy
        for telling in chain(
            events_for_status(before.status, after, strategy), events_for_reasons(before.status, after)
        ):
            self.tell(telling)
        if after.history and after.history[:1] != before.status.history[:1]:
            ended = after.history[0]
            metrics.rotation_finished(
                engine=self._engine or NO_ENGINE,
                strategy=strategy,
                trigger=ended.trigger,
                outcome=ended.outcome,
            )

    def concluded(self, status: RotatedSecretStatus) -> None:
        """Set the metrics of the resource to what its status says."""
        resource, ready = self.status.resource, status.condition(ConditionType.READY)
        if resource.deleting:
            return  # the metrics of its name are no longer its own
        if self._engine is not None:
            strategy = resource.spec.rotation.strategy
            self._services.metrics.rotations_expected(engine=self._engine, strategy=strategy)
        self._services.metrics.rotation_failing(resource.namespace, resource.name, failing=rotation_fails(status))
        held = status.condition(ConditionType.HELD)
        reason = held.reason if held is not None and held.status == "True" else None
        if reason is not None and reason not in _REASONS:
            reason = "other"  # a newer operator, or a person, may have written it
        self._services.metrics.held(resource.namespace, resource.name, reason)
        succeeded = [entry.finished_at for entry in status.history if entry.outcome is Outcome.SUCCEEDED]
        self._services.metrics.resource(
            resource.namespace,
            resource.name,
            ready=ready is not None and ready.status == "True",
            last_success=next(iter(succeeded), status.last_rotation_time),
            # A suspended rotation is not overdue.
            next_rotation=None if reason == Reason.SUSPENDED else status.next_rotation_time,
        )
