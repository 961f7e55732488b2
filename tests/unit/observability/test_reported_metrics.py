"""What the metrics say of a resource is what its status says, and no label is anybody's to make up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import generate_latest

from rotated_secrets.api.names import API_VERSION, KIND
from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.status import Outcome
from rotated_secrets.controller.reconcile.reporter import Reporter
from rotated_secrets.controller.services import Services
from rotated_secrets.delivery.target import LiveSecret, TargetKind, TargetState
from rotated_secrets.observability.metrics import Metrics
from rotated_secrets.rotation.actions import FinishPending
from rotated_secrets.rotation.observation import Observation
from rotated_secrets.secretstores.base import StoredVersion
from rotated_secrets.values import Arn, SecretValue, VersionId

OLD, NEW = VersionId("old"), VersionId("new")
LONG_AGO = datetime.now(UTC) - timedelta(days=30)


def resource(**status: Any) -> RotatedSecret:
    return RotatedSecret.parse(
        {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "namespace": "shop",
                "name": "orders",
                "uid": "u",
                "resourceVersion": "1",
                "generation": 1,
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": {"source": {"secretId": "shop/orders"}, "rotation": {"strategy": "SingleUser"}},
            "status": status,
        }
    )


def condition(kind: str, reason: str) -> dict[str, str]:
    return {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": "2026-01-01T00:00:00Z"}


class Told:
    """A reporter, and what the metrics say after it was told something."""

    def __init__(self, of: RotatedSecret) -> None:
        self.metrics = Metrics()
        nothing = SimpleNamespace(record=lambda **_: None, record_target_write=lambda *_: None)
        services = SimpleNamespace(metrics=self.metrics, resources=None, events=nothing, index=nothing)
        self.reporter = Reporter(cast(Services, services), of, "postgres")

    def value(self, series: str) -> float | None:
        lines = generate_latest(self.metrics.registry).decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{series} ")), None)

    def written(self, before: VersionId | None, made: datetime) -> None:
        kind = TargetKind.ABSENT if before is None else TargetKind.DIFFERS
        live = LiveSecret("shop", "orders", "Opaque", {}, {}, (), {}, uid="s", resource_version="2")
        current = StoredVersion(NEW, SecretValue.parse("text"), made, Arn("arn:1"))
        self.reporter.written(live, TargetState(kind, before), current)


def test_what_was_last_known_is_told_while_nothing_can_be_found_out() -> None:
    """A new leader, and a store that does not answer."""
    told = Told(resource(conditions=[condition("Ready", "CredentialWorks")], nextRotationTime="2026-12-01T00:00:00Z"))
    told.reporter.interrupted("AWS does not answer")
    assert told.value('rotatedsecrets_ready{name="orders",namespace="shop"}') == 1
    assert told.value('rotatedsecrets_next_rotation_timestamp_seconds{name="orders",namespace="shop"}')


@pytest.mark.parametrize(("written", "counted"), [("Unsynced", "Unsynced"), ("made up by somebody", "other")])
def test_a_reason_that_the_operator_does_not_know_is_no_label(written: str, counted: str) -> None:
    made_up = resource(conditions=[condition("Held", written), condition("Ready", "CredentialWorks")])
    told = Told(made_up)
    told.reporter.concluded(made_up.status)
    assert told.value(f'rotatedsecrets_rotation_held{{reason="{counted}"}}') == 1


@pytest.mark.parametrize(("reason", "told_of"), [("Suspended", False), ("ManagedElsewhere", True)])
def test_what_is_suspended_is_due_at_no_time(reason: str, told_of: bool) -> None:
    held = resource(conditions=[condition("Held", reason)], nextRotationTime="2026-01-01T00:00:00Z")
    told = Told(held)
    told.reporter.concluded(held.status.model_copy(update={"conditions": ()}))
    series = 'rotatedsecrets_next_rotation_timestamp_seconds{name="orders",namespace="shop"}'
    assert told.value(series)
    told.reporter.concluded(held.status)
    assert (told.value(series) is not None) == told_of


def test_rotations_are_counted_from_zero_before_the_first_ends() -> None:
    told = Told(resource())
    told.reporter.concluded(told.reporter.status.resource.status)
    labels = 'engine="postgres",outcome="{}",strategy="SingleUser",trigger="Schedule"'
    for outcome in Outcome:
        assert told.value(f"rotatedsecrets_rotations_total{{{labels.format(outcome)}}}") == 0


def test_lag_counts_from_when_somebody_else_made_the_version() -> None:
    told = Told(resource())
    told.written(OLD, datetime.now(UTC) - timedelta(seconds=100))
    assert told.value("rotatedsecrets_sync_lag_seconds_count") == 1
    assert 99 < (told.value("rotatedsecrets_sync_lag_seconds_sum") or 0) < 130


def test_lag_counts_from_our_own_moving_of_awscurrent_however_long_the_version_waited_for_it() -> None:
    told = Told(resource())
    told.reporter.acted(FinishPending(NEW), cast(Observation, None))
    told.written(OLD, LONG_AGO)
    assert told.value("rotatedsecrets_sync_lag_seconds_count") == 1
    assert (told.value("rotatedsecrets_sync_lag_seconds_sum") or 0) < 30


@pytest.mark.parametrize("before", [None, NEW])
def test_neither_the_first_delivery_nor_a_repair_has_a_lag(before: VersionId | None) -> None:
    told = Told(resource(observedGeneration=1))
    told.written(before, LONG_AGO)
    assert told.value("rotatedsecrets_sync_lag_seconds_count") == 0
    outcome = "written" if before is None else "repaired"
    assert told.value(f'rotatedsecrets_sync_total{{outcome="{outcome}"}}') == 1
