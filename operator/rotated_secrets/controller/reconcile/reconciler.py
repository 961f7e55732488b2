"""Looking at one RotatedSecret: observe, plan, act, report, until the plan has nothing more to do now.

The one place that knows all rooms. What is so is found out by :mod:`subject`, what to do is decided by the plan, and
how it is done is known by the steps; here is the loop between them, and what people are told of it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from rotated_secrets.api.key import Key
from rotated_secrets.api.resource import InvalidSpec, RotatedSecret, parse_status
from rotated_secrets.api.status import ConditionType, Reason, RotatedSecretStatus
from rotated_secrets.controller.look.gather import LOOK_AT_OBSTACLES, Looker, Subject
from rotated_secrets.controller.look.validation import Unusable
from rotated_secrets.controller.reconcile.reporter import Reporter
from rotated_secrets.controller.services import Services
from rotated_secrets.controller.work.limits import HostUnavailable
from rotated_secrets.controller.work.queue import Reconcile, RetryLater
from rotated_secrets.controller.work.scheduler import utc_now
from rotated_secrets.databases.base import DatabaseError, Refused, Unavailable
from rotated_secrets.delivery.errors import DeliveryError
from rotated_secrets.delivery.restarts import ClusterWorkloads
from rotated_secrets.observability import logs
from rotated_secrets.rotation import actions
from rotated_secrets.rotation.observation import Login
from rotated_secrets.rotation.plan import plan
from rotated_secrets.rotation.ports import LookAgain
from rotated_secrets.rotation.report import (
    Finding,
    reported,
    with_findings,
)
from rotated_secrets.rotation.rollout import tried_again_at
from rotated_secrets.rotation.steps import Steps
from rotated_secrets.secretstores.base import AccessDenied, StoreError
from rotated_secrets.values import InvalidSecretValue

log = logging.getLogger(__name__)

STALE_AFTER = 0.5
"""Seconds after which the target Secret is read again before a rotation goes on from an old look at it."""

_STEPS = {
    actions.CreatePending: "createSecret",
    actions.SetPending: "setSecret",
    actions.TestPending: "testSecret",
    actions.FinishPending: "finishSecret",
}
_WITHOUT_DATABASE = (
    actions.WriteStatus,
    actions.SyncTarget,
    actions.RestartWorkload,
    actions.ClearPending,
    actions.ReadPending,
    actions.RequestRotation,
)


def reconciler(services: Services) -> Reconcile:
    """The reconcile of one operator. Raises InvalidSettings."""
    return _Reconciler(services).reconcile


class _Reconciler:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._looker = Looker(services)

    async def reconcile(self, key: Key) -> datetime | None:
        """Look at one RotatedSecret and do what is to do; returns when to look again."""
        limits = self._services.limits
        found = await limits.run(self._look, key)
        if not isinstance(found, Subject):
            return found
        run = _Run(self._services, found)
        try:
            if not await limits.run(run.advance, database=False):
                await self._advance_at_database(run)
            return await limits.run(run.conclude)
        finally:
            await limits.run(run.close)

    async def _advance_at_database(self, run: _Run) -> None:
        limits = self._services.limits
        try:
            async with limits.host(run.subject.server, run.subject.resource.namespace):
                await limits.run_at_host(run.advance, database=True)
                run.raise_if_unreachable()
        except HostUnavailable as error:
            run.database_is_unreachable(str(error), error.retry_in)
            await limits.run(run.advance, database=True)
        except Unavailable as error:
            log.debug("%s", error)  # told on the resource already, and by the queue when the run is concluded

    def _look(self, key: Key) -> Subject | datetime | None:
        """What is there to work on; or when to look again, where there is nothing."""
        try:
            resource = self._services.resources.read(key)
        except InvalidSpec as error:
            self._looker.deny(key)
            self._report_invalid(key, str(error))
            return None
        if resource is None:
            self._services.metrics.forget(key.namespace, key.name)
        if resource is None or resource.deleting:
            self._looker.count(key, allowed=False)
            self._looker.forget(key)
            return None
        try:
            return self._looker.look(resource)
        except Unusable as error:
            self._report_unusable(resource, error)
            if error.asked_the_store:
                raise RetryLater(str(error)) from None
            return utc_now() + LOOK_AT_OBSTACLES
        except LookAgain as error:
            raise RetryLater(str(error)) from None
        except (StoreError, DeliveryError, Unavailable) as error:
            Reporter(self._services, resource).failed(str(error))
            raise RetryLater(str(error)) from error

    def _report_unusable(self, resource: RotatedSecret, error: Unusable) -> None:
        self._services.guard()
        reporter = Reporter(self._services, resource)
        if error.reason is Reason.ACCESS_DENIED:
            reporter.denied(str(error))
        finding = Finding(False, error.reason, str(error))
        findings = {ConditionType.READY: finding}
        if error.reason is Reason.SYNC_FAILED:
            findings[ConditionType.SYNCED] = finding
        reporter.conditions(findings)

    def _report_invalid(self, key: Key, message: str) -> None:
        """A spec that does not parse gets its condition all the same, by what can be read of the object."""
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
        finding = {ConditionType.READY: Finding(False, Reason.INVALID_SPEC, message)}
        after = with_findings(status, finding, generation=metadata["generation"], now=utc_now())
        if after != status:
            # The conditions alone: what cannot be read is not to be removed.
            patch = {"conditions": after.to_patch()["conditions"]}
            self._services.resources.write_status_of(
                key, uid=metadata["uid"], resource_version=metadata["resourceVersion"], patch=patch
            )


class _Run:
    """One run of the loop over one RotatedSecret. Every method may block."""

    def __init__(self, services: Services, subject: Subject) -> None:
        self._services = services
        self.subject = subject
        self._looked_at = time.monotonic()
        self._reporter = Reporter(services, subject.resource, subject.engine)
        self._target = subject.target(self._reporter.written)
        self._seen = (
            subject.seen
            if self._target is None
            else replace(subject.seen, target=self._target.look(subject.seen.current))
        )
        self._waiting: actions.Waiting | None = None
        self._in_vain_for = 0.0
        self._trouble = ""
        self._steps = Steps(
            subject.terms,
            store=subject.store,
            database=subject.connections,
            ledger=self._reporter.ledger,
            target=self._target,
            guard=services.guard,
            report=self._reporter.rotated,
            now=utc_now,
            workloads=ClusterWorkloads(
                services.cluster,
                namespace=subject.resource.namespace,
                owner_name=subject.resource.name,
                told=self._reporter.restarted,
            ),
        )

    def advance(self, *, database: bool) -> bool:
        """Act until the plan waits or, without ``database``, until it needs one. Returns whether it waits."""
        waited = time.monotonic() - self._looked_at
        if database and self._target is not None and self._seen.claim is not None and waited > STALE_AFTER:
            with self._told():
                self._seen = replace(self._seen, target=self._target.look_again(self._seen.current))
        while self._waiting is None:
            action = plan(self._seen, self.subject.terms, utc_now())
            if isinstance(action, actions.Waiting):
                self._waiting = action
            elif not database and not isinstance(action, _WITHOUT_DATABASE) and self.subject.terms.has_database:
                return False
            else:
                with self._told(), self._timed(action):
                    self._seen = self._steps.act(action, self._seen)
                self._count(action)
        return True

    def _count(self, done: actions.Doing) -> None:
        if isinstance(done, actions.FinishPending):
            self._reporter.moved()
        elif isinstance(done, actions.SyncTarget) and not self._seen.synced:
            self._services.metrics.sync_finished(outcome="failed")

    def conclude(self) -> datetime | None:
        """Report, and say when to look again.

        Raises:
            Retry: something that will pass is in the way.
        """
        waiting, seen, terms = self._waiting, self._seen, self.subject.terms
        if waiting is None:
            raise RetryLater(self._trouble)
        self._services.guard()
        if seen.obstacle is not None and seen.obstacle.reason is Reason.ACCESS_DENIED:
            self._reporter.denied(seen.obstacle.message)
        with self._told():
            now = utc_now()
            status = reported(seen, terms, waiting, generation=self.subject.resource.generation, now=now)
            self._reporter.ledger.write(status)
            self._reporter.gauge(status)
        if isinstance(waiting, actions.Retry):
            raise RetryLater(waiting.message, self._in_vain_for)
        if seen.login is Login.UNREACHABLE:
            raise RetryLater(seen.login_message, self._in_vain_for)
        return self.subject.settle(seen, self._rest(waiting), self._target.live if self._target else None)

    def _rest(self, waiting: actions.Hold | actions.Sleep) -> actions.Hold | actions.Sleep:
        """No longer than until workloads that could not be restarted are tried again."""
        again = tried_again_at(self._seen, utc_now())
        if again is None:
            return waiting
        until = waiting.until if isinstance(waiting, actions.Sleep) else None
        return actions.Sleep(min(again, until) if until else again)

    def raise_if_unreachable(self) -> None:
        """Let the host's circuit breaker know."""
        if self._seen.login is Login.UNREACHABLE:
            raise Unavailable(self._seen.login_message)

    def database_is_unreachable(self, message: str, for_seconds: float) -> None:
        """Go on with what can be done without it."""
        self._in_vain_for = for_seconds
        self._seen = replace(self._seen, login=Login.UNREACHABLE, login_message=message)

    def close(self) -> None:
        self._steps.__exit__(None, None, None)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """What stops a run is told on the resource, and the run tried again."""
        try:
            yield
        except LookAgain as error:
            raise RetryLater(str(error)) from None
        except Refused as error:
            # Nothing that waiting would mend: the host is one that is not connected to, for instance.
            self._reporter.conditions({ConditionType.READY: Finding(False, Reason.INVALID_SECRET_VALUE, str(error))})
            raise RetryLater(str(error)) from error
        except (StoreError, DatabaseError, DeliveryError, InvalidSecretValue) as error:
            if isinstance(error, AccessDenied):
                self._reporter.denied(str(error))
            if isinstance(error, DeliveryError):
                self._services.metrics.sync_finished(outcome="failed")
            self._reporter.failed(str(error))
            if isinstance(error, Unavailable):
                self._trouble = str(error)
                raise
            raise RetryLater(str(error)) from error

    @contextlib.contextmanager
    def _timed(self, action: actions.Doing) -> Iterator[None]:
        step = _STEPS.get(type(action))
        if step is None:
            yield
            return
        began = time.monotonic()
        with logs.about(step=step):
            yield
            took = time.monotonic() - began
            log.info("%s done in %.2f s", step, took)
        self._services.metrics.step_took(engine=self.subject.engine, step=step, seconds=took)
