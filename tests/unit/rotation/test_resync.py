"""A resync checks everything once, as if nothing were known, and rotates nothing."""

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
    """A world whose resource can request a resync."""

    resync: str | None = None

    @property
    def terms(self) -> Terms:
        return replace(super().terms, resync=self.resync)


def settled(strategy: Strategy = Strategy.ALTERNATING_USERS, **rotation: object) -> WorldWithResync:
    """A world that is Ready and has nothing to do."""
    world = WorldWithResync(Rotation.model_validate({"strategy": strategy, **rotation}))
    look(world)
    world.database.logins.clear()
    return world


def look(world: World) -> object:
    waiting = ModelOperator(world).run_until_it_waits()
    world.check()
    return waiting


@pytest.mark.parametrize("strategy", ALL)
def test_resync_tries_a_proven_login_again_once(strategy: Strategy) -> None:
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


def test_resync_without_findings_rotates_and_writes_nothing() -> None:
    world = settled()
    before, target = world.status, world.target
    world.store.calls.clear()
    world.resync = "please"
    look(world)
    assert world.rotations == 0
    assert set(world.store.calls) == {"DescribeSecret", "GetSecretValue"}
    assert world.target is target
    assert world.status.conditions == before.conditions


def test_resync_finds_a_password_that_others_changed() -> None:
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


def test_resync_is_not_served_while_the_database_is_unreachable() -> None:
    world = settled()
    world.database.down = True
    world.resync = "please"
    look(world)
    assert world.status.handled_requests.resync is None
    world.database.down = False
    look(world)
    assert world.status.handled_requests.resync == "please"
    assert world.database.logins == ["app"]


def test_resync_works_for_a_suspended_resource() -> None:
    world = settled(suspend=True)
    world.resync = "please"
    look(world)
    assert world.database.logins == ["app"]
    assert world.status.handled_requests.resync == "please"


def test_resync_of_a_value_without_database_tries_no_login() -> None:
    world = WorldWithResync(Rotation.model_validate({"strategy": Strategy.RANDOM_VALUE}), resync="please")
    assert look(world) == Sleep(None)
    assert world.database.logins == []
    assert world.status.handled_requests.resync == "please"


@pytest.mark.parametrize("strategy", [each for each in ALL if each is not Strategy.EXTERNAL])
def test_rotation_requested_together_with_a_resync_serves_both(strategy: Strategy) -> None:
    world = settled(strategy)
    world.request, world.resync = "rotate", "look"
    look(world)
    assert world.rotations == 1
    assert (world.status.handled_requests.rotate, world.status.handled_requests.resync) == ("rotate", "look")
    assert not isinstance(look(world), Retry)
    assert world.rotations == 1
