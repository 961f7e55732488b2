"""Kubernetes Events on RotatedSecrets, which ``kubectl describe`` shows below the status.

A separate thread posts them from a bounded queue, which is fair between namespaces: no rotation waits for an Event, or
fails because of one. A repeat within some minutes raises the count of the existing Event, and one RotatedSecret gets
only so many, as in Kubernetes' own components. Events are core ``v1``, because ``kubectl describe`` looks for these by
their involved object.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Literal, Protocol

from rotated_secrets.observability import logs
from rotated_secrets.observability.event_queue import EventQueue
from rotated_secrets.observability.event_reasons import WARNINGS, EventReason
from rotated_secrets.observability.logs import redact
from rotated_secrets.token_buckets import TokenBuckets

log = logging.getLogger(__name__)

COMPONENT: Final = "rotated-secrets"
MESSAGE_LENGTH: Final = 1024
"""Characters; longer messages are cut, as the API of Events requires."""
AGGREGATE_FOR: Final = 600.0
"""Seconds during which a repeat raises the count of the same Event."""
DROPPED_PER_LOG_LINE: Final = 1000
"""How many more Events must be dropped before that is logged again."""
MAX_REMEMBERED: Final = 4096
"""Most posted Events that are kept in memory to recognise repeats."""

OBJECT_BURST: Final = 25
OBJECT_INTERVAL: Final = 300.0
"""A RotatedSecret gets so many Events at once, and then one in so many seconds; repeats count. What is left out is in
the log and in the status.

Source: defaultSpamBurst and defaultSpamQPS of the EventCorrelator, tools/record/events_cache.go of client-go.
"""

MERGE_PATCH: Final = "application/merge-patch+json"


class Dropped(StrEnum):
    """Why an Event was not posted, as metrics call it."""

    OBJECT = "object"
    """Its RotatedSecret had too many."""
    BACKLOG = "backlog"
    """Too many wait, and most of them are of its namespace."""


class Requests(Protocol):
    """Requests to the API server."""

    def request(self, method: str, path: str, *, body: Any = None, content_type: str = "application/json") -> Any: ...


@dataclass(frozen=True)
class _Event:
    namespace: str
    name: str
    uid: str
    resource_version: str
    reason: str
    kind: Literal["Normal", "Warning"]
    message: str
    at: datetime

    @property
    def identity(self) -> tuple[str, ...]:
        """Equal for an Event and its repeats."""
        return (self.uid, self.kind, self.reason, self.message)


@dataclass
class _Posted:
    name: str
    count: int
    until: float


class Events:
    """Posts Events in the background. ``record`` never blocks and never fails."""

    def __init__(
        self,
        cluster: Requests,
        *,
        api_version: str,
        kind: str,
        instance: str,
        backlog: int = 1000,
        dropped: Callable[[Dropped], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the thread that posts.

        Args:
            cluster: where to post.
            api_version: that of the objects that Events are about.
            kind: that of the objects that Events are about.
            instance: this replica's name.
            backlog: how many Events may wait before some are dropped.
            dropped: called for each Event that is dropped.
            clock: returns seconds; for the limit of each RotatedSecret.
        """
        self._cluster = cluster
        self._api_version = api_version
        self._kind = kind
        self._instance = instance
        self._on_dropped = dropped
        self._changed = threading.Condition()
        """Guards the next three."""
        self._waiting: EventQueue[_Event] = EventQueue(backlog)
        self._of_object: TokenBuckets[tuple[str, str]] = TokenBuckets(
            burst=OBJECT_BURST, rate=1 / OBJECT_INTERVAL, most=MAX_REMEMBERED, clock=clock
        )
        self._closing = False
        self._posted: OrderedDict[tuple[str, ...], _Posted] = OrderedDict()
        self._dropped = 0
        self._dropping = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def record(
        self, *, namespace: str, name: str, uid: str, resource_version: str, reason: EventReason, message: str
    ) -> None:
        """Enqueue an Event on this RotatedSecret, unless it had too many."""
        with self._changed:
            # By name: one that is deleted and created again in a loop gets no more than others.
            is_allowed = self._of_object.wait((namespace, name)) == 0
            if is_allowed:
                self._of_object.spend((namespace, name))
        if not is_allowed:
            self._on_dropped(Dropped.OBJECT)
            return
        text = redact(message)
        text = text if len(text) <= MESSAGE_LENGTH else text[: MESSAGE_LENGTH - 1] + "…"
        kind: Literal["Normal", "Warning"] = "Warning" if reason in WARNINGS else "Normal"
        event = _Event(namespace, name, uid, resource_version, reason.value, kind, text, datetime.now(UTC))
        with self._changed:
            has_place = self._waiting.add(namespace, event)
            self._changed.notify()
        if not has_place:
            self._drop()

    def flush(self, timeout: float) -> None:
        """Post waiting Events for at most ``timeout`` seconds, then stop. Blocks."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        while (event := self._next()) is not None:
            with logs.about(namespace=event.namespace, name=event.name):
                try:
                    self._post(event)
                except Exception as error:  # noqa: BLE001 - an Event is tried once; a failure is only logged
                    log.warning(
                        "an Event (%s) on %s/%s could not be posted: %s",
                        event.reason,
                        event.namespace,
                        event.name,
                        error,
                    )
            if not len(self._waiting):
                self._caught_up()
        self._caught_up()

    def _next(self) -> _Event | None:
        """Wait for the next Event; None after :meth:`flush`, when all are posted."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) or self._closing)
            return self._waiting.take()

    def _drop(self) -> None:
        self._on_dropped(Dropped.BACKLOG)
        with self._dropping:
            self._dropped += 1
            dropped = self._dropped
        if dropped == 1 or dropped % DROPPED_PER_LOG_LINE == 0:
            log.warning("Events are dropped (%d): the API server accepts them too slowly", dropped)

    def _caught_up(self) -> None:
        with self._dropping:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            log.warning("all waiting Events are posted; %d were dropped before", dropped)

    def _post(self, event: _Event) -> None:
        path = f"/api/v1/namespaces/{event.namespace}/events"
        posted = self._posted.get(event.identity)
        if posted is not None and time.monotonic() < posted.until:
            patch = {"count": posted.count + 1, "lastTimestamp": _second(event.at)}
            try:
                self._cluster.request("PATCH", f"{path}/{posted.name}", body=patch, content_type=MERGE_PATCH)
            except Exception as error:  # noqa: BLE001 - most likely it has expired; a new Event says the same
                log.debug("the count of an Event could not be raised, so a new one is posted: %s", error)
            else:
                posted.count += 1
                return
        name = f"{event.name[:200]}.{time.time_ns():x}"
        self._cluster.request("POST", path, body=self._body(name, event))
        self._posted[event.identity] = _Posted(name, 1, time.monotonic() + AGGREGATE_FOR)
        self._posted.move_to_end(event.identity)
        if len(self._posted) > MAX_REMEMBERED:
            self._posted.popitem(last=False)

    def _body(self, name: str, event: _Event) -> dict[str, Any]:
        at = _second(event.at)
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": event.namespace, "name": name},
            "involvedObject": {
                "apiVersion": self._api_version,
                "kind": self._kind,
                "namespace": event.namespace,
                "name": event.name,
                "uid": event.uid,
                "resourceVersion": event.resource_version,
            },
            "type": event.kind,
            "reason": event.reason,
            "message": event.message,
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._instance,
            "count": 1,
            "firstTimestamp": at,
            "lastTimestamp": at,
        }


def _second(at: datetime) -> str:
    """A metav1.Time."""
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
