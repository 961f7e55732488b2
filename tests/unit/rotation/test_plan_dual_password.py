"""DualPassword: the old password goes on working beside the new one, and is taken away when its time has come."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.status import Outcome, Reason
from rotated_secrets.rotation.actions import Hold, Retry, Sleep
from rotated_secrets.values import Credential, SecretText, Stage
from tests.unit.rotation.test_plan import current, rotate, settled, world_of
from tests.unit.rotation.world import FIRST, ModelOperator, World

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


def test_old_password_lives_for_a_day_after_the_new_one_was_delivered() -> None:
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


def test_retire_after_says_how_long_it_lives() -> None:
    world = dual(retire_after="90m")
    rotate(world, "request")
    assert look(world) == Sleep(world.now + timedelta(minutes=90))


def test_retiring_costs_one_login_beside_the_admins_and_no_rotation() -> None:
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


def test_old_password_is_kept_as_long_as_the_secret_has_not_the_new_one() -> None:
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


def test_admin_that_may_not_retire_is_told_and_tried_again() -> None:
    world = dual()
    rotate(world, "request")
    world.now += DAY
    world.database.refuses_to_set = True
    waiting = look(world)
    assert isinstance(waiting, Retry) and "lacks a privilege" in waiting.message
    world.database.refuses_to_set = False
    look(world)
    assert world.status.retiring is None


def test_failed_test_leaves_the_delivered_password_as_the_only_one() -> None:
    world = dual()
    rotate(world, "one")
    delivered = Credential.of(current(world).value).password.reveal()
    operator, world.request = ModelOperator(world), "two"
    while not operator.reports:
        operator.step()
    world.database.checks_fail_for = {"app"}
    operator.run_until_it_waits()
    world.check()
    assert world.status.history[0].outcome is Outcome.ROLLED_BACK
    assert passwords(world) == {delivered}
    assert world.status.retiring is None, "what there was to retire ended with the roll-back"
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
