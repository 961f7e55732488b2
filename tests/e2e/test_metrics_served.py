"""What Prometheus collects from running operators, and that it ends with what it is about."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sandbox.operatorprocess import OperatorProcess
from sandbox.waiting import eventually
from tests.e2e.conftest import MakeApplication, StartOperator
from tests.support.applied import EVERY, Applied

PREFIX = "rotatedsecrets_"
Labels = frozenset[tuple[str, str]]


class Metrics:
    """What one operator serves, asked for when it is made."""

    def __init__(self, operator: OperatorProcess) -> None:
        families = text_string_to_metric_families(operator.get("/metrics"))
        self.samples: Mapping[tuple[str, Labels], float] = {
            (sample.name.removeprefix(PREFIX), frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
            if sample.name.startswith(PREFIX)
        }

    def __call__(self, metric: str, /, **labels: str) -> float | None:
        """The one series with exactly these labels."""
        return self.samples.get((metric, frozenset(labels.items())))

    def of(self, applied: Applied, name: str) -> float | None:
        return self(name, namespace=applied.application.namespace, name=applied.application.name)

    def labels(self) -> set[str]:
        return {value for _, labels in self.samples for _, value in labels}


def test_a_rotation_is_counted_and_timed(orders: Applied, operator: OperatorProcess) -> None:
    orders.apply(schedule="rate(1 day)").until_ready()
    before = Metrics(operator)
    began = time.time()
    orders.rotate("now")
    orders.until("Rotated", "True")
    eventually(lambda: Metrics(operator).of(orders, "last_success_timestamp_seconds"), "it is told", every=EVERY)
    after = Metrics(operator)

    def more(name: str, **labels: str) -> float:
        return (after(name, **labels) or 0) - (before(name, **labels) or 0)

    how = {"strategy": "AlternatingUsers", "trigger": "Annotation", "outcome": "Succeeded"}
    assert more("rotations_total", engine="postgres", **how) == 1
    for step in ("createSecret", "setSecret", "testSecret", "finishSecret"):
        assert more("rotation_step_seconds_count", engine="postgres", step=step) == 1
    assert more("sync_total", outcome="written") == 1
    assert more("sync_lag_seconds_count") == 1
    assert more("sync_lag_seconds_sum") < 5
    assert more("aws_requests_total", operation="PutSecretValue", outcome="ok") == 1
    assert more("aws_requests_total", operation="UpdateSecretVersionStage", outcome="ok") == 2
    assert more("database_connections_total", engine="postgres", purpose="admin", outcome="ok") == 1
    assert more("database_connections_total", engine="postgres", purpose="verify", outcome="ok") == 2
    assert after.of(orders, "ready") == 1
    assert began - 2 < (after.of(orders, "last_success_timestamp_seconds") or 0) < time.time() + 1
    due = after.of(orders, "next_rotation_timestamp_seconds") or 0
    assert 23 * 3600 < due - time.time() < 25 * 3600
    assert after("leader") == 1
    assert after("queue_depth") is not None


def test_what_is_said_of_a_resource_ends_with_it(orders: Applied, operator: OperatorProcess) -> None:
    others = Metrics(operator)("rotation_held", reason="Suspended") or 0
    orders.apply(request="due", suspend=True, schedule="rate(1 day)").until("Held", "True", "Suspended")
    eventually(lambda: Metrics(operator)("rotation_held", reason="Suspended") == others + 1, "it is held", every=EVERY)
    assert Metrics(operator).of(orders, "ready") == 1
    orders.delete()

    def is_gone() -> bool:
        told = Metrics(operator)
        return told("rotation_held", reason="Suspended") == others and orders.application.name not in told.labels()

    eventually(is_gone, "its series are gone", every=EVERY)


def test_what_a_secret_value_makes_up_is_no_label(orders: Applied, operator: OperatorProcess) -> None:
    orders.application.put_value(engine="made-up-by-a-tenant")
    orders.apply().until("Ready", "False", "InvalidSecretValue")
    eventually(lambda: Metrics(operator).of(orders, "ready") == 0, "it is not ready", every=EVERY)
    assert "made-up-by-a-tenant" not in Metrics(operator).labels()


def test_a_stand_by_tells_of_no_resource_and_a_new_leader_of_those_that_are_there(
    operator: OperatorProcess, make_operator: StartOperator, make_application: MakeApplication
) -> None:
    staying, going = make_application(), make_application()
    for each in (staying, going):
        each.apply().until_ready()
    with make_operator("stand-by") as standby:
        eventually(lambda: Metrics(standby)("leader") == 0, "it stands by")
        assert all("namespace" not in dict(labels) for _, labels in Metrics(standby).samples)
        assert operator.terminate() == 0
        going.delete()
        standby.wait_until_it_leads()
        eventually(lambda: Metrics(standby).of(staying, "ready") == 1, "it tells what it has seen")
        told = Metrics(standby)
        assert told("leader") == 1
        assert going.application.name not in told.labels()
        assert standby.terminate() == 0


@pytest.fixture(autouse=True)
def _served_at_all(operator: OperatorProcess) -> None:
    assert "python_info" in operator.get("/metrics")
