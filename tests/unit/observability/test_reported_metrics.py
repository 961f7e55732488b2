"""Metrics of a resource agree with its status, and no text from a status becomes a label."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import generate_latest

from rotated_secrets.api.names import API_VERSION, KIND
from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.status import Outcome, RotatedSecretStatus
from rotated_secrets.controller.reconcile.reporter import Reporter
from rotated_secrets.controller.services import Services
from rotated_secrets.delivery.target import TargetKind, TargetState
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


class Reported:
    """A reporter, and the values of the metrics after its calls."""

    def __init__(self, of: RotatedSecret) -> None:
        self.metrics = Metrics()
        nothing = SimpleNamespace(record=lambda **_: None, record_current=lambda *_: set())
        services = SimpleNamespace(
            metrics=self.metrics,
            resources=None,
            journal=None,
            events=nothing,
            index=nothing,
            look_again=lambda keys: None,
        )
        self.reporter = Reporter(cast(Services, services), of, "postgres")

    def value(self, series: str) -> float | None:
        lines = generate_latest(self.metrics.registry).decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{series} ")), None)

    def written(self, before: VersionId | None, made: datetime) -> None:
        kind = TargetKind.ABSENT if before is None else TargetKind.DIFFERS
        current = StoredVersion(NEW, SecretValue.parse("text"), made, Arn("arn:1"))
        self.reporter.written(TargetState(kind, before), current)


def test_metrics_show_the_last_known_status_while_the_store_does_not_answer() -> None:
    """Also for a new leader."""
    reported = Reported(
        resource(conditions=[condition("Ready", "CredentialWorks")], nextRotationTime="2026-12-01T00:00:00Z")
    )
    reported.reporter.interrupted("AWS throttles", {})
    assert reported.value('rotatedsecrets_ready{name="orders",namespace="shop"}') == 1
    assert reported.value('rotatedsecrets_next_rotation_timestamp_seconds{name="orders",namespace="shop"}')


@pytest.mark.parametrize(("written", "counted"), [("Unsynced", "Unsynced"), ("made up", "other")])
def test_unknown_reason_is_counted_as_other(written: str, counted: str) -> None:
    made_up = resource(conditions=[condition("Held", written), condition("Ready", "CredentialWorks")])
    reported = Reported(made_up)
    reported.reporter.concluded(made_up.status)
    assert reported.value(f'rotatedsecrets_rotation_held{{reason="{counted}"}}') == 1


@pytest.mark.parametrize(("reason", "has_due_time"), [("Suspended", False), ("ManagedElsewhere", True)])
def test_suspended_rotation_has_no_due_time(reason: str, has_due_time: bool) -> None:
    held = resource(conditions=[condition("Held", reason)], nextRotationTime="2026-01-01T00:00:00Z")
    reported = Reported(held)
    reported.reporter.concluded(held.status.model_copy(update={"conditions": ()}))
    series = 'rotatedsecrets_next_rotation_timestamp_seconds{name="orders",namespace="shop"}'
    assert reported.value(series)
    reported.reporter.concluded(held.status)
    assert (reported.value(series) is not None) == has_due_time


def test_rotations_are_counted_from_zero_before_the_first_ends() -> None:
    reported = Reported(resource())
    reported.reporter.concluded(reported.reporter.status.resource.status)
    labels = 'engine="postgres",outcome="{}",strategy="SingleUser",trigger="Schedule"'
    for outcome in Outcome:
        assert reported.value(f"rotatedsecrets_rotations_total{{{labels.format(outcome)}}}") == 0


def test_lag_counts_from_the_creation_of_a_version_that_someone_else_moved() -> None:
    reported = Reported(resource())
    reported.written(OLD, datetime.now(UTC) - timedelta(seconds=100))
    assert reported.value("rotatedsecrets_sync_lag_seconds_count") == 1
    assert 99 < (reported.value("rotatedsecrets_sync_lag_seconds_sum") or 0) < 130


def test_lag_counts_from_our_own_move_of_awscurrent() -> None:
    reported = Reported(resource())
    current = StoredVersion(NEW, SecretValue.parse("text"), LONG_AGO, Arn("arn:1"))
    reported.reporter.acted(FinishPending(NEW), cast(Observation, SimpleNamespace(current=current)))
    reported.written(OLD, LONG_AGO)
    assert reported.value("rotatedsecrets_sync_lag_seconds_count") == 1
    assert (reported.value("rotatedsecrets_sync_lag_seconds_sum") or 0) < 30


@pytest.mark.parametrize("before", [None, NEW])
def test_neither_the_first_delivery_nor_a_repair_has_a_lag(before: VersionId | None) -> None:
    reported = Reported(resource(observedGeneration=1))
    reported.written(before, LONG_AGO)
    assert reported.value("rotatedsecrets_sync_lag_seconds_count") == 0
    outcome = "written" if before is None else "repaired"
    assert reported.value(f'rotatedsecrets_sync_total{{outcome="{outcome}"}}') == 1


def test_rotation_that_outlives_its_resource_shows_nothing_under_its_name() -> None:
    """A later RotatedSecret may have that name."""
    reported = Reported(replace(resource(), deleting=True))
    reported.reporter.concluded(RotatedSecretStatus())
    assert reported.value('rotatedsecrets_ready{name="orders",namespace="shop"}') is None


@pytest.mark.parametrize(("status", "failing"), [("False", 1), ("True", 0)])
def test_rotation_that_fails_has_a_series_with_its_name(status: str, failing: int) -> None:
    rotated = {**condition("Rotated", "SetFailed"), "status": status}
    reported = Reported(resource(conditions=[condition("Ready", "CredentialWorks"), rotated]))
    reported.reporter.concluded(reported.reporter.status.resource.status)
    assert reported.value('rotatedsecrets_rotation_failing{name="orders",namespace="shop"}') == failing
