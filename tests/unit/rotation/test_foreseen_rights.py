"""A clone that could not be made equal to its base user is found before anything is made."""

from __future__ import annotations

import pytest

from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.status import ConditionType
from rotated_secrets.rotation.actions import Waiting
from tests.support.world import ModelOperator, World

WHY = "app_clone lacks REPLICATION; run: ALTER ROLE rotator REPLICATION"


def look(world: World) -> Waiting:
    waiting = ModelOperator(world).run_until_it_waits()
    world.check()
    return waiting


def unequal(**rotation: object) -> World:
    world = World(Rotation.model_validate({"strategy": Strategy.ALTERNATING_USERS, **rotation}), request="once")
    world.database.unequal = WHY
    return world


def test_nothing_is_made_where_the_clone_would_lack_something() -> None:
    world = unequal()
    look(world)
    rotated = world.status.condition(ConditionType.ROTATED)
    assert rotated is not None
    assert WHY in rotated.message
    assert "PutSecretValue" not in world.store.calls
    assert world.database.set_with == []


@pytest.mark.parametrize("mode", ["Report", "Ignore"])
def test_differences_that_are_only_told_stop_nothing(mode: str) -> None:
    world = unequal(rights=mode)
    look(world)
    assert world.status.active_user == "app_clone"


def test_the_turn_of_the_base_user_is_not_stopped_by_what_its_clone_lacks() -> None:
    world = World(Rotation(strategy=Strategy.ALTERNATING_USERS), request="once")
    look(world)
    world.database.unequal = WHY
    world.request = "twice"
    look(world)
    assert world.status.active_user == "app"
