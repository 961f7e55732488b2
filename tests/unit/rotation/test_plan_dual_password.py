"""DualPassword: the old password still works beside the new one, and is removed when its time has come."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.status import ConditionType, Outcome, Reason, RotatedSecretStatus
from rotated_secrets.delivery.target import TargetKind, TargetState
from rotated_secrets.observability.event_reasons import EventReason
from rotated_secrets.rotation.actions import Hold, Retry, Sleep
from rotated_secrets.rotation.plan import plan
from rotated_secrets.rotation.report import events_for_status
from rotated_secrets.secretstores.base import StoredVersion
from rotated_secrets.values import Credential, SecretText, Stage, VersionId
from tests.support.world import ARN, FIRST, ModelOperator, World, current, rotate, settled, value, world_of

DAY = timedelta(days=1)


def dual(**rotation: object) -> World:
    return settled(world_of(Strategy.DUAL_PASSWORD, **rotation))


def look(world: World) -> object:
    waiting = ModelOperator(world).run_until_it_waits()
    world.check()
    return waiting


def passwords(world: World) -> set[str]:
    database = world.database
    return {text.reveal() for text in (database.passwords["app"], database.kept.get("app")) if text is not None}


def test_old_password_works_for_a_day_after_delivery_of_the_new_one() -> None:
    world = dual()
    rotate(world, "request")
    delivered_at = world.now
    assert len(passwords(world)) == 2 and "first" in passwords(world)
    assert world.status.retiring is not None and world.status.retiring.version_id == FIRST
    assert look(world) == Sleep(delivered_at + DAY)
    world.now = delivered_at + DAY - timedelta(seconds=1)
    look(world)
    assert "first" in passwords(world)
    world.now = delivered_at + DAY
    assert look(world) == Sleep(None)
    assert passwords(world) == {Credential.of(current(world).value).password.reveal()}
    assert world.status.retiring is None


def test_retire_after_sets_how_long_the_old_password_works() -> None:
    world = dual(retire_after="90m")
    rotate(world, "request")
    assert look(world) == Sleep(world.now + timedelta(minutes=90))


def test_retirement_needs_one_login_besides_the_admin_and_no_rotation() -> None:
    world = dual()
    rotate(world, "request")
    world.database.logins.clear()
    world.store.calls.clear()
    world.now += DAY
    look(world)
    assert world.database.logins == ["app", "admin"]
    assert "PutSecretValue" not in world.store.calls
    assert world.rotations == 1
    assert [entry.outcome for entry in world.status.history] == [Outcome.SUCCEEDED]


def test_next_rotation_ends_the_third_password_and_keeps_the_second() -> None:
    world = dual()
    rotate(world, "one")
    second = Credential.of(current(world).value).password.reveal()
    rotate(world, "two")
    assert "first" not in passwords(world)
    assert passwords(world) == {second, Credential.of(current(world).value).password.reveal()}
    assert world.status.retiring is not None and world.status.retiring.version_id != FIRST


def test_old_password_is_kept_until_the_target_secret_has_the_new_one() -> None:
    world = dual()
    rotate(world, "request")
    old = world.store.versions[FIRST]
    world.now += DAY
    world.target, operator = old, ModelOperator(world)
    operator.step()  # it has looked, and would deliver next
    assert "first" in passwords(world)
    operator.end()
    look(world)
    assert world.target == current(world), "delivered first"
    assert passwords(world) == {Credential.of(current(world).value).password.reveal()}


def test_nothing_is_retired_while_the_current_password_does_not_log_in() -> None:
    world = dual()
    rotate(world, "request")
    world.now += DAY
    world.database.passwords["app"] = SecretText("changed by hand")
    waiting = ModelOperator(world).run_until_it_waits()
    assert isinstance(waiting, Hold) and waiting.reason is Reason.LOGIN_FAILED
    assert "first" in passwords(world)
    assert world.status.retiring is not None


def test_admin_without_right_to_retire_is_reported_and_retried() -> None:
    world = dual()
    rotate(world, "request")
    world.now += DAY
    world.database.refuses_to_set = True
    waiting = look(world)
    assert isinstance(waiting, Retry) and "lacks a privilege" in waiting.message
    world.database.refuses_to_set = False
    look(world)
    assert world.status.retiring is None


def test_refused_retirement_is_reported_and_blocks_no_rotation() -> None:
    world = dual()
    rotate(world, "one")
    world.now += DAY
    world.database.refuses_to_set = True
    look(world)
    rotated = world.status.condition(ConditionType.ROTATED)
    assert rotated is not None and (rotated.status, rotated.reason) == ("False", Reason.RETIRE_FAILED)
    world.request = "two"
    look(world)
    assert world.status.rotation is not None or world.status.history[0].outcome is Outcome.ROLLED_BACK
    world.database.refuses_to_set = False
    world.now += timedelta(minutes=10)
    look(world)
    assert world.rotations == 2 and "first" not in passwords(world)


def test_overdue_retirement_that_waits_for_the_secret_causes_no_busy_loop() -> None:
    world = dual()
    rotate(world, "request")
    run = ModelOperator(world)
    run.step()
    assert run.run is not None
    conflict = replace(
        run.run.seen, target=TargetState(TargetKind.CONFLICT, reason=Reason.NOT_OURS, message="another's")
    )
    assert plan(conflict, world.terms, world.now + 2 * DAY) == Sleep(None)


def created_again(world: World) -> None:
    """The resource was deleted, with its status, and created again."""
    world.status, world.request = RotatedSecretStatus(), None


@pytest.mark.parametrize("secret_stays", [True, False])
def test_what_is_to_be_retired_survives_the_resource(secret_stays: bool) -> None:
    world = dual()
    rotate(world, "request")
    world.now += DAY / 2
    created_again(world)
    if not secret_stays:
        world.delete_target()
    again_at = world.now
    assert look(world) == Sleep(again_at + DAY)
    assert world.status.retiring is not None and world.status.retiring.version_id == FIRST
    world.now = again_at + DAY - timedelta(seconds=1)
    look(world)
    assert "first" in passwords(world)
    world.now = again_at + DAY
    assert look(world) == Sleep(None)
    assert passwords(world) == {Credential.of(current(world).value).password.reveal()}
    world.database.logins.clear()
    assert look(world) == Sleep(None)
    assert world.database.logins == [], "once"


def test_what_is_to_be_retired_survives_a_resource_that_leaves_the_secret_to_a_younger_one() -> None:
    """The younger one followed, so its status knows AWSCURRENT, and not how it came about."""
    world = dual()
    rotate(world, "request")
    followed = world.status
    world.status = RotatedSecretStatus(
        conditions=followed.conditions,
        current_version_id=followed.current_version_id,
        synced_version_id=followed.synced_version_id,
    )
    world.request = None
    look(world)
    world.now += DAY
    look(world)
    assert passwords(world) == {Credential.of(current(world).value).password.reveal()}


def test_rotation_of_the_new_resource_ends_the_third_password_as_ever() -> None:
    world = dual()
    rotate(world, "one")
    second = Credential.of(current(world).value).password.reveal()
    created_again(world)
    rotate(world, "two")
    assert passwords(world) == {second, Credential.of(current(world).value).password.reveal()}


def test_password_that_someone_else_has_put_into_the_secret_retires_none() -> None:
    """AWSCURRENT was not made by an operator, so nothing says that the one before is to go."""
    world = dual()
    by_hand = value("app", "by hand")
    world.database.kept["app"], world.database.passwords["app"] = SecretText("first"), SecretText("by hand")
    made = VersionId("made-by-hand")
    world.store.versions[made] = StoredVersion(made, by_hand, world.now, ARN)
    world.store.stages = {made: frozenset({Stage.CURRENT}), FIRST: frozenset({Stage.PREVIOUS})}
    created_again(world)
    look(world)
    world.now += 2 * DAY
    look(world)
    assert passwords(world) == {"first", "by hand"}
    assert world.status.retiring is None


def test_nothing_is_retired_for_a_user_that_no_login_has_shown() -> None:
    world = dual()
    rotate(world, "request")
    created_again(world)
    world.database.down = True
    look(world)
    assert world.status.retiring is None
    world.database.down = False
    look(world)
    assert world.status.retiring is not None


def test_rotation_that_is_ended_for_a_resource_that_is_gone_retires_nothing() -> None:
    """Its status is gone too, and nothing would keep what is written into it."""
    world = dual()
    rotate(world, "one")
    world.request = "two"
    operator = ModelOperator(world)
    while world.status.rotation is None:
        operator.step()
    operator.end()
    world.delete()
    ender = ModelOperator(world)
    while ender.step() is None:  # also what it does in this run after the rotation has ended
        if ender.run is not None:
            assert ender.run.seen.status.retiring is None
    assert world.journal is None


def test_kept_password_is_retired_after_a_strategy_change() -> None:
    world = dual()
    world.request = "request"
    dying = ModelOperator(world)
    while not world.rotations:
        dying.step()
    dying.end()
    world.rotation = world.rotation.model_copy(update={"strategy": Strategy.SINGLE_USER})
    look(world)
    assert world.status.retiring is not None
    world.now += DAY
    look(world)
    assert passwords(world) == {Credential.of(current(world).value).password.reveal()}


def test_retirement_of_another_users_password_survives_a_rotation() -> None:
    world = dual()
    rotate(world, "one")
    world.rotation = world.rotation.model_copy(update={"strategy": Strategy.ALTERNATING_USERS})
    rotate(world, "two")
    assert Credential.of(current(world).value).username == "app_clone"
    assert world.status.retiring is not None and world.status.retiring.user == "app"
    rotate(world, "three")
    assert world.status.retiring is None
    assert passwords(world) == {Credential.of(current(world).value).password.reveal()}


def test_single_user_rotation_that_died_after_set_is_finished_by_dual_password() -> None:
    world = settled(world_of(Strategy.SINGLE_USER))
    world.request = "request"
    dying = ModelOperator(world)
    while not dying.reports.passwords:
        dying.step()
    dying.end()
    world.rotation = world.rotation.model_copy(update={"strategy": Strategy.DUAL_PASSWORD})
    ModelOperator(world).run_until_it_waits()
    assert world.rotations == 1 and world.status.rotation is None
    assert world.database.logs_in(Credential.of(current(world).value))


def test_failed_test_leaves_the_delivered_password_as_the_only_one() -> None:
    world = dual()
    rotate(world, "one")
    delivered = Credential.of(current(world).value).password.reveal()
    operator, world.request = ModelOperator(world), "two"
    while not operator.reports.passwords:
        operator.step()
    world.database.checks_fail_for = {"app"}
    operator.run_until_it_waits()
    world.check()
    assert world.status.history[0].outcome is Outcome.ROLLED_BACK
    assert passwords(world) == {delivered}
    world.database.checks_fail_for.clear()
    world.now += timedelta(minutes=1)
    look(world)
    assert passwords(world) == {delivered, Credential.of(current(world).value).password.reveal()}
    assert world.status.retiring is not None and world.status.retiring.version_id not in (
        FIRST,
        current(world).version_id,
    )
    assert not any(Stage.PENDING in stages for stages in world.store.stages.values())


@pytest.mark.parametrize("actions", range(1, 12))
def test_retirement_is_finished_wherever_the_operator_died(actions: int) -> None:
    world = dual()
    rotate(world, "request")
    world.now += DAY
    dying = ModelOperator(world)
    for _ in range(actions):
        dying.step()
        world.check()
    dying.end()
    look(world)
    assert passwords(world) == {Credential.of(current(world).value).password.reveal()}
    assert world.status.retiring is None
    assert world.rotations == 1


@pytest.mark.parametrize("strategy", [Strategy.EXTERNAL, Strategy.RANDOM_VALUE])
def test_strategy_without_database_changes_leaves_the_old_password_and_reports_it(
    strategy: Strategy,
) -> None:
    world = dual()
    rotate(world, "request")
    before = world.status
    world.rotation = Rotation(strategy=strategy)
    world.now += 2 * DAY
    assert look(world) == Sleep(None)
    assert world.status.retiring is None
    assert "first" in passwords(world)
    (telling,) = events_for_status(before, world.status, strategy)
    assert telling.reason is EventReason.OLD_PASSWORD_LEFT
    assert FIRST in telling.message


def test_retired_password_is_reported() -> None:
    world = dual()
    rotate(world, "request")
    before = world.status
    world.now += 2 * DAY
    look(world)
    (telling,) = events_for_status(before, world.status, Strategy.DUAL_PASSWORD)
    assert telling.reason is EventReason.OLD_PASSWORD_RETIRED
