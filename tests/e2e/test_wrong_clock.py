"""Times in the status that a wrong clock has written, a year ahead: the next look replaces and tells them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sandbox.kubernetes.client import Json
from sandbox.operatorprocess import OperatorProcess
from sandbox.waiting import eventually
from tests.support.applied import Applied

YEAR = timedelta(days=365)
INTERVAL = timedelta(hours=4)


def ahead(found: Json) -> Json:
    """All times of a status, a year later."""
    return {key: _ahead(value) for key, value in found.items()}


def _ahead(value: object) -> object:
    if isinstance(value, dict):
        return ahead(value)
    if isinstance(value, list):
        return [_ahead(each) for each in value]
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return value
    return (moment + YEAR).isoformat().replace("+00:00", "Z") if moment.tzinfo else value


def test_schedule_does_not_wait_for_a_time_that_a_wrong_clock_wrote(orders: Applied, operator: OperatorProcess) -> None:
    orders.apply(schedule="rate(4 hours)").until_ready()
    orders.rotate("by a clock that is right")
    operator.kill()
    orders.api.patch(f"{orders.path}/{orders.application.name}/status", {"status": ahead(orders.status)})
    assert datetime.fromisoformat(orders.status["lastRotationTime"]) > datetime.now(UTC) + YEAR / 2
    operator.start()

    def corrected() -> bool:
        return datetime.fromisoformat(orders.status["nextRotationTime"]) < datetime.now(UTC) + 2 * INTERVAL

    eventually(corrected, "the next rotation is due as if the clock had been right", seconds=30)
    eventually(lambda: "TimesIgnored" in orders.reasons(), "it is told")
    orders.rotate("again")
    assert [entry["outcome"] for entry in orders.status["history"]] == ["Succeeded"] * 2
