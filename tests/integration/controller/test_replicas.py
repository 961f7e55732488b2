"""Several operators at once: one works, and another goes on when it ends, however it ends."""

from __future__ import annotations

import signal
import time

from tests.integration.controller.conftest import Objects, Process, Start

SHORT = {"lease_duration": 3, "renew_deadline": 2, "retry_period": 0.5}
LONG = {"lease_duration": 60, "renew_deadline": 40, "retry_period": 0.5}


def leader_and_stand_by(start: Start, objects: Objects, **settings: object) -> tuple[Process, Process]:
    leader = start(identity="first", **settings)
    leader.wait_for("first leads")
    stand_by = start(identity="second", **settings)
    stand_by.wait_for("second tries to acquire the Lease")
    objects.make("orders")
    leader.wait_for(f"looked {objects.namespace}/orders there")
    return leader, stand_by


def test_a_stand_by_watches_but_does_not_work(start: Start, objects: Objects) -> None:
    _, stand_by = leader_and_stand_by(start, objects, **LONG)
    assert "looked" not in stand_by.text
    assert stand_by.get("/readyz")[0] == 200
    assert "leads: no" in stand_by.get("/healthz")[1]
    assert "rotatedsecrets_leader 0.0" in stand_by.get("/metrics")[1]


def test_a_stand_by_takes_over_within_the_lease_when_the_leader_is_killed(start: Start, objects: Objects) -> None:
    leader, stand_by = leader_and_stand_by(start, objects, **SHORT)
    killed = time.monotonic()
    leader.signal(signal.SIGKILL)
    took_over, _ = stand_by.wait_for("second leads")
    assert took_over - killed < SHORT["lease_duration"] + 2 * SHORT["retry_period"] + 3
    stand_by.wait_for(f"looked {objects.namespace}/orders there")


def test_a_stand_by_takes_over_at_once_when_the_leader_is_told_to_stop(start: Start, objects: Objects) -> None:
    leader, stand_by = leader_and_stand_by(start, objects, **LONG)
    told = time.monotonic()
    leader.signal(signal.SIGTERM)
    assert leader.wait() == 0
    took_over, _ = stand_by.wait_for("second leads")
    assert took_over - told < 5
    stand_by.wait_for(f"looked {objects.namespace}/orders there")


def test_a_frozen_leader_finds_on_waking_that_it_must_not_act(start: Start, objects: Objects) -> None:
    leader, stand_by = leader_and_stand_by(start, objects, **SHORT)
    leader.signal(signal.SIGSTOP)
    stand_by.wait_for("second leads")
    woken = time.monotonic()
    leader.signal(signal.SIGCONT)
    objects.make("later")
    stand_by.wait_for(f"looked {objects.namespace}/later there")
    assert leader.wait() == 1
    assert not leader.find("looked", after=woken)


def test_a_leader_whose_lease_is_taken_exits_without_finishing(start: Start, objects: Objects) -> None:
    leader = start({"RECONCILE_TAKES": "30"}, identity="first", **LONG)
    objects.make("orders")
    leader.wait_for(f"looked {objects.namespace}/orders there")
    objects.give_lease_to("somebody else")
    assert leader.wait() == 1
    assert "finished" not in leader.text
    assert objects.lease_holder() == "somebody else"


def test_sigterm_lets_what_is_under_way_finish(start: Start, objects: Objects) -> None:
    operator = start({"RECONCILE_TAKES": "2"})
    objects.make("orders")
    operator.wait_for(f"looked {objects.namespace}/orders there")
    told = time.monotonic()
    operator.signal(signal.SIGTERM)
    operator.wait_for("SIGTERM")
    objects.make("too-late")
    assert operator.wait() == 0
    assert operator.find(f"finished {objects.namespace}/orders", after=told)
    assert "too-late" not in operator.text
    assert operator.find("released the Lease rotated-secrets")


def test_sigterm_waits_no_longer_than_the_drain_timeout(start: Start, objects: Objects) -> None:
    operator = start({"RECONCILE_TAKES": "60"}, drain_timeout=1)
    objects.make("orders")
    operator.wait_for(f"looked {objects.namespace}/orders there")
    told = time.monotonic()
    operator.signal(signal.SIGTERM)
    assert operator.wait() == 0
    assert time.monotonic() - told < 8
    assert "finished" not in operator.text
    assert operator.find("released the Lease rotated-secrets")
