"""The reconcile of one RotatedSecret: look, run the rotation loop, remember for how long nothing is to be done.

What is so is found out by :mod:`rotated_secrets.controller.look.gather`; what is done about it, and what becomes of
errors, is in :mod:`rotated_secrets.rotation.run`. Here the two meet the threads, the limits and the report.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from rotated_secrets.api.key import Key
from rotated_secrets.api.names import RESYNC_ANNOTATION, ROTATE_ANNOTATION
from rotated_secrets.api.observed_requests import acknowledgement, with_observed
from rotated_secrets.api.resource import InvalidSpec, RotatedSecret, parse_status, requests_in
from rotated_secrets.api.status import ConditionType, Reason, RotatedSecretStatus
from rotated_secrets.cluster import ClusterError, Conflict, ObjectTooLarge
from rotated_secrets.controller.look.gather import Gathered, Gatherer
from rotated_secrets.controller.look.validation import Unusable
from rotated_secrets.controller.reconcile.deleted import DeletedResources
from rotated_secrets.controller.reconcile.interruptions import Interruptions
from rotated_secrets.controller.reconcile.reporter import Reporter, tell
from rotated_secrets.controller.reconcile.target_secret import DeliveredSecret
from rotated_secrets.controller.reconcile.wake_ups import CHECK_EVERY, RECHECK, rest_after
from rotated_secrets.controller.services import Services
from rotated_secrets.controller.work.limits import HostUnavailable
from rotated_secrets.controller.work.queue import Draining, Reconcile, RetryLater
from rotated_secrets.controller.work.scheduler import utc_now
from rotated_secrets.databases.base import Unavailable
from rotated_secrets.delivery.errors import DeliveryError
from rotated_secrets.delivery.restarts import ClusterWorkloads
from rotated_secrets.delivery.target import DesiredSecret, LiveSecret, TargetState
from rotated_secrets.observability.event_reasons import EventReason
from rotated_secrets.rotation.actions import Hold, Sleep
from rotated_secrets.rotation.ports import LookAgain, Ports
from rotated_secrets.rotation.reason_events import events_for_reasons
from rotated_secrets.rotation.report import Finding, with_findings
from rotated_secrets.rotation.run import Run, TryAgain
from rotated_secrets.rotation.state import rotation_fails
from rotated_secrets.rotation.unfinished import unknown
from rotated_secrets.secretstores.base import AccessDenied, StoredVersion, StoreError

log = logging.getLogger(__name__)

LookedAt = TypeVar("LookedAt")


def reconciler(services: Services) -> Reconcile:
    """The reconcile of one operator. Raises InvalidSettings."""
    return _Reconciler(services).reconcile


class _Reconciler:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._gatherer = Gatherer(services)
        self._deleted = DeletedResources(services, self._gatherer)
        self._interruptions = Interruptions(services, self._gatherer)

    async def reconcile(self, key: Key) -> datetime | None:
        """Look at one RotatedSecret and do what is to do; returns when to look again.

        Raises:
            RetryLater: something that will pass is in the way; it is reported.
        """
        with self._services.limits.at_work(key.namespace):
            moments = (await self._end_rotations_of_deleted(key), await self._work_on(self._look, key))
        return min((moment for moment in moments if moment is not None), default=None)

    async def _end_rotations_of_deleted(self, key: Key) -> datetime | None:
        """End what RotatedSecrets of this name began before they were deleted. Raises: as :meth:`reconcile`."""
        limits, again = self._services.limits, None
        left = await limits.run(self._deleted.left_by, key)
        for resource in left.resources:
            try:
                await self._work_on(self._deleted.look, resource)
            except Draining:
                raise
            except RetryLater as error:
                if await limits.run(self._deleted.gives_up, resource, str(error)):
                    continue
                if not left.has_successor:
                    raise
                # The one that has the name now can complete the same rotation.
                log.warning("%s", error)
                again = utc_now() + RECHECK
        return again

    async def _work_on(self, look: Callable[[LookedAt], Gathered | datetime | None], what: LookedAt) -> datetime | None:
        limits = self._services.limits
        try:
            found = await limits.run(look, what)
            if not isinstance(found, Gathered):
                return found
            work = await limits.run(self._begin, found)
            del found  # with the Secret that it read, which the run may let go
            try:
                if not await limits.run(work.run.advance, database=False):
                    await self._advance_at_database(work)
                return await limits.run(work.conclude)
            except ClusterError as error:
                raise await limits.run(work.refused, error) from error
            finally:
                await limits.run(work.run.close)
        except TryAgain as error:
            raise RetryLater(str(error), error.not_before) from error.__cause__
        except (RetryLater, ClusterError):
            raise
        except Exception as error:
            if isinstance(what, Key):
                await limits.run(self._interruptions.unexpected, what, error)
            raise

    async def _advance_at_database(self, work: _Work) -> None:
        """Go on at the database, in the host's and the namespace's turn; without it, where the host is left alone."""
        limits, run = self._services.limits, work.run
        server, tenant = work.gathered.connected.server, work.gathered.resource.namespace
        asked = work.gathered.resource.has_new_request
        if limits.must_wait(server, tenant):
            work.let_go()
        try:
            async with limits.host(server, tenant, asked=asked):
                await limits.run_at_host(run.advance, database=True)
                run.raise_if_unreachable()
        except HostUnavailable as error:
            run.database_is_unreachable(str(error), error.retry_in)
            await limits.run(run.advance, database=True)
        except Unavailable as error:
            log.debug("%s", error)  # reported already, and logged by the queue when the run is concluded

    def _look(self, key: Key) -> Gathered | datetime | None:
        """What there is to work on; or when to look again, where there is nothing."""
        try:
            resource = self._services.resources.read(key)
        except InvalidSpec as error:
            self._gatherer.give_up(key)
            self._report_invalid(key, str(error))
            return None
        except ObjectTooLarge:
            self._gatherer.give_up(key)
            self._report_large(key)
            return None
        if resource is None or resource.deleting:
            self._services.metrics.forget(key.namespace, key.name)
            self._gatherer.forget(key)
            self._interruptions.end(key)
            if resource is not None:
                self._interruptions.being_deleted(resource)
            return None
        try:
            found = self._gatherer.look(resource)
        except Unusable as error:
            self._report_unusable(resource, error)
            if error.asked_the_store:
                raise TryAgain(str(error)) from None
            return utc_now() + CHECK_EVERY
        except LookAgain as error:
            raise TryAgain(str(error)) from None
        except AccessDenied as error:
            # Of the operator's own identity, wherever in the look it was needed.
            self._report_unusable(resource, Unusable(Reason.ACCESS_DENIED, str(error)))
            raise TryAgain(str(error)) from None
        except (StoreError, DeliveryError, Unavailable) as error:
            raise self._interruptions.interrupted(resource, error) from error
        self._interruptions.end(key)
        return found

    def _begin(self, found: Gathered) -> _Work:
        try:
            return _Work(self._services, self._gatherer, found)
        except (StoreError, DeliveryError) as error:
            raise self._interruptions.interrupted(found.resource, error) from error

    def _report_unusable(self, resource: RotatedSecret, error: Unusable) -> None:
        self._services.guard()
        finding = Finding(False, error.reason, str(error))
        # The look did not come to comparing the target Secret.
        findings = unknown(resource.status, error.reason, str(error)) | {ConditionType.READY: finding}
        if error.reason is Reason.SYNC_FAILED:
            findings[ConditionType.SYNCED] = finding
        Reporter(self._services, resource).conditions(findings)

    def _report_invalid(self, key: Key, message: str) -> None:
        """Report a spec that does not parse, by what can be read of the object."""
        self._services.guard()
        obj = self._services.resources.read_object(key)
        if obj is None:
            return
        metadata = obj["metadata"]
        self._services.metrics.resource(key.namespace, key.name, ready=False, last_success=None, next_rotation=None)
        try:
            status = parse_status(obj)
        except InvalidSpec:
            status = RotatedSecretStatus()
        after = self._write_invalid(key, metadata, status, message)
        for telling in events_for_reasons(status, after):
            tell(self._services, key, metadata["uid"], metadata["resourceVersion"], telling)

    def _report_large(self, key: Key) -> None:
        """Report a RotatedSecret that is too large to be read, by what can be read of it."""
        services = self._services
        services.guard()
        large = services.resources.read_large(key)
        if large is None:
            return
        metadata = large.seen["metadata"] | {"annotations": large.requests}
        log.warning("%s", large.message)
        services.events.record(
            namespace=key.namespace,
            name=key.name,
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
            reason=EventReason.RESOURCE_TOO_LARGE,
            message=large.message,
        )
        services.metrics.resource(key.namespace, key.name, ready=False, last_success=None, next_rotation=None)
        try:
            self._write_invalid(key, metadata, large.status, large.message)
        except ObjectTooLarge:
            pass  # as expected: it was written, and is as large as before
        except Conflict:
            services.look(key)
        except ClusterError as error:
            # etcd may have no place for a condition in it. A change of the object is looked at again.
            log.warning("RotatedSecret %s: its status cannot be written: %s", key, error)

    def _write_invalid(
        self, key: Key, metadata: Mapping[str, Any], status: RotatedSecretStatus, message: str
    ) -> RotatedSecretStatus:
        generation, requests = metadata["generation"], requests_in(metadata)
        finding = Finding(False, Reason.INVALID_SPEC, message)
        findings = unknown(status, Reason.INVALID_SPEC, message) | {ConditionType.READY: finding}
        after = with_findings(status, findings, generation=generation, now=utc_now())
        after = with_observed(after, requests.get(ROTATE_ANNOTATION), requests.get(RESYNC_ANNOTATION))
        self._services.metrics.rotation_failing(key.namespace, key.name, failing=rotation_fails(after))
        said = (after.conditions, after.observed_requests, generation)
        if said != (status.conditions, status.observed_requests, status.observed_generation):
            # What is said now, and no more: what cannot be read is not to be removed.
            patch = acknowledgement(after) | {"observedGeneration": generation}
            version = metadata["resourceVersion"]
            self._services.resources.write_status_of(key, uid=metadata["uid"], resource_version=version, patch=patch)
        return after


class _Work:
    """One run of the rotation loop over what was gathered of one RotatedSecret, and its end. Every method may block."""

    def __init__(self, services: Services, gatherer: Gatherer, gathered: Gathered) -> None:
        self.gathered = replace(gathered, live=None)
        self._services = services
        self._gatherer = gatherer
        self._reporter = Reporter(services, gathered.resource, gathered.engine)
        self._target = self._target_secret(gathered.live)
        current = gathered.seen.current
        resource = gathered.resource
        seen = replace(gathered.seen, target=self._target.look(current) if self._target else None)
        ports = Ports(
            store=gathered.fetched.authorised.store,
            database=gathered.connected.database,
            status=self._reporter.status,
            target=self._target,
            workloads=ClusterWorkloads(
                services.cluster,
                namespace=resource.namespace,
                owner_name=resource.name,
                on_restart=self._reporter.restarted,
            ),
            reports=self._reporter,
            guard=services.guard,
            now=utc_now,
        )
        self.run = Run(gathered.terms, seen, ports, generation=resource.generation)

    def conclude(self) -> datetime | None:
        """Report what came of the run, and return when to look again. Raises: TryAgain."""
        waiting = self.run.conclude()
        if not self.gathered.resource.deleting:
            return self._rest(waiting)
        if self.run.seen.status.rotation is not None:
            why = waiting.message if isinstance(waiting, Hold) else "it has not ended"
            raise TryAgain(why, RECHECK.total_seconds())
        return None

    def refused(self, error: ClusterError) -> TryAgain:
        """Report that the API server did not take what a run writes, a journal's entry or the status.

        Returns:
            What ends the run.
        """
        if error.status:  # else nothing that could tell it is reached either
            self._reporter.not_taken(
                f"the cluster does not take what the operator has to write for a rotation: {error}"
            )
        return TryAgain(str(error))

    def let_go(self) -> None:
        """Drop what is large and can be read again, before a wait."""
        if self._target is not None:
            self._target.let_go()

    def _target_secret(self, live: LiveSecret | None) -> DeliveredSecret | None:
        """The target Secret, where one is delivered."""
        key, drift = self.gathered.resource.key, self._gatherer.drift
        resource = self.gathered.resource
        if not resource.spec.target.is_delivered:
            return None

        def written(before: TargetState, current: StoredVersion) -> None:
            drift.record_write(key, current.version_id)
            self._reporter.written(before, current)

        delivered = DeliveredSecret(
            self._gatherer.secrets, resource, live, self._services.renderer, self._write_target, written
        )
        # It may have gone with its RotatedSecret.
        return None if resource.deleting and live is None else delivered

    def _write_target(self, desired: DesiredSecret, live: LiveSecret | None) -> LiveSecret:
        """Write the target Secret, so that the watch's echo of it causes no look. Raises: as TargetSecrets.write."""
        services, key, version = self._services, self.gathered.resource.key, None
        services.index.begin_target_write(key)
        try:
            written = self._gatherer.secrets.write(desired, live)
            version = written.resource_version
            return written
        finally:
            if services.index.end_target_write(key, version):
                services.look(key)

    def _rest(self, waiting: Hold | Sleep) -> datetime | None:
        """Remember for how long nothing is to be done."""
        services, gathered, seen = self._services, self.gathered, self.run.seen
        authorised, key = gathered.fetched.authorised, gathered.resource.key
        region = authorised.request.lookup_region
        services.feeds.track(key, authorised.identity, region, gathered.terms.arn, seen.stages)
        now = utc_now()
        rest = rest_after(seen, waiting, now)
        version = self._target.version if self._target else None
        services.observed.store(key, gathered.token, gathered.inputs, version, rest.until, check_every=rest.check_every)
        return services.observed.next_check(key, now)
