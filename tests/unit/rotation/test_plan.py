"""The plan, case by case, on the model of the world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotated_secrets.api.rotation import Rights, Strategy
from rotated_secrets.api.status import ConditionType, Outcome, Reason, RotatedSecretStatus, Step, Trigger
from rotated_secrets.delivery.target import TargetKind, TargetState
from rotated_secrets.rotation.actions import ClearPending, FinishPending, Hold, Retry, Sleep, SyncTarget, Waiting
from rotated_secrets.rotation.observation import Login, Obstacle
from rotated_secrets.rotation.strategies import MOST_BYTES, pending_mismatch, successor
from rotated_secrets.secretstores.base import StoredVersion
from rotated_secrets.values import Credential, SecretText, SecretValue, Stage, VersionId
from tests.support.observations import seen
from tests.support.world import (
    ARN,
    CREATED,
    FIRST,
    OURS,
    ModelOperator,
    World,
    current,
    put_pending,
    rotate,
    settled,
    value,
    world_of,
)

DATABASE_STRATEGIES = [strategy for strategy in OURS if strategy is not Strategy.RANDOM_VALUE]


# ---- the common case


def test_rotation_needs_five_store_calls_and_three_logins_besides_the_admin() -> None:
    world = settled(world_of())
    rotate(world, "first")
    world.store.calls.clear()
    world.database.logins.clear()
    rotate(world, "second")
    assert world.store.calls == [
        "DescribeSecret",
        "GetSecretValue",
        "PutSecretValue",
        "UpdateSecretVersionStage",
        "UpdateSecretVersionStage",
    ]
    assert world.database.logins == ["app_clone", "admin", "app"]


def test_ten_rotations_leave_two_users_and_each_version_where_aws_has_it() -> None:
    world = settled(world_of())
    for number in range(10):
        rotate(world, str(number))
    assert set(world.database.passwords) == {"app", "app_clone"}
    assert len(world.store.versions) == 11
    assert sorted(stage for stages in world.store.stages.values() for stage in stages) == [
        Stage.CURRENT,
        Stage.PREVIOUS,
    ]
    assert [entry.outcome for entry in world.status.history] == [Outcome.SUCCEEDED] * 10


def test_random_value_is_replaced_without_a_database() -> None:
    world = settled(world_of(Strategy.RANDOM_VALUE))
    rotate(world, "first")
    assert world.database.logins == []
    assert world.target == current(world)
    assert current(world).value.text != SecretText("first")


@pytest.mark.parametrize("strategy", OURS)
def test_version_that_aws_would_not_take_is_not_put_and_nothing_is_set(strategy: Strategy) -> None:
    world = settled(world_of(strategy))
    text = (
        value("app", "first") if world.terms.has_database else SecretValue.parse('{"password": "first"}')
    ).text.reveal()
    large = SecretValue.parse(text[:-1] + ', "pad": "' + "x" * (MOST_BYTES - len(text)) + '"}')
    world.store.versions[FIRST] = replace(current(world), value=large)
    passwords, stages = dict(world.database.passwords), world.store.stages
    world.request = "request"
    operator = ModelOperator(world)
    assert isinstance(operator.run_until_it_waits(), Retry)
    assert "PutSecretValue" not in world.store.calls
    assert (world.database.passwords, world.store.stages) == (passwords, stages)
    assert "and AWS takes 65536 at most: shorten its value, or move keys" in operator.reports.errors[0]


# ---- why rotate


def test_no_rotation_without_schedule_or_request() -> None:
    world = settled(world_of())
    world.now += timedelta(days=1000)
    assert ModelOperator(world).run_until_it_waits() == Sleep(None)
    assert world.rotations == 0


def test_request_acts_once_also_across_restarts() -> None:
    world = settled(world_of())
    for _ in range(3):
        rotate(world, "the same")
    assert world.rotations == 1
    rotate(world, "another")
    assert world.rotations == 2


def test_missed_due_times_and_a_request_cause_one_rotation() -> None:
    world = settled(world_of(schedule="rate(1 day)"))
    world.now += timedelta(days=7, hours=1)
    rotate(world, "request")
    assert world.rotations == 1
    assert world.status.handled_requests.rotate == "request"
    assert isinstance(ModelOperator(world).run_until_it_waits(), Sleep)
    assert world.status.next_rotation_time == (world.now + timedelta(days=1)).replace(microsecond=0)


def test_schedule_counts_from_what_is_persisted_not_from_the_operators_start() -> None:
    world = settled(world_of(schedule="rate(1 day)"))
    for _ in range(24):
        world.now += timedelta(hours=1)
        assert world.rotations == 0
        ModelOperator(world).run_until_it_waits()
    assert world.rotations == 1


def test_new_schedule_causes_no_immediate_rotation() -> None:
    world = settled(world_of(schedule="rate(90 days)"))
    world.now += timedelta(days=60)
    world.rotation = world.rotation.model_copy(update={"schedule": "rate(1 day)"})
    assert ModelOperator(world).run_until_it_waits() == Sleep(world.now + timedelta(days=1))
    assert world.rotations == 0


def test_rotate_immediately_counts_at_creation_and_never_later() -> None:
    at_creation = world_of(rotate_immediately=True)
    ModelOperator(at_creation).run_until_it_waits()
    assert [entry.trigger for entry in at_creation.status.history] == [Trigger.CREATION]
    later = settled(world_of())
    later.rotation = later.rotation.model_copy(update={"rotate_immediately": True})
    ModelOperator(later).run_until_it_waits()
    assert later.rotations == 0


def test_suspended_rotation_waits_and_runs_once_when_resumed() -> None:
    world = settled(world_of(schedule="rate(1 day)", suspend=True))
    world.now += timedelta(days=5)
    waiting = ModelOperator(world).run_until_it_waits()
    assert isinstance(waiting, Hold) and waiting.reason is Reason.SUSPENDED
    assert world.rotations == 0
    world.rotation = world.rotation.model_copy(update={"suspend": False})
    ModelOperator(world).run_until_it_waits()
    assert world.rotations == 1


# ---- a crash at any point


@pytest.mark.parametrize("strategy", OURS)
@pytest.mark.parametrize("actions", range(1, 22))
def test_rotation_is_finished_wherever_the_operator_died(strategy: Strategy, actions: int) -> None:
    world = settled(world_of(strategy))
    world.request = "request"
    dying = ModelOperator(world)
    for _ in range(actions):
        dying.step()
        world.check()
    dying.end()
    operator = ModelOperator(world)
    operator.run_until_it_waits()
    world.check()
    assert world.rotations == 1
    assert world.status.rotation is None
    assert [entry.outcome for entry in world.status.history] == [Outcome.SUCCEEDED]
    assert world.target == current(world)
    assert not any(Stage.PENDING in stages for stages in world.store.stages.values())


@pytest.mark.parametrize("strategy", DATABASE_STRATEGIES)
@pytest.mark.parametrize("actions", range(1, 22))
def test_rotation_is_finished_even_if_the_claim_was_lost(strategy: Strategy, actions: int) -> None:
    world = settled(world_of(strategy))
    world.request = "request"
    dying = ModelOperator(world)
    for _ in range(actions):
        dying.step()
    dying.end()
    world.status = RotatedSecretStatus()
    ModelOperator(world).run_until_it_waits()
    world.check()
    assert 1 <= world.rotations <= 2
    assert world.target == current(world)
    assert world.database.logs_in(Credential.of(current(world).value))
    assert not any(Stage.PENDING in stages for stages in world.store.stages.values())


def test_login_is_no_proof_that_set_was_finished() -> None:
    world = settled(world_of())
    world.request = "request"
    dying = ModelOperator(world)
    while not dying.world.database.passwords.get("app_clone"):
        dying.step()
    dying.end()
    operator = ModelOperator(world)
    operator.run_until_it_waits()
    assert [report.user for report in operator.reports.passwords] == ["app_clone"], "setSecret did not run again"


# ---- when it fails


def failing(world: World, until: Callable[[], bool], most: int = 60) -> None:
    operator = ModelOperator(world)
    for _ in range(most):
        operator.step()
        world.check()
        if until():
            operator.end()
            return
    raise AssertionError("it did not come so far")


def test_login_of_a_new_clone_that_fails_its_test_is_disabled() -> None:
    world = settled(world_of())
    world.database.checks_fail_for = {"app_clone"}
    rotate(world, "request")
    assert world.database.locked_out == {"app_clone"}
    assert world.status.history[0].outcome is Outcome.ROLLED_BACK
    assert current(world).version_id == FIRST


def test_clone_whose_login_cannot_be_disabled_is_reported_and_the_rotation_retried() -> None:
    world = settled(world_of())
    world.database.checks_fail_for = {"app_clone"}
    world.database.refuses_to_lock_out = True
    rotate(world, "request")
    (attempt,) = world.status.history
    assert attempt.outcome is Outcome.ROLLED_BACK
    assert "query 1 failed" in attempt.message
    assert "the admin may not lock app_clone out" in attempt.message
    world.database.checks_fail_for.clear()
    world.now += timedelta(minutes=10)
    ModelOperator(world).run_until_it_waits()
    assert world.rotations == 1


def test_check_that_only_the_clone_fails_does_not_hold_the_rotation() -> None:
    world = settled(world_of())
    rotate(world, "first")
    world.database.checks_fail_for = {"app_clone"}
    rotate(world, "second")
    assert [entry.outcome for entry in world.status.history] == [Outcome.SUCCEEDED] * 2
    assert Credential.of(current(world).value).username == "app"


def test_failed_test_restores_the_passive_users_previous_password() -> None:
    world = settled(world_of())
    rotate(world, "first")
    world.database.checks_fail_for = {"app"}
    rotate(world, "second")
    assert world.status.history[0].outcome is Outcome.ROLLED_BACK
    assert world.database.passwords["app"] == SecretText("first")
    assert world.database.logs_in(Credential.of(current(world).value))


def test_failed_test_of_a_single_user_restores_the_password_that_pods_use() -> None:
    world = settled(world_of(Strategy.SINGLE_USER))
    world.request = "request"
    operator = ModelOperator(world)
    while not operator.reports.passwords:
        operator.step()
    world.database.checks_fail_for = {"app"}
    operator.run_until_it_waits()
    assert world.status.history[0].outcome is Outcome.ROLLED_BACK
    assert world.database.passwords["app"] == SecretText("first")
    assert world.target is not None and world.database.logs_in(Credential.of(world.target.value))


def test_new_request_does_not_wait_for_the_next_attempt_of_an_old_one() -> None:
    world = settled(world_of())
    world.database.checks_fail_for = {"app_clone"}
    rotate(world, "old")
    world.database.checks_fail_for = set()
    rotate(world, "new")
    assert world.rotations == 1
    assert world.status.handled_requests.rotate == "new"


def test_missing_privilege_found_under_the_lock_leaves_nothing_behind() -> None:
    world = settled(world_of())
    del world.database.passwords["app"]
    world.database.passwords["app"] = SecretText("first")
    world.database.refuses_to_set = True
    rotate(world, "request")
    assert world.status.history[0].step is Step.SET
    assert "app_clone" not in world.database.passwords
    assert not any(Stage.PENDING in stages for stages in world.store.stages.values())


def test_database_that_is_down_stops_no_sync_and_loses_no_rotation() -> None:
    world = world_of()
    world.database.down = True
    assert isinstance(ModelOperator(world).run_until_it_waits(), Retry)
    assert world.target is not None, "the Secret waits for a database"
    assert world.status.current_version_id == FIRST
    world.request = "request"
    assert isinstance(ModelOperator(world).run_until_it_waits(), Retry)
    world.database.down = False
    ModelOperator(world).run_until_it_waits()
    assert world.rotations == 1


# ---- holds


@pytest.mark.parametrize("strategy", OURS)
def test_secret_that_was_made_and_deleted_meanwhile_is_not_created_with_an_old_version(strategy: Strategy) -> None:
    world = world_of(strategy)
    frozen = ModelOperator(world)
    while frozen.run is None or not isinstance(frozen.run.next_action(), SyncTarget):
        frozen.step()
    settled(world)
    for request in ("first", "second"):
        rotate(world, request)
    world.delete_target()
    assert isinstance(frozen.step(), Retry)
    assert world.target is None
    frozen.run_until_it_waits()
    assert world.target == current(world)


def test_creation_of_the_target_secret_costs_one_call_and_an_update_none() -> None:
    world = settled(world_of())
    world.delete_target()
    world.store.calls.clear()
    ModelOperator(world).run_until_it_waits()
    assert world.store.calls == ["DescribeSecret", "GetSecretValue", "DescribeSecret"]
    world.edit_target()
    world.store.calls.clear()
    ModelOperator(world).run_until_it_waits()
    assert world.store.calls == ["DescribeSecret", "GetSecretValue"]


@pytest.mark.parametrize("strategy", DATABASE_STRATEGIES)
def test_version_that_was_rolled_back_is_not_delivered_while_the_database_does_not_answer(strategy: Strategy) -> None:
    """A late finishSecret made it AWSCURRENT. Found by the model."""
    world = settled(world_of(strategy))
    world.request = "request"
    frozen = ModelOperator(world)
    while frozen.run is None or not isinstance(frozen.run.next_action(), FinishPending):
        frozen.step()
    late = frozen.freeze()
    assert late is not None
    resuming = ModelOperator(world)
    while not resuming.reports.passwords:
        resuming.step()
    world.database.checks_fail_for = {"app", "app_clone"}
    resuming.run_until_it_waits()
    assert world.status.history[0].outcome is Outcome.ROLLED_BACK
    world.late_call = True
    late()
    world.database.down, world.database.checks_fail_for = True, set()
    assert isinstance(ModelOperator(world).run_until_it_waits(), Retry)
    assert world.target is not None and world.target.version_id == FIRST
    synced = world.status.condition(ConditionType.SYNCED)
    assert synced is not None and "was rolled back" in synced.message
    world.database.down = False
    ModelOperator(world).run_until_it_waits()
    assert current(world).version_id == FIRST
    assert world.target == current(world)


def test_current_that_does_not_log_in_keeps_the_secret_and_never_reaches_the_admin() -> None:
    world = settled(world_of())
    someone = VersionId("11111111-1111-1111-1111-111111111111")
    world.store.versions[someone] = StoredVersion(someone, value("app", "wrong"), world.now, ARN)
    world.store.stages = {FIRST: frozenset({Stage.PREVIOUS}), someone: frozenset({Stage.CURRENT})}
    world.request = "request"
    waiting = ModelOperator(world).run_until_it_waits()
    assert isinstance(waiting, Hold)
    assert world.target is not None and world.target.version_id == FIRST
    assert "admin" not in world.database.logins


@pytest.mark.parametrize("strategy", DATABASE_STRATEGIES)
@pytest.mark.parametrize("claim_is_forged", [False, True])
def test_tenant_cannot_reset_another_users_password_by_writing_its_name(
    strategy: Strategy, claim_is_forged: bool
) -> None:
    """The tenant owns its secret, can compute ids, and may even write the status; it does not have the password."""
    world = world_of(strategy)
    world.database.passwords["app"] = SecretText("the victim's")
    user = "app" if strategy is Strategy.SINGLE_USER else "app_clone"
    pending = successor(ARN, FIRST, 0)
    put_pending(world, pending, value(user, "chosen by the attacker"))
    if claim_is_forged:
        forger = ModelOperator(settled(world_of(strategy)))
        forger.world.request = "request"
        while forger.run is None or not forger.run.seen.attempt.password_set:
            forger.step()
        claim = forger.run.seen.claim
        assert claim is not None
        world.status = RotatedSecretStatus(rotation=claim.model_copy(update={"failure": "forged"}))
    before = dict(world.database.passwords)
    for _ in range(3):
        ModelOperator(world).run_until_it_waits()
    assert world.database.passwords == before
    assert "admin" not in world.database.logins


def test_rollback_changes_no_user_outside_the_rotation() -> None:
    """The tenant's own credential works, its last attempt failed, and now it stages values for another user."""
    world = settled(world_of())
    world.database.checks_fail_for = {"app_clone"}
    world.request = "request"
    operator = ModelOperator(world)
    while world.status.rotation is None or world.status.rotation.failure is None:
        operator.step()
    operator.end()
    world.database.passwords["victim"] = SecretText("the victim's")
    pending = successor(ARN, FIRST, 5)
    chosen = VersionId("33333333-3333-3333-3333-333333333333")
    world.store.versions[chosen] = StoredVersion(chosen, value("victim", "chosen"), world.now, ARN)
    world.store.stages = {FIRST: frozenset({Stage.CURRENT}), chosen: frozenset({Stage.PREVIOUS})}
    put_pending(world, pending, value("victim", "also chosen"))
    for claimed_id in (world.status.rotation.version_id, pending):
        claim = world.status.rotation.model_copy(update={"version_id": claimed_id}) if world.status.rotation else None
        world.status = world.status.model_copy(update={"rotation": claim})
        world.database.logins.clear()
        ModelOperator(world).run_until_it_waits()
        assert world.database.passwords["victim"] == SecretText("the victim's")
        put_pending(world, pending, value("victim", "also chosen"))


def test_pending_that_asks_for_less_protection_than_current_proves_nothing() -> None:
    world = world_of()
    less = SecretValue.parse(value("app_clone", "x").text.reveal().replace("{", '{"ssl": false, ', 1))
    pending = replace(current(world), value=less)
    message = pending_mismatch(world.terms, seen(world.terms, current(world), pending))
    assert message == "AWSPENDING and AWSCURRENT differ in ssl"


@pytest.mark.parametrize("made", [False, True])
def test_rollback_of_what_was_never_set_tells_only_why_it_was_not_set(made: bool) -> None:
    world = settled(world_of())
    if made:
        rotate(world, "first")
        rotate(world, "second")
    before = dict(world.database.passwords)
    world.database.refuses_to_set = world.database.refuses_to_lock_out = True
    rotate(world, "another")
    entry = world.status.history[0]
    assert (entry.outcome, entry.message) == (Outcome.ROLLED_BACK, "the admin lacks a privilege")
    assert world.database.passwords == before


def test_rollback_that_leaves_a_password_behind_tells_it_after_the_first_cause() -> None:
    world = settled(world_of())
    world.database.checks_fail_for = {"app_clone"}
    world.database.refuses_to_lock_out = True
    rotate(world, "first")
    assert world.status.history[0].message == (
        "user app_clone: query 1 failed; the changes of setSecret were not undone: the admin may not lock app_clone out"
    )


def test_rollback_that_waits_tells_first_why_it_began() -> None:
    world = settled(world_of())
    world.database.checks_fail_for = {"app_clone"}
    world.request = "request"
    operator = ModelOperator(world)
    while world.status.rotation is None or world.status.rotation.failure is None:
        operator.step()
    operator.end()
    world.database.down = True
    assert isinstance(ModelOperator(world).run_until_it_waits(), Retry)
    rotated = world.status.condition(ConditionType.ROTATED)
    assert rotated is not None
    assert rotated.message == (
        "user app_clone: query 1 failed; it is being rolled back: the database is down; it is tried again"
    )
    world.database.down = False
    ModelOperator(world).run_until_it_waits()
    assert world.status.history[0].message == "user app_clone: query 1 failed"


def test_rollback_uses_only_the_password_of_previous_and_keeps_rights() -> None:
    """A person who can write the secret can stage any AWSPREVIOUS."""
    world = settled(world_of())
    rotate(world, "first")
    steering = SecretValue.parse(value("app", "first").text.reveal().replace("{", '{"authSource": "elsewhere", ', 1))
    staged = VersionId("55555555-5555-5555-5555-555555555555")
    world.store.versions[staged] = StoredVersion(staged, steering, world.now, ARN)
    stages = {each: labels - {Stage.PREVIOUS} for each, labels in world.store.stages.items()}
    world.store.stages = {each: labels for each, labels in stages.items() if labels} | {
        staged: frozenset({Stage.PREVIOUS})
    }
    world.database.checks_fail_for = {"app"}
    rotate(world, "second")
    assert world.status.history[0].outcome is Outcome.ROLLED_BACK
    restored, rights = world.database.set_with[-1]
    assert restored.value is not None and restored.value.fields is not None
    assert restored.password == SecretText("first") and "authSource" not in restored.value.fields
    assert rights is Rights.IGNORE


def test_obstacle_holds_rotations_but_not_delivery() -> None:
    world = world_of()
    world.obstacle = Obstacle(Reason.ACCESS_DENIED, "the admin secret is denied")
    world.request = "request"
    waiting = ModelOperator(world).run_until_it_waits()
    assert waiting == Hold(Reason.ACCESS_DENIED, "held: the admin secret is denied")
    assert world.target == current(world)
    ready = world.status.condition(ConditionType.READY)
    assert ready is not None and (ready.status, ready.reason) == ("False", Reason.ACCESS_DENIED)
    world.obstacle = None
    ModelOperator(world).run_until_it_waits()
    assert world.rotations == 1


def test_version_that_lost_its_label_is_named_in_the_hold() -> None:
    world = settled(world_of(Strategy.SINGLE_USER))
    world.request = "request"
    dying = ModelOperator(world)
    while not dying.reports.passwords:
        dying.step()
    dying.end()
    lost = next(version for version, labels in world.store.stages.items() if Stage.PENDING in labels)
    world.store.stages = {FIRST: frozenset({Stage.CURRENT})}
    waiting = ModelOperator(world).run_until_it_waits()
    assert isinstance(waiting, Hold) and f"--move-to-version-id {lost}" in waiting.message
    assert world.status.history == ()
    world.store.stages = {**world.store.stages, lost: frozenset({Stage.PENDING})}
    ModelOperator(world).run_until_it_waits()
    assert world.rotations == 1 and current(world).version_id == lost


def test_rotation_that_set_a_password_is_not_finished_by_a_strategy_without_test() -> None:
    world = settled(world_of(Strategy.SINGLE_USER))
    world.request = "request"
    dying = ModelOperator(world)
    while not dying.reports.passwords:
        dying.step()
    dying.end()
    world.rotation = world_of(Strategy.RANDOM_VALUE).rotation
    stages = dict(world.store.stages)
    ModelOperator(world).run_until_it_waits()
    assert world.store.stages == stages


def test_previous_value_without_credential_does_not_stop_a_rollback() -> None:
    world = settled(world_of())
    world.database.checks_fail_for = {"app_clone"}
    junk = VersionId("44444444-4444-4444-4444-444444444444")
    world.store.versions[junk] = StoredVersion(junk, SecretValue.parse("{}"), world.now, ARN)
    world.store.stages = {**world.store.stages, junk: frozenset({Stage.PREVIOUS})}
    rotate(world, "request")
    assert world.status.history[0].outcome is Outcome.ROLLED_BACK
    assert not any(Stage.PENDING in stages for stages in world.store.stages.values())


def test_strategy_change_during_a_rotation_holds_if_the_password_may_be_set() -> None:
    world = settled(world_of(Strategy.SINGLE_USER))
    world.request = "request"
    dying = ModelOperator(world)
    while not dying.reports.passwords:
        dying.step()
    dying.end()
    single, world.rotation = world.rotation, world_of(Strategy.ALTERNATING_USERS).rotation
    waiting = ModelOperator(world).run_until_it_waits()
    assert isinstance(waiting, Hold) and "set rotation.strategy" in waiting.message
    assert any(Stage.PENDING in stages for stages in world.store.stages.values())
    world.rotation = single
    ModelOperator(world).run_until_it_waits()
    assert world.rotations == 1


def test_next_attempt_gets_its_version_and_start_time_when_it_begins() -> None:
    world = settled(world_of())
    world.database.checks_fail_for = {"app_clone"}
    rotate(world, "request")
    assert world.status.rotation is not None and world.status.rotation.version_id is None
    world.now += timedelta(minutes=5)
    ModelOperator(world).run_until_it_waits()
    assert world.status.history[0].started_at == world.now


def test_pending_version_of_others_is_left_alone() -> None:
    world = settled(world_of())
    put_pending(world, VersionId("22222222-2222-2222-2222-222222222222"), value("app_clone", "a Lambda's"))
    world.request = "request"
    waiting = ModelOperator(world).run_until_it_waits()
    assert isinstance(waiting, Hold) and waiting.reason is Reason.MANAGED_ELSEWHERE
    assert "--remove-from-version-id 22222222" in waiting.message
    assert world.rotations == 0
    assert Stage.PENDING in world.store.stages[VersionId("22222222-2222-2222-2222-222222222222")]


def test_pending_made_from_an_old_version_is_abandoned_without_database_changes() -> None:
    world = settled(world_of())
    rotate(world, "first")
    put_pending(world, successor(ARN, FIRST, 7), value("app_clone", "stale"))
    passwords = dict(world.database.passwords)
    ModelOperator(world).run_until_it_waits()
    assert not any(Stage.PENDING in stages for stages in world.store.stages.values())
    assert world.database.passwords == passwords


@pytest.mark.parametrize("strategy", [Strategy.ALTERNATING_USERS, Strategy.RANDOM_VALUE])
def test_move_back_before_pending_was_cleared_is_kept_and_ends_the_rotation_once(strategy: Strategy) -> None:
    """Found by the model: the version was served, resumed, served, and so on."""
    world = settled(world_of(strategy))
    world.request = "request"
    dying = ModelOperator(world)
    while dying.run is None or not isinstance(dying.run.next_action(), ClearPending):
        dying.step()
    dying.end()
    made = current(world).version_id
    world.store.move_stage(ARN, Stage.CURRENT, to=FIRST, remove_from=made)
    ModelOperator(world).run_until_it_waits()
    assert world.store.stages == {FIRST: frozenset({Stage.CURRENT}), made: frozenset({Stage.PREVIOUS})}
    assert world.status.rotation is None
    assert world.target == current(world)


def test_pending_left_on_current_is_cleared() -> None:
    world = settled(world_of())
    world.store.stages = {FIRST: frozenset({Stage.CURRENT, Stage.PENDING})}
    ModelOperator(world).run_until_it_waits()
    assert world.store.stages == {FIRST: frozenset({Stage.CURRENT})}


def test_secret_that_aws_rotates_is_only_synced() -> None:
    world = settled(world_of())
    world.store.stages = {FIRST: frozenset({Stage.CURRENT, Stage.PENDING})}
    world.target_spoiled = True
    world.request = "request"
    operator = ModelOperator(world)
    operator.step()
    assert operator.run is not None
    operator.run.seen = replace(operator.run.seen, elsewhere="AWS rotates it")
    waiting = operator.run_until_it_waits()
    assert isinstance(waiting, Hold) and waiting.reason is Reason.MANAGED_ELSEWHERE
    assert not world.target_spoiled
    assert world.store.stages == {FIRST: frozenset({Stage.CURRENT, Stage.PENDING})}


def test_checks_that_fail_for_the_current_credential_hold_the_rotation() -> None:
    world = settled(world_of())
    world.database.checks_fail_for = {"app"}
    world.request = "request"
    waiting = ModelOperator(world).run_until_it_waits()
    assert isinstance(waiting, Hold) and waiting.reason is Reason.VERIFY_QUERIES_FAILED
    assert "PutSecretValue" not in world.store.calls


def test_lock_of_another_operator_causes_a_new_observation() -> None:
    world = settled(world_of())
    holder = world.database.open_admin(Credential.of(current(world).value))
    assert holder.try_lock("app")
    world.request = "request"
    assert isinstance(ModelOperator(world).run_until_it_waits(), Retry)
    assert "PutSecretValue" not in world.store.calls
    holder.end()
    ModelOperator(world).run_until_it_waits()
    assert world.rotations == 1


def test_conflicting_target_secret_holds_the_rotation() -> None:
    world = settled(world_of())
    world.request = "request"
    operator = ModelOperator(world)
    operator.step()
    assert operator.run is not None
    conflict = TargetState(TargetKind.CONFLICT, reason=Reason.NOT_OURS, message="Secret shop/orders is not ours")
    operator.run.seen = replace(operator.run.seen, target=conflict)
    waiting = operator.run_until_it_waits()
    assert isinstance(waiting, Hold) and waiting.reason is Reason.UNSYNCED
    assert "is not ours" in waiting.message
    assert "PutSecretValue" not in world.store.calls


def test_pending_that_the_operator_would_not_create_is_never_set() -> None:
    world = settled(world_of())
    pending = successor(ARN, FIRST, 0)
    put_pending(world, pending, value("app_clone", "x").replacing(host="another"))
    operator = ModelOperator(world)
    operator.run_until_it_waits()
    assert operator.reports.passwords == []
    assert pending not in world.store.stages
    assert world.rotations == 0


# ---- two operators


def test_stages_are_read_again_under_the_lock_before_anothers_pending_is_set() -> None:
    world = settled(world_of())
    world.request = "request"
    dying = ModelOperator(world)
    while "app_clone" not in world.database.passwords:
        dying.step()
    dying.end()
    slow = ModelOperator(world)
    while slow.run is None or slow.run.seen.pending is None or slow.run.seen.login is Login.UNTRIED:
        slow.step()
    ModelOperator(world).run_until_it_waits()
    rotate(world, "and again")
    rotate(world, "and again, so that the clone has another password")
    passwords = dict(world.database.passwords)
    assert isinstance(slow.run_until_it_waits(), Retry)
    assert world.database.passwords == passwords


def test_version_that_another_operator_created_meanwhile_is_continued() -> None:
    world = settled(world_of())
    world.request = "request"
    late = ModelOperator(world)
    while late.run is None or not late.run.seen.locked:
        late.step()
    pending = successor(ARN, FIRST, 0)
    put_pending(world, pending, value("app_clone", "made by the other"))
    late.run_until_it_waits()
    assert current(world).version_id == pending
    assert world.database.passwords["app_clone"] == SecretText("made by the other")


def test_ended_admin_session_prevents_finish() -> None:
    world = settled(world_of())
    world.request = "request"
    operator = ModelOperator(world)
    while operator.run is None or not operator.run.seen.attempt.tested:
        operator.step()
    holder = world.database.lock_holder
    assert holder is not None
    holder.end()
    assert isinstance(operator.run_until_it_waits(), Retry)
    assert current(world).version_id == FIRST
    ModelOperator(world).run_until_it_waits()
    assert world.rotations == 1


def test_version_that_exists_but_is_not_pending_is_skipped() -> None:
    world = settled(world_of())
    used = successor(ARN, FIRST, 0)
    world.store.versions[used] = StoredVersion(used, value("app_clone", "abandoned"), CREATED, ARN)
    rotate(world, "request")
    assert current(world).version_id == successor(ARN, FIRST, 1)


def test_late_finish_of_a_rolled_back_version_is_undone() -> None:
    world = settled(world_of())
    world.request = "request"
    frozen = ModelOperator(world)
    late = None
    while late is None:
        frozen.step()
        assert frozen.run is not None
        if (
            frozen.run.seen.attempt.tested
            and frozen.run.seen.claim is not None
            and frozen.run.seen.claim.step is Step.FINISH
        ):
            late = frozen.freeze()
    world.database.checks_fail_for = {"app_clone"}
    ModelOperator(world).run_until_it_waits()
    assert world.status.history[0].outcome is Outcome.ROLLED_BACK
    world.late_call = True
    late()
    world.late_call = False
    assert current(world).version_id != FIRST
    ModelOperator(world).run_until_it_waits()
    world.check()
    assert current(world).version_id == FIRST
    world.database.checks_fail_for = set()
    rotate(world, "again")
    assert [entry.outcome for entry in world.status.history] == [Outcome.SUCCEEDED, Outcome.ROLLED_BACK]


@pytest.mark.parametrize("strategy", [Strategy.SINGLE_USER, Strategy.DUAL_PASSWORD, Strategy.ALTERNATING_USERS])
def test_each_failed_attempt_of_one_run_is_rolled_back(strategy: Strategy) -> None:
    """The run is stopped, or the clock is set, until the pause after the first attempt is over."""
    world = settled(world_of(strategy))
    world.request = "request"
    operator = ModelOperator(world)

    def step() -> Waiting | None:
        is_set = operator.run is not None and operator.run.seen.attempt.password_set
        world.database.checks_fail_for = {"app", "app_clone"} if is_set else set()
        return operator.step()

    for attempt in (2, 3):
        while world.status.rotation is None or world.status.rotation.attempt < attempt:
            assert step() is None, "it is all one run"
        assert world.database.logs_in(Credential.of(current(world).value))
        world.now += timedelta(hours=1)
    while step() is None:
        pass
    world.check()
    assert world.database.logs_in(Credential.of(current(world).value))
    assert world.status.rotation is not None and world.status.rotation.version_id is None, "the next attempt waits"
    assert world.status.history[0].outcome is Outcome.ROLLED_BACK
