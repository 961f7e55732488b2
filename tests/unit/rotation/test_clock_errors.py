"""Times that a wrong clock has written: none of them stops a rotation, and each is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.status import (
    AppliedSchedule,
    Claim,
    Condition,
    HandledRequests,
    HistoryEntry,
    Outcome,
    Retiring,
    RotatedSecretStatus,
    Step,
    Trigger,
)
from rotated_secrets.rotation.actions import Sleep
from rotated_secrets.rotation.clock_errors import TOLERANCE, without_future_times
from rotated_secrets.rotation.observation import Observation
from rotated_secrets.values import VersionId
from tests.support.world import CREATED, FIRST, ModelOperator, World, current, rotate, settled, world_of

YEAR = timedelta(days=365)
NOW = CREATED + timedelta(days=30)
FUTURE = NOW + YEAR
NONSENSE = [FUTURE, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)]


def world(**rotation: object) -> World:
    made = settled(world_of(Strategy.ALTERNATING_USERS, schedule="rate(10 days)", **rotation))
    made.now = CREATED + timedelta(hours=1)
    return made


def rotate_with_a_wrong_clock(made: World, off: timedelta) -> None:
    """For the time of one rotation alone, at the operator and not at AWS."""
    right, before = made.now, set(made.store.versions)
    made.now += off
    rotate(made, "with a wrong clock")
    made.now = right
    for version, stored in list(made.store.versions.items()):
        if version not in before:
            made.store.versions[version] = type(stored)(version, stored.value, right, stored.arn)


@pytest.mark.parametrize("off", [YEAR, timedelta(days=3000), timedelta(hours=1)])
def test_clock_that_was_ahead_for_a_rotation_stops_no_later_one(off: timedelta) -> None:
    made = world()
    rotate_with_a_wrong_clock(made, off)
    before = made.rotations
    waiting = ModelOperator(made).run_until_it_waits()
    assert isinstance(waiting, Sleep)
    assert made.status.next_rotation_time == made.now + timedelta(days=10)
    made.now += timedelta(days=10, seconds=1)
    ModelOperator(made).run_until_it_waits()
    assert made.rotations == before + 1
    assert made.status.last_rotation_time == made.now.replace(microsecond=0)


def test_clock_that_was_behind_for_a_rotation_starts_no_other_one() -> None:
    made = world()
    rotate_with_a_wrong_clock(made, -YEAR)
    before = made.rotations
    made.now += timedelta(days=1)
    ModelOperator(made).run_until_it_waits()
    assert made.rotations == before


def test_what_was_in_the_future_is_told_once() -> None:
    made = world()
    rotate_with_a_wrong_clock(made, YEAR)
    operator = ModelOperator(made)
    operator.run_until_it_waits()
    (first,) = (seen.ignored_times for seen in operator.reports.conclusions)
    assert "lastRotationTime 2027-01-01T01:00:00Z" in first
    operator.run_until_it_waits()
    assert operator.reports.conclusions[-1].ignored_times == ()


def test_failed_attempt_of_a_wrong_clock_is_tried_again_soon() -> None:
    made = world()
    made.database.refuses_to_set = True
    rotate_with_a_wrong_clock(made, YEAR)
    made.database.refuses_to_set = False
    assert made.status.rotation is not None and made.status.rotation.attempt == 2
    waiting = ModelOperator(made).run_until_it_waits()
    assert isinstance(waiting, Sleep) and waiting.until is not None
    assert waiting.until <= made.now + timedelta(minutes=1)
    made.now = waiting.until
    ModelOperator(made).run_until_it_waits()
    assert made.rotations == 1


def test_limit_of_requests_counts_no_time_of_a_wrong_clock() -> None:
    made = world()
    entry = HistoryEntry(
        trigger=Trigger.ANNOTATION, started_at=FUTURE, finished_at=FUTURE, outcome=Outcome.SUCCEEDED, step=Step.FINISH
    )
    made.status = made.status.model_copy(update={"history": (entry,) * 10})
    rotate(made, "now")
    assert made.rotations == 1


@pytest.mark.parametrize("off", [YEAR, -YEAR])
def test_old_password_is_retired_as_long_after_its_replacement_as_was_asked_for(off: timedelta) -> None:
    made = settled(world_of(Strategy.DUAL_PASSWORD, retire_after="1d"))
    made.now = CREATED + timedelta(hours=1)
    rotate_with_a_wrong_clock(made, off)
    for _ in range(3):
        ModelOperator(made).run_until_it_waits()
    assert made.database.kept, "the old password is retired too early"
    made.now += timedelta(hours=23)
    ModelOperator(made).run_until_it_waits()
    assert made.database.kept, "the old password is retired too early"
    made.now += timedelta(hours=2)
    ModelOperator(made).run_until_it_waits()
    assert not made.database.kept


def poisoned(made: World, moment: datetime) -> RotatedSecretStatus:
    entry = HistoryEntry(
        trigger=Trigger.ANNOTATION, started_at=moment, finished_at=moment, outcome=Outcome.SUCCEEDED, step=Step.FINISH
    )
    claim = Claim(
        trigger=Trigger.SCHEDULE, slot=moment, from_version_id=FIRST, started_at=moment, asked_at=moment, attempt=2
    )
    return made.status.model_copy(
        update={
            "last_login_time": moment.replace(microsecond=0),
            "last_rotation_time": moment.replace(microsecond=0),
            "handled_requests": HandledRequests(slot=moment),
            "schedule": AppliedSchedule(expression="rate(10 days)", since=moment),
            "history": (entry,),
            "rotation": claim,
            "conditions": (Condition(type="Ready", status="True", reason="Fine", last_transition_time=moment),),
            "retiring": Retiring(version_id=VersionId("old"), user="app", since=moment, after=moment),
        }
    )


def times_in(found: object) -> list[datetime]:
    if isinstance(found, datetime):
        return [found]
    if isinstance(found, dict):
        found = list(found.values())
    return [moment for each in found for moment in times_in(each)] if isinstance(found, list | tuple) else []


@pytest.mark.parametrize("moment", NONSENSE)
def test_every_time_in_the_status_is_looked_at(moment: datetime) -> None:
    made = world()
    status = poisoned(made, moment)
    seen = Observation.first(made.terms, made.store.stages, current(made), status)
    after = without_future_times(seen, NOW)
    fields = len(times_in(status.model_dump()))
    assert fields == 13, "a new field with a time is not in this test"
    assert max(times_in(after.status.model_dump())) <= NOW
    assert len(after.ignored_times) == fields - 2, "nextRotationTime is computed, and the two of retiring move together"
    assert without_future_times(after, NOW) is after


@pytest.mark.parametrize(("since", "after"), [(1, 9999), (9999, 1)])
def test_end_of_an_old_password_that_is_no_time_at_all_fails_no_look(since: int, after: int) -> None:
    """Who may write the status may write any; what is moved must stay within the calendar."""
    made = world()
    first, second = (datetime(year, 1, 1, tzinfo=UTC) for year in (since, after))
    old = Retiring(version_id=VersionId("old"), user="app", since=first, after=second)
    status = made.status.model_copy(update={"retiring": old})
    seen = Observation.first(made.terms, made.store.stages, current(made), status)
    retiring = without_future_times(seen, NOW).status.retiring
    assert retiring is not None
    assert retiring.since == NOW
    assert retiring.after == (None if since < after else NOW)


def test_times_within_the_tolerance_stay() -> None:
    made = world()
    seen = Observation.first(made.terms, made.store.stages, current(made), poisoned(made, NOW + TOLERANCE))
    assert without_future_times(seen, NOW) is seen
    later = Observation.first(
        made.terms, made.store.stages, current(made), poisoned(made, NOW + TOLERANCE + timedelta(seconds=1))
    )
    assert without_future_times(later, NOW).ignored_times


def test_version_that_this_process_made_with_a_wrong_clock_counts_from_now() -> None:
    made = world()
    stored = current(made)
    ahead = type(stored)(stored.version_id, stored.value, FUTURE, stored.arn)
    seen = Observation.first(made.terms, made.store.stages, ahead, made.status)
    assert without_future_times(seen, NOW).current.created_at == NOW


def test_schedule_goes_on_where_aws_dates_every_version_in_the_future() -> None:
    made = world()
    rotate(made, "now")
    before = made.rotations
    made.now += timedelta(days=10, seconds=1)
    for version, stored in made.store.versions.items():
        made.store.versions[version] = type(stored)(version, stored.value, made.now + YEAR, stored.arn)
    ModelOperator(made).run_until_it_waits()
    assert made.rotations == before + 1


def test_rotation_that_the_clock_was_set_back_in_took_no_negative_time() -> None:
    made = world()
    made.request = "now"
    operator = ModelOperator(made)
    while made.status.rotation is None:
        operator.step()
    made.now -= timedelta(minutes=2)
    while operator.step() is None:
        pass
    assert made.status.last_rotation_duration == "0.0s"
