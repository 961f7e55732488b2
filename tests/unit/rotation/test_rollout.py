"""When workloads are restarted, case by case, on the model of the world."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotated_secrets.api.rollout import Workload, WorkloadKind
from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.status import ConditionType, Reason
from rotated_secrets.delivery.restart import Restart, RestartKind
from rotated_secrets.delivery.target import TargetKind, TargetState
from rotated_secrets.observability.event_reasons import WARNINGS
from rotated_secrets.rotation.actions import Waiting
from rotated_secrets.rotation.report import event_for_restart
from rotated_secrets.rotation.rollout import MISSING_GRACE, RETRY_LATER, RETRY_SOON, restarts_retried_at
from rotated_secrets.secretstores.base import StoredVersion
from rotated_secrets.values import SecretText, SecretValue, Stage, VersionId
from tests.support.world import ARN, FIRST, OURS, ModelOperator, ModelWorkload, World

API = Workload(kind=WorkloadKind.DEPLOYMENT, name="api")
QUEUE = Workload(kind=WorkloadKind.STATEFUL_SET, name="queue")


def world_of(strategy: Strategy = Strategy.ALTERNATING_USERS, *workloads: Workload, **rotation: object) -> World:
    made = Rotation.model_validate({"strategy": strategy} | rotation)
    return World(made, workloads={each: ModelWorkload() for each in workloads or (API,)})


def look(world: World) -> Waiting:
    return ModelOperator(world).run_until_it_waits()


def rotate(world: World, request: str) -> VersionId:
    world.request = request
    look(world)
    return current(world)


def current(world: World) -> VersionId:
    return world.store.get(ARN, stage=Stage.CURRENT).version_id


def begun_with(world: World, workload: Workload = API) -> VersionId | None:
    return world.workloads[workload].version_id


def restarts(world: World, workload: Workload = API) -> int:
    return world.workloads[workload].writes


def hand_move(world: World, to: VersionId) -> None:
    world.store.move_stage(ARN, Stage.CURRENT, to=to, remove_from=current(world))


def by_hand(world: World, text: str) -> VersionId:
    """Another program or person puts a new value."""
    made = VersionId(f"by-hand-{text}")
    world.store.versions[made] = StoredVersion(made, SecretValue.parse(text), world.now, ARN)
    hand_move(world, made)
    return made


# ---- once for each version


@pytest.mark.parametrize("strategy", OURS)
def test_each_rotation_restarts_each_workload_once(strategy: Strategy) -> None:
    world = world_of(strategy, API, QUEUE)
    look(world)
    for number in range(1, 4):
        made = rotate(world, str(number))
        look(world)
        assert {each.version_id for each in world.workloads.values()} == {made}
        assert {each.writes for each in world.workloads.values()} == {number}
    assert world.status.rolled_out_version_id == made
    assert world.status.rolling_out_version_id is None


def test_first_delivery_restarts_nothing_and_is_recorded() -> None:
    world = world_of()
    look(world)
    assert restarts(world) == 0
    assert world.status.rolled_out_version_id == FIRST


def test_a_rotation_at_creation_follows_the_first_delivery_and_restarts() -> None:
    world = world_of(rotate_immediately=True)
    look(world)
    assert begun_with(world) == current(world) != FIRST


def test_first_delivery_is_recorded_while_the_database_is_down() -> None:
    world = world_of(rotate_immediately=True)
    world.database.down = True
    look(world)
    assert world.status.rolled_out_version_id == FIRST
    world.database.down = False
    look(world)
    assert begun_with(world) == current(world) != FIRST


def test_drift_of_the_secret_is_repaired_and_nothing_restarts() -> None:
    world = world_of()
    look(world)
    rotate(world, "one")
    world.target_spoiled = True
    look(world)
    assert not world.target_spoiled
    world.target = None
    look(world)
    assert world.target is not None
    assert restarts(world) == 1


def test_version_moved_by_hand_restarts_and_so_does_moving_it_back() -> None:
    world = world_of(Strategy.RANDOM_VALUE)
    look(world)
    made = by_hand(world, "mine")
    look(world)
    assert begun_with(world) == made
    hand_move(world, FIRST)
    look(world)
    assert begun_with(world) == FIRST
    assert restarts(world) == 2


def test_version_that_others_made_current_restarts_with_external_too() -> None:
    world = world_of(Strategy.EXTERNAL)
    look(world)
    made = VersionId("by-aws")
    world.store.versions[made] = replace(world.store.versions[FIRST], version_id=made)
    hand_move(world, made)
    look(world)
    look(world)
    assert begun_with(world) == made
    assert restarts(world) == 1


def test_version_that_moved_back_before_delivery_restarts_nothing() -> None:
    world = world_of(Strategy.RANDOM_VALUE)
    look(world)
    by_hand(world, "mine")
    hand_move(world, FIRST)
    look(world)
    assert restarts(world) == 0


def test_a_rotation_that_is_rolled_back_restarts_nothing() -> None:
    world = world_of(Strategy.SINGLE_USER, verify_queries=("SELECT 1",))
    look(world)
    world.request = "now"
    operator = ModelOperator(world)
    while operator.run is None or not operator.run.seen.attempt.password_set:
        operator.step()
    world.database.checks_fail_for.add("app")
    operator.run_until_it_waits()
    assert current(world) == FIRST
    assert restarts(world) == 0


# ---- what is added later


def test_adding_rollout_later_restarts_nothing_for_what_is_delivered_already() -> None:
    world = world_of()
    world.workloads.clear()
    look(world)
    rotate(world, "one")
    world.workloads[API] = ModelWorkload()
    look(world)
    assert restarts(world) == 0
    assert rotate(world, "two") == begun_with(world)


def test_a_workload_that_is_added_later_waits_for_the_next_version() -> None:
    world = world_of()
    look(world)
    rotate(world, "one")
    world.workloads[QUEUE] = ModelWorkload()
    look(world)
    assert restarts(world, QUEUE) == 0
    rotate(world, "two")
    assert (restarts(world, API), restarts(world, QUEUE)) == (2, 1)


def test_removing_and_adding_rollout_restarts_nothing() -> None:
    world = world_of()
    look(world)
    rotate(world, "one")
    kept = dict(world.workloads)
    world.workloads.clear()
    rotate(world, "two")
    world.workloads.update(kept)
    look(world)
    assert restarts(world) == 1


# ---- not too early


@pytest.mark.parametrize("strategy", OURS)
def test_nothing_restarts_before_the_rotation_has_ended_and_the_secret_is_written(strategy: Strategy) -> None:
    world = world_of(strategy)
    look(world)
    world.request = "now"
    operator = ModelOperator(world)
    while restarts(world) == 0:
        before = world.status, world.target
        assert operator.step() is None, "the rotation ended without a restart"
    status, target = before
    assert status.rotation is None
    assert target is not None
    assert target.version_id == current(world)


def test_a_version_that_does_not_log_in_restarts_nothing() -> None:
    world = world_of(Strategy.SINGLE_USER)
    look(world)
    made = rotate(world, "one")
    world.database.passwords["app"] = SecretText("changed by somebody")
    hand_move(world, FIRST)
    look(world)
    assert begun_with(world) == made


def test_version_delivered_while_the_database_is_down_restarts_after_its_first_login() -> None:
    world = world_of(Strategy.EXTERNAL)
    look(world)
    made = VersionId("by-aws")
    world.store.versions[made] = replace(world.store.versions[FIRST], version_id=made)
    hand_move(world, made)
    world.database.down = True
    look(world)
    assert world.deliveries == [FIRST, made]
    assert restarts(world) == 0
    world.database.down = False
    look(world)
    assert begun_with(world) == made


def test_remaining_restarts_wait_for_a_rotation_between_set_and_finish() -> None:
    world = world_of(Strategy.SINGLE_USER)
    look(world)
    world.workloads[API].in_the_way = RestartKind.REFUSED
    rotate(world, "one")
    world.request = "two"
    dying = ModelOperator(world)
    while dying.run is None or not dying.run.seen.attempt.password_set:
        dying.step()
    dying.end()
    world.workloads[API].in_the_way = None
    look(world)  # which asserts that what pods begin with logs in
    assert begun_with(world) == current(world)
    assert restarts(world) == 1


def test_a_version_that_cannot_be_delivered_restarts_nothing() -> None:
    world = world_of(Strategy.RANDOM_VALUE)
    look(world)
    by_hand(world, "mine")
    operator = ModelOperator(world)
    operator.step()
    assert operator.run is not None
    conflict = TargetState(TargetKind.CONFLICT, reason=Reason.NOT_OURS, message="Secret shop/orders is not ours")
    operator.run.seen = replace(operator.run.seen, target=conflict)
    operator.run_until_it_waits()
    assert restarts(world) == 0


# ---- crashes


@pytest.mark.parametrize("strategy", OURS)
def test_crash_after_any_step_still_restarts_each_workload_once(strategy: Strategy) -> None:
    died, survived = True, 0
    while died:
        world = world_of(strategy, API, QUEUE)
        look(world)
        world.request = "now"
        dying = ModelOperator(world)
        died = all(dying.step() is None for _ in range(survived))
        dying.end()
        look(world)
        assert begun_with(world) == begun_with(world, QUEUE) == current(world) != FIRST
        assert (restarts(world, API), restarts(world, QUEUE)) == (1, 1), f"it died after {survived} steps"
        survived += 1


def test_crash_and_move_back_leave_no_workload_with_the_intermediate_version() -> None:
    world = world_of(Strategy.RANDOM_VALUE, API, QUEUE)
    look(world)
    by_hand(world, "mine")
    dying = ModelOperator(world)
    while not restarts(world, API):
        dying.step()
    dying.end()
    assert restarts(world, QUEUE) == 0
    hand_move(world, FIRST)
    look(world)
    assert begun_with(world, API) == FIRST


# ---- obstacles


def test_failed_restart_blocks_neither_other_workloads_nor_rotations() -> None:
    world = world_of(Strategy.ALTERNATING_USERS, API, QUEUE)
    world.workloads[API].in_the_way = RestartKind.REFUSED
    look(world)
    for number in range(1, 4):
        made = rotate(world, str(number))
        assert begun_with(world, QUEUE) == made
    synced = world.status.condition(ConditionType.SYNCED)
    assert synced is not None
    assert "Deployment api: something is in the way" in synced.message
    assert world.status.rolling_out_version_id == made
    world.workloads[API].in_the_way = None
    look(world)
    assert begun_with(world, API) == made
    assert (restarts(world, API), restarts(world, QUEUE)) == (1, 3)
    assert world.status.rolling_out_version_id is None
    look(world)
    synced = world.status.condition(ConditionType.SYNCED)
    assert synced is not None
    assert "something is in the way" not in synced.message


def test_workload_that_is_missing_for_a_moment_is_restarted_when_it_is_back() -> None:
    world = world_of()
    look(world)
    world.workloads[API].in_the_way = RestartKind.MISSING
    made = rotate(world, "one")
    world.now += RETRY_SOON
    world.workloads[API].in_the_way = None
    look(world)
    assert begun_with(world) == made


def test_workload_that_stays_missing_is_skipped_and_not_restarted_when_created() -> None:
    world = world_of()
    look(world)
    world.workloads[API].in_the_way = RestartKind.MISSING
    rotate(world, "one")
    assert world.status.rolling_out_version_id is not None
    world.now += MISSING_GRACE
    look(world)
    assert world.status.rolling_out_version_id is None
    world.workloads[API].in_the_way = None
    look(world)
    assert restarts(world) == 0


@pytest.mark.parametrize(
    ("kind", "wait"),
    [(RestartKind.REFUSED, RETRY_LATER), (RestartKind.UNAVAILABLE, RETRY_SOON), (RestartKind.MISSING, RETRY_SOON)],
)
def test_failed_restart_is_retried_in_time(kind: RestartKind, wait: timedelta) -> None:
    world = world_of()
    look(world)
    world.workloads[API].in_the_way = kind
    world.request = "one"
    operator = ModelOperator(world)
    seen = None
    while operator.step() is None:
        seen = operator.run.seen if operator.run is not None else seen
    assert seen is not None
    assert restarts_retried_at(seen, world.now) == world.now + wait


@pytest.mark.parametrize("kind", RestartKind)
def test_each_restart_and_each_failed_restart_causes_an_event(kind: RestartKind) -> None:
    telling = event_for_restart(API, VersionId("v2"), Restart(kind, "something about it"))
    if kind is RestartKind.UNCHANGED:
        assert telling is None
        return
    assert telling is not None
    assert telling.reason in WARNINGS or kind is RestartKind.RESTARTED
    for part in ("Deployment api", "v2", "something about it"):
        assert part in telling.message
