"""The metrics' names and labels, which dashboards depend on, and series that end with their resource."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

from prometheus_client import generate_latest

from rotated_secrets.api.status import Outcome, Trigger
from rotated_secrets.observability.metrics import Metrics

WHEN = datetime(2026, 11, 22, tzinfo=UTC)


def text(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


def test_every_metric_has_the_name_and_labels_that_are_documented() -> None:
    metrics = Metrics()
    metrics.rotation_finished(engine="postgres", strategy="SingleUser", trigger="Schedule", outcome="Succeeded")
    metrics.step_took(engine="postgres", step="SetSecret", seconds=0.2)
    metrics.held("shop", "orders", "Unsynced")
    metrics.sync_finished(outcome="written", lag_seconds=1.5)
    metrics.restart_requested(kind="Deployment", outcome="restarted")
    metrics.resource("shop", "orders", ready=True, last_success=WHEN, next_rotation=WHEN)
    metrics.rotation_failing("shop", "orders", failing=True)
    metrics.aws_request(operation="DescribeSecret", outcome="ok")
    metrics.database_connection(engine="postgres", purpose="admin", outcome="ok")
    metrics.follow_queue(lambda: 7)
    metrics.follow_leader(lambda: True)
    lines = text(metrics).splitlines()
    object_labels = '{name="orders",namespace="shop"}'
    for line in (
        "rotatedsecrets_rotations_total"
        '{engine="postgres",outcome="Succeeded",strategy="SingleUser",trigger="Schedule"} 1.0',
        'rotatedsecrets_rotation_step_seconds_count{engine="postgres",step="SetSecret"} 1.0',
        'rotatedsecrets_rotation_held{reason="Unsynced"} 1.0',
        'rotatedsecrets_sync_total{outcome="written"} 1.0',
        "rotatedsecrets_sync_lag_seconds_sum 1.5",
        'rotatedsecrets_rollout_restarts_total{kind="Deployment",outcome="restarted"} 1.0',
        f"rotatedsecrets_last_success_timestamp_seconds{object_labels} {WHEN.timestamp():.9g}",
        f"rotatedsecrets_next_rotation_timestamp_seconds{object_labels} {WHEN.timestamp():.9g}",
        f"rotatedsecrets_ready{object_labels} 1.0",
        f"rotatedsecrets_rotation_failing{object_labels} 1.0",
        'rotatedsecrets_aws_requests_total{operation="DescribeSecret",outcome="ok"} 1.0',
        'rotatedsecrets_database_connections_total{engine="postgres",outcome="ok",purpose="admin"} 1.0',
        "rotatedsecrets_queue_depth 7.0",
        "rotatedsecrets_leader 1.0",
    ):
        name, _, value = line.rpartition(" ")
        found = [each for each in lines if each.startswith(f"{name} ")]
        assert found, name
        assert float(found[0].rpartition(" ")[2]) == float(value) or "timestamp" in name


def test_first_failed_rotation_is_an_increase() -> None:
    metrics = Metrics()
    metrics.rotation_finished(engine="mysql", strategy="SingleUser", trigger="Schedule", outcome="Succeeded")
    labels = 'engine="mysql",outcome="{}",strategy="SingleUser",trigger="{}"'
    for trigger, outcome in product(Trigger, Outcome):
        counted = 1 if (trigger, outcome) == (Trigger.SCHEDULE, Outcome.SUCCEEDED) else 0
        assert f"rotatedsecrets_rotations_total{{{labels.format(outcome, trigger)}}} {counted}.0" in text(metrics)
    metrics.rotations_expected(engine="mysql", strategy="SingleUser")
    assert f"{{{labels.format('Succeeded', 'Schedule')}}} 1.0" in text(metrics)


def test_series_of_a_resource_end_with_it() -> None:
    metrics = Metrics()
    metrics.resource("shop", "orders", ready=True, last_success=WHEN, next_rotation=WHEN)
    metrics.held("shop", "orders", "Unsynced")
    metrics.rotation_failing("shop", "orders", failing=True)
    metrics.resource("shop", "other", ready=False, last_success=None, next_rotation=None)
    metrics.forget("shop", "orders")
    metrics.forget("shop", "never known")
    assert "orders" not in text(metrics)
    assert 'rotatedsecrets_rotation_held{reason="Unsynced"} 0.0' in text(metrics)
    assert 'rotatedsecrets_ready{name="other",namespace="shop"} 0.0' in text(metrics)


def test_time_that_is_no_longer_set_has_no_series() -> None:
    metrics = Metrics()
    metrics.resource("shop", "orders", ready=True, last_success=WHEN, next_rotation=WHEN)
    metrics.resource("shop", "orders", ready=True, last_success=WHEN, next_rotation=None)
    assert "next_rotation_timestamp_seconds{" not in text(metrics)
    assert "last_success_timestamp_seconds{" in text(metrics)


def test_each_resource_is_counted_once_for_its_last_reason() -> None:
    metrics = Metrics()
    for reason in ("Unsynced", "Unsynced", "ManagedElsewhere"):
        metrics.held("shop", "orders", reason)
    metrics.held("shop", "other", "ManagedElsewhere")
    assert 'rotation_held{reason="Unsynced"} 0.0' in text(metrics)
    assert 'rotation_held{reason="ManagedElsewhere"} 2.0' in text(metrics)
    metrics.held("shop", "orders", None)
    assert 'rotation_held{reason="ManagedElsewhere"} 1.0' in text(metrics)
