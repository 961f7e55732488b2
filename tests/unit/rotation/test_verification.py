"""A clone has its rights from others: whether it still has them is seen again and again, and told where it has not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.status import ConditionType, Reason
from rotated_secrets.rotation.actions import ProbeCurrent, Sleep, Waiting
from rotated_secrets.rotation.observation import Login, Observation
from rotated_secrets.rotation.plan import plan
from rotated_secrets.rotation.policies import VERIFY_EVERY, next_verification
from tests.support.world import ModelOperator, World


def look(world: World) -> Waiting:
    waiting = ModelOperator(world).run_until_it_waits()
    world.check()
    return waiting


def with_clone(**rotation: object) -> World:
    """A world that has rotated once, so that pods use the clone."""
    world = World(Rotation.model_validate({"strategy": Strategy.ALTERNATING_USERS, **rotation}), request="once")
    look(world)
    assert world.status.active_user == "app_clone"
    world.database.logins.clear()
    return world


def ready(world: World) -> tuple[str, str]:
    found = world.status.condition(ConditionType.READY)
    assert found is not None
    return found.status, found.reason


def test_a_clone_logs_in_again_some_hours_after_it_has() -> None:
    world = with_clone()
    waiting = look(world)
    assert isinstance(waiting, Sleep)
    assert waiting.until is not None
    assert VERIFY_EVERY / 2 <= waiting.until - world.now <= VERIFY_EVERY
    assert world.database.logins == []
    world.now = waiting.until + timedelta(seconds=1)
    again = look(world)
    assert world.database.logins == ["app_clone"]
    assert isinstance(again, Sleep)
    assert again.until is not None
    assert again.until > world.now
    assert world.status.last_login_time == world.now.replace(microsecond=0)


@pytest.mark.parametrize("strategy", [Strategy.SINGLE_USER, Strategy.ALTERNATING_USERS])
def test_a_user_with_rights_of_its_own_is_left_alone(strategy: Strategy) -> None:
    world = World(Rotation(strategy=strategy))
    look(world)
    world.database.logins.clear()
    world.now += 100 * VERIFY_EVERY
    assert look(world) == Sleep(None)
    assert world.database.logins == []


def test_rights_that_a_clone_lost_are_told_and_looked_at_until_they_are_back() -> None:
    world = with_clone()
    world.database.lacks_rights.add("app_clone")
    world.now += VERIFY_EVERY
    look(world)
    assert ready(world) == ("False", Reason.RIGHTS_MISSING)
    found = world.status.condition(ConditionType.READY)
    assert found is not None
    assert "app_clone is not a member of app" in found.message
    world.now += timedelta(minutes=5)
    look(world)
    assert ready(world) == ("False", Reason.RIGHTS_MISSING)
    world.database.lacks_rights.clear()
    look(world)
    assert ready(world) == ("True", Reason.CREDENTIAL_WORKS)


def test_verify_queries_that_fail_are_no_rights_that_are_missing() -> None:
    world = with_clone(verifyQueries=["SELECT 1"])
    world.database.checks_fail_for.add("app_clone")
    world.now += VERIFY_EVERY
    look(world)
    assert ready(world) == ("True", Reason.CREDENTIAL_WORKS)


def test_a_clone_that_lost_its_rights_does_not_block_the_rotation_to_its_base_user() -> None:
    world = with_clone()
    world.database.lacks_rights.add("app_clone")
    world.request = "twice"
    look(world)
    assert world.status.active_user == "app"
    assert ready(world) == ("True", Reason.CREDENTIAL_WORKS)


def test_a_login_time_of_an_earlier_version_is_not_known_and_made() -> None:
    world = with_clone()
    world.status = world.status.model_copy(update={"last_login_time": None})
    look(world)
    assert world.database.logins == ["app_clone"]
    assert world.status.last_login_time is not None


@pytest.mark.parametrize("login", [Login.REJECTED, Login.UNREACHABLE])
def test_a_login_that_has_just_failed_is_not_tried_again_for_its_age(login: Login) -> None:
    world = with_clone()
    current = world.store.get(world.terms.arn, version_id=world.was_current[-1])
    seen = Observation.first(world.terms, world.store.stages, current, world.status, world.look_at_target(current))
    late = world.now + 2 * VERIFY_EVERY
    assert plan(seen, world.terms, late) == ProbeCurrent()
    assert next_verification(seen, world.terms, late) is not None
    assert next_verification(replace(seen, login=login), world.terms, late) is None


def test_logins_that_follow_each_other_are_not_all_written_down() -> None:
    """The status is not to be written at each look that logs in for another reason."""
    world = with_clone(verifyQueries=["SELECT 1"])
    written = world.status.last_login_time
    world.now += timedelta(hours=1)
    world.status = world.status.with_condition(
        ConditionType.READY, False, Reason.LOGIN_FAILED, "", now=world.now, generation=1
    )
    look(world)
    assert world.database.logins == ["app_clone"]
    assert world.status.last_login_time == written
    assert written is not None
