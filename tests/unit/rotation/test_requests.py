"""Endless requests are served at a limited rate, and no scheduled rotation is lost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.status import Outcome, Reason, Trigger
from rotated_secrets.rotation.actions import Hold, Sleep
from rotated_secrets.rotation.observation import Terms
from tests.support.world import ModelOperator, World

INTERVAL, BURST = timedelta(minutes=10), 10


@dataclass
class BoundedWorld(World):
    """A world whose operator limits requests."""

    @property
    def terms(self) -> Terms:
        return replace(super().terms, request_interval=INTERVAL)


def world_of(**rotation: object) -> BoundedWorld:
    world = BoundedWorld(Rotation.model_validate({"strategy": Strategy.ALTERNATING_USERS, **rotation}))
    look(world)
    return world


def look(world: World) -> object:
    waiting = ModelOperator(world).run_until_it_waits()
    world.check()
    return waiting


def ask(world: World, request: str) -> object:
    world.request = request
    return look(world)


def used_up(world: World) -> None:
    for number in range(BURST):
        assert isinstance(ask(world, str(number)), Sleep)
        world.now += timedelta(seconds=1)


def test_ten_requests_are_served_at_once_and_the_next_when_the_limit_allows() -> None:
    world = world_of()
    began = world.now
    used_up(world)
    held = ask(world, "one more")
    assert isinstance(held, Hold)
    assert held.reason is Reason.TOO_MANY_REQUESTS
    assert (began + BURST * INTERVAL).strftime("%Y-%m-%dT%H:%M:%SZ") in held.message
    versions = len(world.store.versions)
    for number in range(20):
        assert isinstance(ask(world, f"again {number}"), Hold)
    assert len(world.store.versions) == versions
    world.now = began + BURST * INTERVAL
    assert isinstance(look(world), Sleep)
    assert world.status.handled_requests.rotate == "again 19", "the last one, and one rotation for all"
    assert len(world.store.versions) == versions + 1


def test_endless_requests_cause_ten_rotations_in_a_hundred_minutes() -> None:
    world = world_of()
    used_up(world)
    versions, minutes = len(world.store.versions), 200
    for minute in range(minutes):
        world.now += timedelta(minutes=1)
        ask(world, f"minute {minute}")
    assert BURST < len(world.store.versions) - versions <= minutes // 100 * BURST


def test_scheduled_rotation_does_not_wait_for_a_limited_request_nor_serve_it() -> None:
    world = world_of(schedule="cron(0 2 ? * * *)")
    world.now = world.now.replace(hour=1, minute=50) + timedelta(days=1)
    used_up(world)
    assert isinstance(ask(world, "one more"), Hold)
    world.now = world.now.replace(hour=2, minute=0, second=0)
    assert isinstance(look(world), Hold)
    assert world.status.history[0].trigger is Trigger.SCHEDULE
    assert world.status.handled_requests.slot == world.now
    assert world.status.handled_requests.rotate == str(BURST - 1)
    world.now += BURST * INTERVAL
    look(world)
    assert world.status.handled_requests.rotate == "one more", "and is not lost by it"


def test_external_requests_have_the_same_limit() -> None:
    world = world_of(strategy=Strategy.EXTERNAL)
    entry = {
        "version_id": "v",
        "trigger": Trigger.ANNOTATION,
        "started_at": world.now,
        "finished_at": world.now,
        "outcome": Outcome.SUCCEEDED,
        "step": "FinishSecret",
        "attempt": 1,
        "message": "",
    }
    world.status = world.status.model_validate(world.status.model_dump() | {"history": [entry] * BURST})
    held = ask(world, "one more")
    assert isinstance(held, Hold)
    assert held.reason is Reason.TOO_MANY_REQUESTS


def test_limited_request_does_not_delay_the_schedule() -> None:
    world = world_of(schedule="rate(1 hour)")
    used_up(world)
    held = ask(world, "one more")
    assert isinstance(held, Hold)
    assert held.until is not None
    assert held.until <= world.now + timedelta(hours=1) < world.now + BURST * INTERVAL


def test_retries_of_a_request_count_once() -> None:
    world = world_of()
    used_up(world)
    tried_again = [
        entry.model_copy(update={"attempt": 2, "outcome": Outcome.FAILED}) for entry in world.status.history[:1]
    ]
    world.status = world.status.model_copy(update={"history": (*tried_again, *world.status.history[1:])})
    assert isinstance(ask(world, "one more"), Sleep)
