"""The numbers that Prometheus collects, and the few calls that move them.

Knows nothing of who calls. Safe from any thread.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from datetime import datetime
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from rotated_secrets.api.status import Outcome, Trigger

PREFIX = "rotatedsecrets"
OBJECT = ("namespace", "name")
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
LAG_SECONDS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


class Metrics:
    """Every metric of one operator, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

        def counter(name: str, says: str, *labels: str) -> Counter:
            return Counter(name, says, labels, namespace=PREFIX, registry=registry)

        def gauge(name: str, says: str, *labels: str) -> Gauge:
            return Gauge(name, says, labels, namespace=PREFIX, registry=registry)

        def histogram(name: str, says: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, says, labels, namespace=PREFIX, registry=registry, buckets=buckets)

        self._rotations = counter(
            "rotations_total", "Rotations that came to an end.", "engine", "strategy", "trigger", "outcome"
        )
        self._step = histogram("rotation_step_seconds", "How long one step took.", SECONDS, "engine", "step")
        self._held = gauge("rotation_held", "RotatedSecrets whose due rotation waits on purpose, by reason.", "reason")
        self._syncs = counter("sync_total", "Attempts to write a target Secret.", "outcome")
        self._sync_lag = histogram(
            "sync_lag_seconds", "From AWSCURRENT moving to the target Secret holding it.", LAG_SECONDS
        )
        self._restarts = counter(
            "rollout_restarts_total", "Workloads that were to restart with a new version.", "kind", "outcome"
        )
        self._last_success = gauge(
            "last_success_timestamp_seconds", "When the last rotation succeeded, Unix time.", *OBJECT
        )
        self._next = gauge("next_rotation_timestamp_seconds", "When the next rotation is due, Unix time.", *OBJECT)
        self._ready = gauge("ready", "1 where the condition Ready is True, else 0.", *OBJECT)
        self._aws = counter("aws_requests_total", "Requests made to AWS.", "operation", "outcome")
        self._connections = counter(
            "database_connections_total", "Logins tried at databases.", "engine", "purpose", "outcome"
        )
        self._depth = gauge("queue_depth", "RotatedSecrets that wait for a worker.")
        self._leader = gauge("leader", "1 on the replica that leads, else 0.")
        self._policy = gauge(
            "access_policy_ok", "1 while the access policy in force is the file's, 0 where that cannot be read."
        )

        self._lock = threading.Lock()
        self._held_for: dict[tuple[str, str], str] = {}

    def rotations_expected(self, *, engine: str, strategy: str) -> None:
        """From now on there are series of such rotations: an increase from no series at all is none to Prometheus."""
        for trigger, outcome in product(Trigger, Outcome):
            self._rotations.labels(engine, strategy, trigger, outcome)

    def rotation_finished(self, *, engine: str, strategy: str, trigger: str, outcome: str) -> None:
        self.rotations_expected(engine=engine, strategy=strategy)
        self._rotations.labels(engine, strategy, trigger, outcome).inc()

    def step_took(self, *, engine: str, step: str, seconds: float) -> None:
        self._step.labels(engine, step).observe(seconds)

    def held(self, namespace: str, name: str, reason: str | None) -> None:
        """Why this RotatedSecret's due rotation waits now; None where none waits."""
        with self._lock:
            before = self._held_for.pop((namespace, name), None)
            if reason is not None:
                self._held_for[namespace, name] = reason
            if reason == before:
                return
            if before is not None:
                self._held.labels(before).dec()
            if reason is not None:
                self._held.labels(reason).inc()

    def sync_finished(self, *, outcome: str, lag_seconds: float | None = None) -> None:
        self._syncs.labels(outcome).inc()
        if lag_seconds is not None:
            self._sync_lag.observe(max(0.0, lag_seconds))

    def restart_asked(self, *, kind: str, outcome: str) -> None:
        self._restarts.labels(kind, outcome).inc()

    def resource(
        self, namespace: str, name: str, *, ready: bool, last_success: datetime | None, next_rotation: datetime | None
    ) -> None:
        """What the status of one RotatedSecret says now; a time that is None has no series."""
        self._ready.labels(namespace, name).set(ready)
        for series, time in ((self._last_success, last_success), (self._next, next_rotation)):
            if time is None:
                _remove(series, namespace, name)
            else:
                series.labels(namespace, name).set(time.timestamp())

    def forget(self, namespace: str, name: str) -> None:
        """This RotatedSecret is gone, and its series with it."""
        self.held(namespace, name, None)
        for series in (self._ready, self._last_success, self._next):
            _remove(series, namespace, name)

    def aws_request(self, *, operation: str, outcome: str) -> None:
        self._aws.labels(operation, outcome).inc()

    def database_connection(self, *, engine: str, purpose: str, outcome: str) -> None:
        self._connections.labels(engine, purpose, outcome).inc()

    def follow_queue(self, depth: Callable[[], int]) -> None:
        """Ask ``depth`` whenever the metrics are collected."""
        self._depth.set_function(depth)

    def follow_leader(self, leads: Callable[[], bool]) -> None:
        """Ask ``leads`` whenever the metrics are collected."""
        self._leader.set_function(lambda: float(leads()))

    def follow_access_policy(self, is_well: Callable[[], bool]) -> None:
        """Ask ``is_well`` whenever the metrics are collected."""
        self._policy.set_function(lambda: float(is_well()))


def _remove(series: Gauge, namespace: str, name: str) -> None:
    """Drop a series that may not be there."""
    with contextlib.suppress(KeyError):
        series.remove(namespace, name)
