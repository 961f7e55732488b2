"""Events are posted in the background: a slow or broken API server affects nothing else."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from rotated_secrets.observability import logs
from rotated_secrets.observability.event_reasons import EventReason
from rotated_secrets.observability.events import (
    MESSAGE_LENGTH,
    OBJECT_BURST,
    OBJECT_INTERVAL,
    Dropped,
    Events,
)


class Recorder:
    """Stands for an API server that must stall or refuse at a certain moment."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Any]] = []
        self.errors: list[Exception] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def request(self, method: str, path: str, *, body: Any = None, content_type: str = "application/json") -> Any:
        assert self.go_on.wait(10)
        if self.errors:
            raise self.errors.pop(0)
        self.requests.append((method, path, body))


def make(recorder: Recorder, backlog: int = 100) -> Events:
    return Events(
        recorder, api_version="rotatedsecrets.io/v1alpha1", kind="RotatedSecret", instance="me", backlog=backlog
    )


def record(
    events: Events,
    message: str = "it began",
    reason: EventReason = EventReason.ROTATION_STARTED,
    *,
    namespace: str = "shop",
    name: str = "orders",
) -> None:
    events.record(namespace=namespace, name=name, uid="1", resource_version="5", reason=reason, message=message)


def test_event_names_the_resource_and_has_the_type_of_its_reason() -> None:
    events = make(recorder := Recorder())
    record(events)
    record(events, "it failed", EventReason.ROTATION_FAILED)
    events.flush(10)
    (method, path, first), (_, _, second) = recorder.requests
    assert (method, path) == ("POST", "/api/v1/namespaces/shop/events")
    assert (first["type"], first["reason"], first["message"]) == ("Normal", "RotationStarted", "it began")
    assert first["involvedObject"]["uid"] == "1"
    assert (second["type"], second["reason"]) == ("Warning", "RotationFailed")


def test_repeats_raise_the_count_and_an_expired_event_is_posted_again() -> None:
    events = make(recorder := Recorder())
    for _ in range(3):
        record(events)
    events_so_far = wait_for(recorder, 3)
    recorder.errors = [LookupError("404")]
    record(events)
    record(events)
    events.flush(10)
    assert [(method, body["count"]) for method, _, body in events_so_far] == [("POST", 1), ("PATCH", 2), ("PATCH", 3)]
    assert [(method, body["count"]) for method, _, body in recorder.requests[3:]] == [("POST", 1), ("PATCH", 2)]


def wait_for(recorder: Recorder, count: int) -> list[tuple[str, str, Any]]:
    deadline = time.monotonic() + 10
    while len(recorder.requests) < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return list(recorder.requests)


def test_long_message_is_cut_and_a_credential_in_it_hidden() -> None:
    events = make(recorder := Recorder())
    record(events, "x" * 5000)
    record(events, "ALTER ROLE o PASSWORD 'hunter2'")
    events.flush(10)
    assert len(recorder.requests[0][2]["message"]) == MESSAGE_LENGTH
    assert "hunter2" not in recorder.requests[1][2]["message"]


def test_stalled_api_server_blocks_no_call_and_the_backlog_is_posted_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorder = Recorder()
    recorder.go_on.clear()
    events = make(recorder, backlog=5)
    before = time.monotonic()
    for n in range(50):
        record(events, f"number {n}", name=f"orders-{n}")
    assert time.monotonic() - before < 1
    recorder.go_on.set()
    events.flush(10)
    posted = len(recorder.requests)
    assert 5 <= posted <= 6
    assert [each.getMessage() for each in caplog.records] == [
        "Events are dropped (1): the API server accepts them too slowly",
        f"all waiting Events are posted; {50 - posted} were dropped before",
    ]


def test_every_thousand_dropped_events_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    recorder.go_on.clear()
    events = make(recorder, backlog=1)
    for n in range(2100):
        record(events, f"number {n}", name=f"orders-{n}")
    logged = [each.args for each in caplog.records]
    recorder.go_on.set()
    events.flush(10)
    assert logged == [(1,), (1000,), (2000,)]


def test_a_credential_is_hidden_before_the_message_is_cut_through_it() -> None:
    events = make(recorder := Recorder())
    record(events, "x" * (MESSAGE_LENGTH - 30) + " postgresql://orders:hunter2-and-more@db")
    events.flush(10)
    assert "hunt" not in recorder.requests[0][2]["message"]


def test_a_refused_event_is_logged_and_the_next_one_posted(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    recorder.errors = [PermissionError("forbidden")]
    events = make(recorder)
    record(events, "one")
    record(events, "two")
    events.flush(10)
    assert [body["message"] for _, _, body in recorder.requests] == ["two"]
    assert "could not be posted" in caplog.text


def limited(recorder: Recorder, clock: Callable[[], float], backlog: int = 100) -> tuple[Events, list[Dropped]]:
    dropped: list[Dropped] = []
    events = Events(
        recorder,
        api_version="rotatedsecrets.io/v1alpha1",
        kind="RotatedSecret",
        instance="me",
        backlog=backlog,
        dropped=dropped.append,
        clock=clock,
    )
    return events, dropped


def test_one_resource_gets_a_burst_of_events_and_then_one_in_five_minutes() -> None:
    now = 0.0
    events, dropped = limited(recorder := Recorder(), lambda: now)
    for n in range(OBJECT_BURST + 10):
        record(events, f"number {n}")
    record(events, "of another one", name="invoices")
    now = OBJECT_INTERVAL - 1
    record(events, "too early")
    now = OBJECT_INTERVAL
    record(events, "five minutes later")
    record(events, "once more")
    events.flush(10)
    posted = [body["message"] for _, _, body in recorder.requests]
    assert posted == [*(f"number {n}" for n in range(OBJECT_BURST)), "of another one", "five minutes later"]
    assert dropped == [Dropped.OBJECT] * 12


def test_repeats_of_an_event_count_for_the_limit_of_its_resource() -> None:
    events, dropped = limited(recorder := Recorder(), lambda: 0.0)
    for _ in range(OBJECT_BURST + 5):
        record(events)
    events.flush(10)
    assert (len(recorder.requests), len(dropped)) == (OBJECT_BURST, 5)


def test_a_namespace_that_floods_the_queue_delays_no_other_and_takes_no_place_of_it() -> None:
    recorder = Recorder()
    recorder.go_on.clear()
    events, dropped = limited(recorder, lambda: 0.0, backlog=10)
    for n in range(100):
        record(events, f"noise {n}", namespace="noisy", name=f"noise-{n}")
    record(events, "the rotation has failed")
    recorder.go_on.set()
    events.flush(10)
    posted = [body["message"] for _, _, body in recorder.requests]
    # One was in the thread's hands already, or none.
    assert "the rotation has failed" in posted[:2]
    assert set(dropped) == {Dropped.BACKLOG}
    assert len(posted) + len(dropped) == 101


def test_a_refusal_is_logged_as_one_of_its_namespace() -> None:
    """Else an attacker whose namespace refuses Events had lines beside the share of its namespace."""
    recorder = Recorder()
    recorder.errors = [PermissionError("forbidden")]
    stream, root = io.StringIO(), logging.getLogger()
    handler = logs.SharedHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    root.addHandler(handler)
    try:
        events = make(recorder)
        record(events)
        events.flush(10)
    finally:
        root.removeHandler(handler)
    line = json.loads(stream.getvalue().splitlines()[0])
    assert (line["namespace"], line["name"]) == ("shop", "orders")
