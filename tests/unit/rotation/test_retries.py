"""A rotation that fails is tried again with growing pauses until it succeeds, and nothing goes quiet before."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from rotated_secrets.api.rollout import Workload, WorkloadKind
from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.status import ConditionType, Outcome, Reason, Trigger
from rotated_secrets.delivery.restart import RestartKind
from rotated_secrets.observability.event_reasons import EventReason
from rotated_secrets.rotation.actions import Hold
from rotated_secrets.rotation.policies import ATTEMPTS, LONGEST_BACKOFF
from rotated_secrets.rotation.report import events_for_status
from rotated_secrets.rotation.state import rotation_fails
from rotated_secrets.rotation.strategies import descends_from, next_successor, successor
from rotated_secrets.values import Credential, Stage, VersionId
from tests.support.world import ARN, FIRST, ModelOperator, ModelWorkload, World, current, rotate, settled, world_of

DAY = timedelta(days=1)
WITH_AN_ADMIN = [Strategy.SINGLE_USER, Strategy.ALTERNATING_USERS, Strategy.DUAL_PASSWORD]
PER_VERSION = timedelta(minutes=10)
"""AWS removes versions at this rate ("AWS Secrets Manager quotas", User Guide)."""


def look(world: World) -> object:
    waiting = ModelOperator(world).run_until_it_waits()
    world.check()
    return waiting


def failing(strategy: Strategy = Strategy.ALTERNATING_USERS, **rotation: object) -> World:
    """A world whose due rotation has failed once."""
    world = settled(world_of(strategy, schedule="rate(30 days)", **rotation))
    world.database.refuses_to_set = True
    world.now += timedelta(days=31)
    look(world)
    return world


def next_attempt(world: World) -> timedelta:
    """Let time pass until the next attempt, and return the pause before it."""
    due = world.status.next_rotation_time
    assert due is not None
    pause = due - world.now
    world.now = due + timedelta(seconds=1)
    look(world)
    return pause


def works_again(world: World) -> None:
    world.database.refuses_to_set = False
    next_attempt(world)


@pytest.mark.parametrize("strategy", WITH_AN_ADMIN)
def test_rotation_is_tried_again_until_it_succeeds_and_serves_its_slot_once(strategy: Strategy) -> None:
    world = failing(strategy)
    for attempt in range(2, 30):
        next_attempt(world)
        assert world.status.history[0].attempt == attempt
        assert rotation_fails(world.status)
        assert world.rotations == 0
    works_again(world)
    assert world.rotations == 1
    assert world.status.history[0].trigger is Trigger.SCHEDULE
    assert not rotation_fails(world.status)
    world.now += timedelta(days=29)
    look(world)
    assert world.rotations == 1


def test_pauses_grow_and_end_at_their_longest() -> None:
    world = failing()
    pauses = [next_attempt(world) for _ in range(12)]
    assert pauses[0] <= timedelta(seconds=45)
    assert all(later >= earlier for earlier, later in pairwise(pauses[:5]))
    assert all(LONGEST_BACKOFF <= pause <= 1.5 * LONGEST_BACKOFF for pause in pauses[4:])


@pytest.mark.parametrize("days", [1, 3])
def test_attempts_create_fewer_versions_than_aws_removes(days: int) -> None:
    world = failing()
    until, before = world.now + days * DAY, len(world.store.versions)
    while world.now < until:
        next_attempt(world)
    assert before < len(world.store.versions) < days * DAY / PER_VERSION / 2


def test_a_month_of_attempts_uses_no_id_that_the_operator_does_not_know_as_its_own() -> None:
    world = failing()
    for _ in range(300):
        next_attempt(world)
        made = world.status.history[0].version_id
        assert made is not None and descends_from(ARN, [FIRST], made)
        unlabelled = [each for each in world.store.versions if each not in world.store.stages]
        for old in unlabelled[:-100]:
            del world.store.versions[old]
    works_again(world)
    assert world.rotations == 1


def test_after_the_last_id_the_first_that_is_free_comes_next() -> None:
    taken = [successor(ARN, FIRST, n) for n in range(246, 256)]
    assert next_successor(ARN, FIRST, taken) == successor(ARN, FIRST, 0)
    assert next_successor(ARN, FIRST, [*taken, successor(ARN, FIRST, 0)]) == successor(ARN, FIRST, 1)


def test_request_is_answered_after_three_attempts_and_tried_again_all_the_same() -> None:
    world = settled(world_of())
    world.database.refuses_to_set = True
    rotate(world, "request")
    for attempt in range(2, ATTEMPTS + 1):
        assert world.status.handled_requests.rotate is None
        next_attempt(world)
        assert world.status.history[0].attempt == attempt
    assert world.status.handled_requests.rotate == "request"
    assert "failed 3 times; it is tried again until it succeeds" in world.status.history[0].message
    works_again(world)
    world.now += timedelta(days=29)
    look(world)
    assert world.rotations == 1


def test_new_request_does_not_wait_however_long_the_pause_is() -> None:
    world = failing()
    for _ in range(8):
        next_attempt(world)
    world.database.refuses_to_set = False
    rotate(world, "now")
    assert world.rotations == 1
    assert world.status.handled_requests.slot is not None, "it serves what was due"
    world.now += timedelta(days=29)
    look(world)
    assert world.rotations == 1


def test_suspension_stops_the_attempts() -> None:
    world = failing()
    world.rotation = world.rotation.model_copy(update={"suspend": True})
    attempts = len(world.status.history)
    for _ in range(5):
        world.now += DAY
        waiting = look(world)
        assert isinstance(waiting, Hold) and waiting.reason is Reason.SUSPENDED
    assert len(world.status.history) == attempts
    assert rotation_fails(world.status), "and does not hide that it fails"


def test_rotation_by_someone_else_ends_the_attempts() -> None:
    world = failing()
    theirs = VersionId("made-by-hand")
    world.store.versions[theirs] = replace(current(world), version_id=theirs, created_at=world.now)
    world.store.stages = {theirs: frozenset({Stage.CURRENT})}
    look(world)
    assert world.status.rotation is None
    assert not rotation_fails(world.status)


def test_condition_and_due_time_last_through_all_attempts() -> None:
    world = failing()
    since: set[datetime] = set()
    for _ in range(10):
        rotated = world.status.condition(ConditionType.ROTATED)
        assert rotated is not None and (rotated.status, rotated.reason) == ("False", Reason.ROLLED_BACK)
        since.add(rotated.last_transition_time)
        assert world.status.next_rotation_time is not None and world.status.next_rotation_time > world.now
        assert world.status.state == Reason.ROLLED_BACK
        next_attempt(world)
    assert len(since) == 1
    works_again(world)
    assert world.status.state == "OK"


@pytest.mark.parametrize("attempt", [ATTEMPTS, ATTEMPTS + 1, ATTEMPTS + 5])
def test_each_attempt_after_the_second_is_told_as_a_failure(attempt: int) -> None:
    world = failing()
    for _ in range(attempt - 2):
        next_attempt(world)
    before = world.status
    next_attempt(world)
    told = [each.reason for each in events_for_status(before, world.status, world.rotation.strategy)]
    assert EventReason.ROTATION_FAILED in told


def test_old_password_is_retired_while_the_next_rotation_fails() -> None:
    world = settled(world_of(Strategy.DUAL_PASSWORD))
    rotate(world, "one")
    world.database.refuses_to_set = True
    world.request = "two"
    look(world)
    world.database.refuses_to_set = False
    claim, retiring = world.status.rotation, world.status.retiring
    assert claim is not None and retiring is not None and retiring.after is not None
    # The next attempt is far away, and the old password's end comes first.
    entry = world.status.history[0].model_copy(update={"finished_at": world.status.history[0].finished_at + DAY})
    later = claim.model_copy(update={"attempt": 9})
    world.status = world.status.model_copy(update={"rotation": later, "history": (entry, *world.status.history[1:])})
    world.now = retiring.after
    look(world)
    assert world.status.retiring is None
    assert world.database.kept == {}
    assert world.status.rotation is not None, "the rotation still waits"


def test_retirement_that_is_refused_does_not_keep_a_failed_rotation_from_its_next_attempt() -> None:
    world = settled(world_of(Strategy.DUAL_PASSWORD))
    rotate(world, "one")
    world.database.refuses_to_set = True
    world.request = "two"
    look(world)
    world.now += 2 * DAY
    for attempt in range(2, 8):
        look(world)
        assert world.status.history[0].attempt == attempt
        world.now += 2 * LONGEST_BACKOFF
    world.database.refuses_to_set = False
    look(world)
    assert world.rotations == 2


def test_workloads_are_restarted_while_the_next_rotation_fails() -> None:
    api = Workload(kind=WorkloadKind.DEPLOYMENT, name="api")
    world = World(Rotation(strategy=Strategy.ALTERNATING_USERS), workloads={api: ModelWorkload()})
    look(world)
    world.workloads[api].in_the_way = RestartKind.REFUSED
    rotate(world, "one")
    world.database.refuses_to_set = True
    rotate(world, "two")
    world.workloads[api].in_the_way = None
    assert world.status.rotation is not None
    look(world)
    assert world.workloads[api].version_id == current(world).version_id


def test_what_pods_hold_works_through_all_attempts() -> None:
    world = failing()
    for _ in range(20):
        next_attempt(world)
        assert world.target is not None
        assert world.database.logs_in(Credential.of(world.target.value))
    assert {entry.outcome for entry in world.status.history} == {Outcome.ROLLED_BACK}
