"""The metrics that Prometheus collects, and the calls that change them.

docs/reference.md shows the help texts. Must not know its callers. Safe from any thread.
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
    """The metrics of one operator, in a separate registry."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

        def counter(name: str, help_text: str, *labels: str) -> Counter:
            return Counter(name, help_text, labels, namespace=PREFIX, registry=registry)

        def gauge(name: str, help_text: str, *labels: str) -> Gauge:
            return Gauge(name, help_text, labels, namespace=PREFIX, registry=registry)

        def histogram(name: str, help_text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, help_text, labels, namespace=PREFIX, registry=registry, buckets=buckets)

        self._rotations = counter(
            "rotations_total",
            "Attempts of rotations that ended, by outcome: Succeeded, Failed, RolledBack or Abandoned. A step that is "
            "refused and tried again counts as Failed, once. Each series "
            "starts at 0 when a RotatedSecret of that engine and strategy is first checked.",
            "engine",
            "strategy",
            "trigger",
            "outcome",
        )
        self._step = histogram(
            "rotation_step_seconds",
            "Duration of one step: createSecret, setSecret, testSecret or finishSecret.",
            SECONDS,
            "engine",
            "step",
        )
        self._held = gauge(
            "rotation_held",
            "RotatedSecrets whose condition Held is True, by its reason; `other` if this operator does not know it.",
            "reason",
        )
        self._syncs = counter(
            "sync_total",
            "Writes of target Secrets, by outcome: `written`, `repaired` (after a change by someone else) or `failed`.",
            "outcome",
        )
        self._sync_lag = histogram(
            "sync_lag_seconds",
            "Time from the move of AWSCURRENT (or, if someone else moved it, from the creation of the version) until "
            "the target Secret holds the version. The first delivery is not counted.",
            LAG_SECONDS,
        )
        self._restarts = counter(
            "rollout_restarts_total",
            "Requested restarts of workloads, by outcome: `restarted`, `missing`, `refused` or `unavailable`.",
            "kind",
            "outcome",
        )
        self._last_success = gauge(
            "last_success_timestamp_seconds", "Time of the last successful rotation, as Unix time.", *OBJECT
        )
        self._next = gauge(
            "next_rotation_timestamp_seconds",
            "Time when the next rotation is due, as Unix time; no series while the rotation is held as Suspended.",
            *OBJECT,
        )
        self._ready = gauge("ready", "1 if the condition Ready is True, else 0.", *OBJECT)
        self._set_aside = gauge(
            "namespace_set_aside",
            "1 for each served namespace that the API server does not let the operator watch now; no series for others."
            " An empty one stands for all.",
            "namespace",
        )
        self._failing = gauge(
            "rotation_failing",
            "1 from the first failure of what was due (a rotation, or the retirement of an old password) until it "
            "succeeds, else 0.",
            *OBJECT,
        )
        self._aws = counter(
            "aws_requests_total",
            "Requests to AWS, each retry counted, by outcome: `ok`, `throttled`, `denied`, `absent`, `refused`, or "
            "`unavailable` (also if what answered is not AWS).",
            "operation",
            "outcome",
        )
        self._connections = counter(
            "database_connections_total",
            "Login attempts at databases, by purpose (`verify` or `admin`) and outcome: `ok`, or the kind of failure.",
            "engine",
            "purpose",
            "outcome",
        )
        self._cells = counter(
            "cells_ended_total",
            "Child processes for database clients, webhooks and templates that ended, by outcome: `ok`, what they "
            "used too much of (`memory`, `cpu`, `time`, `output`), `crowded` where all together used too much "
            "memory, `crash`, `nonsense`, or `unconfined`, `closed` and `ended` where the operator could not run them.",
            "outcome",
        )
        self._cell_output = counter(
            "cell_output_bytes_total",
            "Bytes that these processes printed. They are thrown away: a server may choose them.",
        )
        self._open_cells = gauge("cells", "Child processes for database clients, webhooks and templates that run now.")
        self._log_lines = counter(
            "log_lines_dropped_total",
            "Lines that were not logged because their namespace had used up its share of the log.",
        )
        self._events = counter(
            "events_dropped_total",
            "Events that were not posted, by cause: `object` (its RotatedSecret had 25, and then more than one in five "
            "minutes) or `backlog` (too many wait, and most of them are of its namespace).",
            "cause",
        )
        self._depth = gauge("queue_depth", "RotatedSecrets that wait for a worker.")
        self._leader = gauge("leader", "1 on the replica that leads, else 0.")
        self._policy = gauge(
            "access_policy_ok",
            "1 while the access policy in force is the one in the file; 0 if the file cannot be read or is not valid, "
            "and the previous policy stays in force.",
        )

        self._lock = threading.Lock()
        self._held_for: dict[tuple[str, str], str] = {}

    def rotations_expected(self, *, engine: str, strategy: str) -> None:
        """Start the series of such rotations at 0: Prometheus sees no increase when a series first appears with 1."""
        for trigger, outcome in product(Trigger, Outcome):
            self._rotations.labels(engine, strategy, trigger, outcome)

    def rotation_finished(self, *, engine: str, strategy: str, trigger: str, outcome: str) -> None:
        self.rotations_expected(engine=engine, strategy=strategy)
        self._rotations.labels(engine, strategy, trigger, outcome).inc()

    def step_took(self, *, engine: str, step: str, seconds: float) -> None:
        self._step.labels(engine, step).observe(seconds)

    def held(self, namespace: str, name: str, reason: str | None) -> None:
        """Set the reason why this RotatedSecret's rotation is held; None if it is not."""
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

    def restart_requested(self, *, kind: str, outcome: str) -> None:
        self._restarts.labels(kind, outcome).inc()

    def resource(
        self, namespace: str, name: str, *, ready: bool, last_success: datetime | None, next_rotation: datetime | None
    ) -> None:
        """Set the series of one RotatedSecret from its status; a time that is None gets no series."""
        self._ready.labels(namespace, name).set(ready)
        for series, time in ((self._last_success, last_success), (self._next, next_rotation)):
            if time is None:
                _remove(series, namespace, name)
            else:
                series.labels(namespace, name).set(time.timestamp())

    def rotation_failing(self, namespace: str, name: str, *, failing: bool) -> None:
        self._failing.labels(namespace, name).set(failing)

    def forget(self, namespace: str, name: str) -> None:
        """Remove the series of a RotatedSecret that was deleted."""
        self.held(namespace, name, None)
        for series in (self._ready, self._last_success, self._next, self._failing):
            _remove(series, namespace, name)

    def namespace_set_aside(self, namespace: str, *, is_so: bool) -> None:
        if is_so:
            self._set_aside.labels(namespace).set(1)
        else:
            _remove(self._set_aside, namespace)

    def aws_request(self, *, operation: str, outcome: str) -> None:
        self._aws.labels(operation, outcome).inc()

    def database_connection(self, *, engine: str, purpose: str, outcome: str) -> None:
        self._connections.labels(engine, purpose, outcome).inc()

    def cell_ended(self, outcome: str, output: int) -> None:
        """A cell has ended; ``output``: the bytes that it printed."""
        self._cells.labels(outcome).inc()
        self._cell_output.inc(output)

    def log_line_dropped(self) -> None:
        self._log_lines.inc()

    def event_dropped(self, cause: str) -> None:
        self._events.labels(cause).inc()

    def follow_cells(self, running: Callable[[], int]) -> None:
        """Call ``running`` whenever the metrics are collected."""
        self._open_cells.set_function(running)

    def follow_queue(self, depth: Callable[[], int]) -> None:
        """Call ``depth`` whenever the metrics are collected."""
        self._depth.set_function(depth)

    def follow_leader(self, leads: Callable[[], bool]) -> None:
        """Call ``leads`` whenever the metrics are collected."""
        self._leader.set_function(lambda: float(leads()))

    def follow_access_policy(self, is_current: Callable[[], bool]) -> None:
        """Call ``is_current``, whether the file's policy is in force, whenever the metrics are collected."""
        self._policy.set_function(lambda: float(is_current()))


def _remove(series: Gauge, *labels: str) -> None:
    """Remove a series if it is there."""
    with contextlib.suppress(KeyError):
        series.remove(*labels)
