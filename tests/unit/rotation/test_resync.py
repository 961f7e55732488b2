"""Asked for a look at everything: it is taken once, as if nothing were known, and nothing is rotated by it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.status import ConditionType, Reason
from rotated_secrets.rotation.actions import Retry, Sleep
from rotated_secrets.rotation.observation import Terms
from rotated_secrets.values import SecretText
from tests.support.world import ModelOperator, World

ALL = [strategy for strategy in Strategy if strategy is not Strategy.RANDOM_VALUE]


@dataclass
class WorldWithResync(World):
    """A world in whose resource somebody may ask for a look."""

    resync: str | None = None

    @property
    def terms(self) -> Terms:
        return replace(super().terms, resync=self.resync)


def settled(strategy: Strategy = Strategy.ALTERNATING_USERS, **rotation: object) -> WorldWithResync:
    """Looked at, Ready, and with nothing to do."""
    world = WorldWithResync(Rotation.model_validate({"strategy": strategy, **rotation}))
    look(world)
    world.database.logins.clear()
    return world


def look(world: World) -> object:
    waiting = ModelOperator(world).run_until_it_waits()
    world.check()
    return waiting


@pytest.mark.parametrize("strategy", ALL)
def test_a_login_that_is_proven_is_tried_again_once(strategy: Strategy) -> None:
    world = settled(strategy)
    look(world)
    assert world.database.logins == [], "a look that nobody asked for logs in"
    world.resync = "please"
    for _ in range(3):
        assert look(world) == Sleep(None)
    assert world.database.logins == ["app"]
    assert world.status.handled_requests.resync == "please"
    world.resync = "again"
    look(world)
    assert world.database.logins == ["app", "app"]


def test_it_rotates_nothing_and_writes_nothing_where_all_is_well() -> None:
    world = settled()
    before, target = world.status, world.target
    world.store.calls.clear()
    world.resync = "please"
    look(world)
    assert world.rotations == 0
    assert set(world.store.calls) == {"DescribeSecret", "GetSecretValue"}
    assert world.target is target
    assert world.status.conditions == before.conditions


def test_a_password_that_was_changed_behind_our_back_is_found() -> None:
    world = settled(Strategy.SINGLE_USER)  # the model holds the others to a password that nobody else may change
    world.database.passwords["app"] = SecretText("somebody else's")
    look(world)
    assert ready(world) == ("True", Reason.CREDENTIAL_WORKS)
    world.resync = "please"
    look(world)
    assert ready(world) == ("False", Reason.LOGIN_FAILED)
    assert world.status.handled_requests.resync == "please"
    world.database.passwords["app"] = SecretText("first")
    world.resync = "and now"
    look(world)
    assert ready(world) == ("True", Reason.CREDENTIAL_WORKS)


def ready(world: World) -> tuple[str, str]:
    found = world.status.condition(ConditionType.READY)
    assert found is not None
    return found.status, found.reason


def test_it_is_not_served_by_a_look_that_saw_nothing() -> None:
    world = settled()
    world.database.down = True
    world.resync = "please"
    look(world)
    assert world.status.handled_requests.resync is None
    world.database.down = False
    look(world)
    assert world.status.handled_requests.resync == "please"
    assert world.database.logins == ["app"]


def test_a_suspended_resource_is_looked_at_all_the_same() -> None:
    world = settled(suspend=True)
    world.resync = "please"
    look(world)
    assert world.database.logins == ["app"]
    assert world.status.handled_requests.resync == "please"


def test_a_value_without_a_database_has_nothing_to_log_in_to() -> None:
    world = WorldWithResync(Rotation.model_validate({"strategy": Strategy.RANDOM_VALUE}), resync="please")
    assert look(world) == Sleep(None)
    assert world.database.logins == []
    assert world.status.handled_requests.resync == "please"


@pytest.mark.parametrize("strategy", [each for each in ALL if each is not Strategy.EXTERNAL])
def test_a_rotation_asked_for_at_the_same_time_serves_both(strategy: Strategy) -> None:
    world = settled(strategy)
    world.request, world.resync = "rotate", "look"
    look(world)
    assert world.rotations == 1
    assert (world.status.handled_requests.rotate, world.status.handled_requests.resync) == ("rotate", "look")
    assert not isinstance(look(world), Retry)
    assert world.rotations == 1
