"""Times and durations are read and written as people and the API do."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotated_secrets.cli import time_format
from tests.support.cli.resource_builders import NOW


@pytest.mark.parametrize(
    ("span", "output"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=-3), "0s"),
        (timedelta(seconds=59.9), "59s"),
        (timedelta(minutes=5, seconds=20), "5m20s"),
        (timedelta(minutes=5), "5m"),
        (timedelta(minutes=10, seconds=20), "10m"),
        (timedelta(hours=3, minutes=5), "3h5m"),
        (timedelta(hours=12, minutes=59), "12h"),
        (timedelta(days=6, hours=4, minutes=3), "6d4h"),
        (timedelta(days=6, minutes=59), "6d"),
        (timedelta(days=400, hours=5), "400d"),
    ],
)
def test_a_duration_has_at_most_two_units(span: timedelta, output: str) -> None:
    assert time_format.duration(span) == output


def test_future_and_past_due_times_read_differently() -> None:
    assert time_format.until(NOW + timedelta(hours=4), NOW) == "in 4h"
    assert time_format.until(NOW - timedelta(hours=4), NOW) == "due 4h ago"
    assert time_format.ago(NOW - timedelta(hours=4), NOW) == "4h ago"
    assert (time_format.until(None, NOW), time_format.ago(None, NOW)) == ("–", "–")


@pytest.mark.parametrize(("text", "meant"), [("90", 90), ("0.5", 0.5), ("90s", 90), ("1h30m", 5400), ("1d", 86400)])
def test_a_duration_may_be_written_in_units(text: str, meant: float) -> None:
    assert time_format.parse_duration(text) == meant


@pytest.mark.parametrize("text", ["", "fast", "5 m", "-5m", "5w"])
def test_text_that_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write for example 90s"):
        time_format.parse_duration(text)


def test_a_timestamp_survives_being_written_and_read() -> None:
    assert time_format.timestamp(NOW) == "2026-11-22T12:00:00Z"
    assert time_format.parse_timestamp(time_format.timestamp(NOW)) == NOW
    assert time_format.parse_timestamp("soon") is None
    assert time_format.day_and_time(NOW) == "Sun 2026-11-22 12:00 UTC"
