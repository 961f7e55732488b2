"""The operator's clock is a year ahead for one rotation: it rotates again when it is due, and that is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotated_secrets.controller.look import gather, interpret
from rotated_secrets.controller.reconcile import reconciler, reporter
from tests.support.fake_operator import SPEC, FakeOperator, changed, with_admin

Set = Callable[[timedelta], None]
SCHEDULE = {"schedule": "rate(10 days)"}
DAYS = timedelta(days=1)


NOW = datetime(2026, 1, 1, 1, tzinfo=UTC)


@pytest.fixture
def set_clock(operator: FakeOperator, monkeypatch: pytest.MonkeyPatch) -> Set:
    """Sets the clock of the operator, by so much off, and not AWS's."""

    def set_it(off: timedelta) -> None:
        for module in (gather, interpret, reconciler, reporter):
            monkeypatch.setattr(module, "utc_now", lambda: NOW + off)
        monkeypatch.setattr(operator.services.observed, "_offset", off.total_seconds)

    set_it(timedelta())
    return set_it


def rotations(operator: FakeOperator) -> int:
    return operator.aws.operations(of="shop/orders").count("PutSecretValue")


def as_aws_dates_it(operator: FakeOperator, moment: datetime) -> None:
    secret = operator.aws.find("shop/orders")
    secret.versions = {name: replace(each, created_at=moment) for name, each in secret.versions.items()}


def test_schedule_goes_on_after_the_clock_was_ahead(operator: FakeOperator, set_clock: Set) -> None:
    with_admin(operator).apply(changed(SPEC, rotation=SCHEDULE))
    operator.settle()
    set_clock(365 * DAYS)
    operator.ask("while the clock is wrong")
    operator.reconcile()
    assert operator.status()["lastRotationTime"].startswith("2027")
    as_aws_dates_it(operator, NOW)
    before = rotations(operator)

    set_clock(timedelta())
    assert operator.looks_afresh(), "nothing but the resync asks for this look"
    assert operator.status()["lastRotationTime"].startswith("2026-01-01")
    assert operator.status()["nextRotationTime"].startswith("2026-01-11")
    (told,) = (message for reason, message in operator.events.recorded if reason == "TimesIgnored")
    assert "lastRotationTime 2027-01-01T01:00:00Z" in told and "check the time of the nodes" in told
    target = operator.target()
    assert target is not None
    assert target["metadata"]["annotations"]["rotatedsecrets.io/rotated-at"].startswith("2026-01-01")
    assert rotations(operator) == before
    assert not operator.looks_afresh()
    assert operator.events.reasons.count("TimesIgnored") == 1

    set_clock(11 * DAYS)
    operator.reconcile()
    assert rotations(operator) == before + 1
