"""External: the operator asks AWS once, waits and follows AWSCURRENT; it never writes the secret."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.status import Claim, ConditionType, Outcome, Reason, RotatedSecretStatus, Step, Trigger
from rotated_secrets.delivery.target import TargetKind
from rotated_secrets.rotation.actions import Hold, Sleep, Waiting
from rotated_secrets.rotation.external import LONGEST_PAUSE, ROTATION_TIMEOUT
from rotated_secrets.rotation.observation import Login, with_stage_moved
from rotated_secrets.rotation.policies import ATTEMPTS, LONGEST_BACKOFF
from rotated_secrets.rotation.strategies import successor
from rotated_secrets.secretstores.base import StoredVersion, StoreRefused
from rotated_secrets.values import Arn, Credential, SecretText, Stage, VersionId
from tests.support.fuzz import model_settings
from tests.support.world import ARN, CREATED, FIRST, Call, ModelOperator, World, value

ASKED = Arn(f"{ARN}|External")
"""The name from which the ids of versions are computed that AWS is asked for."""
READING = {"DescribeSecret", "GetSecretValue"}


@dataclass
class RotationFunction:
    """The rotation function that AWS invokes: it creates the requested version, or another one on its own schedule."""

    world: World
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def pending(self) -> VersionId | None:
        labelled = (v for v, labels in self.world.store.stages.items() if labels == {Stage.PENDING})
        return next(labelled, None)

    def begin_by_itself(self) -> None:
        if self.pending is None:
            self.world.store.stage_pending(VersionId(f"by-aws-itself-{next(self.numbers)}"))

    def finish(self, *, works: bool = True, leaves_label: bool = True) -> None:
        """Run all four steps; it depends on the function which version carries AWSPENDING afterwards."""
        made, store = self.pending, self.world.store
        assert made is not None
        password = f"password-{next(self.numbers)}"
        store.versions[made] = StoredVersion(made, value("app", password), self.world.now, ARN)
        self.world.database.passwords["app"] = SecretText(password if works else "something else")
        current = next(v for v, labels in store.stages.items() if Stage.CURRENT in labels)
        store.stages = with_stage_moved(store.stages, Stage.CURRENT, to=made, remove_from=current)
        if not leaves_label:
            store.stages = with_stage_moved(store.stages, Stage.PENDING, remove_from=made)

    def give_up(self) -> None:
        """A person removes AWSPENDING from the version that the function could not finish."""
        self.world.store.stages = with_stage_moved(self.world.store.stages, Stage.PENDING, remove_from=self.pending)


def world_of(**rotation: object) -> World:
    world = World(Rotation.model_validate({"strategy": Strategy.EXTERNAL} | rotation))
    world.store.rotation_enabled = True
    look(world)
    return world


def look(world: World) -> Waiting:
    return ModelOperator(world).run_until_it_waits()


def asked(world: World) -> int:
    return world.store.calls.count("RotateSecret")


# ---- following


def test_without_schedule_and_request_it_only_follows_versions_of_others() -> None:
    world = world_of()
    function = RotationFunction(world)
    for _ in range(3):
        function.begin_by_itself()
        look(world)
        function.finish()
        assert look(world) == Sleep(None)
        assert world.target is not None
        assert world.target.value == world.store.get(ARN, stage=Stage.CURRENT).value
    assert set(world.store.calls) <= READING
    assert world.status.history == ()


def test_value_that_does_not_log_in_is_not_delivered() -> None:
    world = world_of()
    before = world.target
    function = RotationFunction(world)
    function.begin_by_itself()
    function.finish(works=False)
    look(world)
    assert world.target == before
    ready = world.status.condition(ConditionType.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", Reason.LOGIN_FAILED)


def test_value_is_delivered_where_its_database_cannot_be_reached() -> None:
    world = world_of()
    function = RotationFunction(world)
    function.begin_by_itself()
    function.finish()
    world.database.down = True
    look(world)
    assert world.target == world.store.get(ARN, stage=Stage.CURRENT)


@pytest.mark.parametrize("leaves_label", [True, False])
def test_pending_label_left_by_a_function_is_not_removed(leaves_label: bool) -> None:
    world = world_of()
    function = RotationFunction(world)
    function.begin_by_itself()
    function.finish(leaves_label=leaves_label)
    before = world.store.stages
    look(world)
    assert world.store.stages == before


# ---- asking


def test_request_asks_aws_once_and_is_served_when_the_version_is_current() -> None:
    world = world_of()
    world.request = "now"
    waiting = look(world)
    assert isinstance(waiting, Sleep)
    assert waiting.until is not None
    assert world.status.rotation is not None
    assert world.store.rotations == [world.status.rotation.version_id] == [successor(ASKED, FIRST, 0)]
    RotationFunction(world).finish()
    assert look(world) == Sleep(None)
    entry = world.status.history[0]
    assert (entry.outcome, entry.version_id, entry.trigger) == (
        Outcome.SUCCEEDED,
        successor(ASKED, FIRST, 0),
        Trigger.ANNOTATION,
    )
    assert world.status.handled_requests.rotate == "now"
    assert world.target is not None
    assert world.target.version_id == entry.version_id
    assert asked(world) == 1
    assert set(world.store.calls) <= {*READING, "RotateSecret"}


def test_schedule_asks_aws_and_counts_rotations_that_aws_started() -> None:
    world = world_of(schedule="rate(1 day)")
    function = RotationFunction(world)
    world.now = CREATED + timedelta(hours=20)
    function.begin_by_itself()
    function.finish()
    look(world)
    world.now = CREATED + timedelta(hours=26)
    look(world)
    assert asked(world) == 0
    world.now = CREATED + timedelta(hours=50)
    look(world)
    assert asked(world) == 1


def test_running_rotation_serves_the_request_too() -> None:
    world = world_of()
    function = RotationFunction(world)
    function.begin_by_itself()
    world.request = "now"
    look(world)
    assert world.store.rotations == []
    function.finish()
    look(world)
    assert world.status.handled_requests.rotate == "now"
    assert world.status.history[0].version_id == world.store.get(ARN, stage=Stage.CURRENT).version_id


def test_crash_after_the_request_to_aws_causes_no_second_rotation() -> None:
    world = world_of()
    world.request = "now"
    operator = ModelOperator(world)
    while asked(world) == 0:
        operator.step()
    operator.end()
    assert world.status.rotation is not None
    assert world.status.rotation.asked_at is None
    look(world)
    assert len(world.store.rotations) == asked(world) == 1


@pytest.mark.parametrize("finished", [False, True])
def test_answer_that_was_lost_is_no_refusal_of_the_attempt_after_it(
    monkeypatch: pytest.MonkeyPatch, finished: bool
) -> None:
    """The SDK repeats a request whose answer was lost, and AWS refuses it while the rotation runs."""
    world = world_of()
    function = RotationFunction(world)
    rotate = world.store.rotate

    def begin_and_refuse(arn: Arn, version_id: VersionId) -> None:
        rotate(arn, version_id)
        if finished:
            function.finish()
        raise StoreRefused("a previous rotation isn't complete")

    monkeypatch.setattr(world.store, "rotate", begin_and_refuse)
    world.request = "again"
    look(world)
    if not finished:
        claim = world.status.rotation
        assert claim is not None
        assert (claim.attempt, claim.failure) == (1, None)
        assert claim.asked_at is not None
        function.finish()
    look(world)
    assert [entry.outcome for entry in world.status.history] == [Outcome.SUCCEEDED]
    assert asked(world) == 1


def test_pauses_grow_with_the_duration_of_the_rotation() -> None:
    world = world_of()
    world.request = "now"
    pauses = []
    for _ in range(12):
        waiting = look(world)
        assert isinstance(waiting, Sleep)
        assert waiting.until is not None
        pauses.append(waiting.until - world.now)
        world.now = waiting.until
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE


def test_rotation_that_never_ends_is_asked_for_again_until_it_ends() -> None:
    world = world_of()
    world.request = "now"
    for attempt in range(1, ATTEMPTS + 3):
        look(world)
        assert world.status.rotation is not None
        assert world.status.rotation.attempt == attempt
        world.now += ROTATION_TIMEOUT
        look(world)
        assert world.status.history[0].outcome is Outcome.FAILED
        assert "rotation function" in world.status.history[0].message
        assert (world.status.handled_requests.rotate == "now") is (attempt >= ATTEMPTS), "answered, and goes on"
        RotationFunction(world).give_up()
        world.now += 2 * LONGEST_BACKOFF
    assert len(set(world.store.rotations)) == ATTEMPTS + 2
    assert world.target is not None
    assert world.target.version_id == FIRST
    look(world)
    RotationFunction(world).finish()
    look(world)
    assert world.status.rotation is None
    assert world.status.history[0].outcome is Outcome.SUCCEEDED


def test_request_resumes_a_stuck_rotation() -> None:
    """AWS: "A previous rotation isn't complete. That rotation will be reattempted." """
    world = world_of()
    function = RotationFunction(world)
    world.request = "now"
    look(world)
    world.now += ROTATION_TIMEOUT
    look(world)
    world.now += timedelta(minutes=10)
    look(world)
    assert asked(world) == 2
    function.finish()
    look(world)
    assert world.status.handled_requests.rotate == "now"


def test_aws_is_not_asked_if_no_rotation_is_configured() -> None:
    world = world_of()
    world.store.rotation_enabled = False
    world.request = "now"
    look(world)
    assert asked(world) == 0
    assert world.status.history[0].outcome is Outcome.FAILED
    assert "aws secretsmanager rotate-secret" in world.status.history[0].message
    world.store.rotation_enabled = True
    world.now += timedelta(minutes=1)
    look(world)
    assert asked(world) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"suspend": True}, Reason.SUSPENDED), ({}, Reason.UNSYNCED)],
    ids=["suspended", "target Secret not in sync"],
)
def test_reasons_that_hold_a_rotation_also_hold_a_request_to_aws(changes: dict[str, object], reason: Reason) -> None:
    world = world_of(**changes)
    if reason is Reason.UNSYNCED:
        function = RotationFunction(world)
        function.begin_by_itself()
        function.finish(works=False)
    world.request = "now"
    waiting = look(world)
    assert isinstance(waiting, Hold)
    assert waiting.reason is reason
    assert asked(world) == 0


def test_only_one_resource_asks_aws_and_all_follow() -> None:
    world = world_of()
    function = RotationFunction(world)
    function.begin_by_itself()
    function.finish()
    world.request = "now"
    operator = ModelOperator(world)
    operator.step()
    assert operator.run is not None
    operator.run.seen = replace(operator.run.seen, elsewhere="another was there first")
    waiting = operator.run_until_it_waits()
    assert waiting == Hold(Reason.MANAGED_ELSEWHERE, "held: another was there first")
    assert asked(world) == 0
    assert world.target == world.store.get(ARN, stage=Stage.CURRENT)


def test_request_during_a_rotation_is_served_next() -> None:
    world = world_of()
    function = RotationFunction(world)
    world.request = "first"
    look(world)
    world.request = "second"
    look(world)
    assert len(world.store.rotations) == 1
    function.finish()
    look(world)
    function.finish()
    look(world)
    assert len(world.store.rotations) == 2
    assert world.status.handled_requests.rotate == "second"


def test_own_rotation_in_progress_holds_external() -> None:
    """A person changes the strategy while a password is being set."""
    world = world_of()
    claim = Claim(
        trigger=Trigger.ANNOTATION,
        request="now",
        from_version_id=FIRST,
        version_id=successor(ASKED, FIRST, 0),
        step=Step.SET,
        started_at=CREATED,
    )
    world.status = world.status.model_copy(update={"rotation": claim})
    waiting = look(world)
    assert isinstance(waiting, Hold)
    assert "set rotation.strategy back" in waiting.message
    assert asked(world) == 0


# ---- any order of events


class FollowingWorld(RuleBasedStateMachine):
    """Two operators that do not know each other, and AWS, which knows neither."""

    @initialize(schedule=st.sampled_from([None, "rate(1 day)"]), immediately=st.booleans())
    def begin(self, schedule: str | None, immediately: bool) -> None:
        self.world = World(Rotation(strategy=Strategy.EXTERNAL, schedule=schedule, rotate_immediately=immediately))
        self.world.store.rotation_enabled = True
        self.function = RotationFunction(self.world)
        self.operators = [ModelOperator(self.world), ModelOperator(self.world)]
        self.requests = self.days = self.failures = 0
        self.late = False
        self.in_flight: list[Call] = []
        self.last = self.world.status
        self.delivered: set[VersionId] = set()

    def one_step(self, which: int) -> None:
        before, operator = self.world.target, self.operators[which]
        operator.step()
        delivered = self.world.target
        if delivered is not None and delivered != before and delivered.version_id not in self.delivered:
            assert operator.run is not None
            assert operator.run.seen.login in (Login.WORKS, Login.UNREACHABLE), "delivered, though it did not log in"
            self.delivered.add(delivered.version_id)
        self.note_failures(self.world.status)

    def note_failures(self, status: RotatedSecretStatus) -> None:
        if status.history[:1] != self.last.history[:1]:
            self.failures += status.history[0].outcome is Outcome.FAILED
        self.last = status

    @rule(which=st.integers(0, 1), steps=st.integers(1, 12))
    def work(self, which: int, steps: int) -> None:
        for _ in range(steps):
            self.one_step(which)

    @rule(which=st.integers(0, 1))
    def crash(self, which: int) -> None:
        self.operators[which].end()

    @rule(which=st.integers(0, 1))
    def freeze(self, which: int) -> None:
        if (call := self.operators[which].freeze()) is not None:
            self.in_flight.append(call)

    @precondition(lambda self: self.in_flight)
    @rule()
    def a_late_call_arrives(self) -> None:
        self.late = True
        with contextlib.suppress(StoreRefused):
            self.in_flight.pop(0)()

    @rule()
    def ask(self) -> None:
        self.requests += 1
        self.world.request = f"request {self.requests}"

    @rule()
    def a_day_goes_by(self) -> None:
        self.days += 1
        self.world.now += timedelta(days=1)

    @rule(minutes=st.integers(1, 40))
    def time_goes_by(self, minutes: int) -> None:
        self.world.now += timedelta(minutes=minutes)

    @rule()
    def aws_begins_by_itself(self) -> None:
        self.function.begin_by_itself()

    @precondition(lambda self: self.function.pending)
    @rule(works=st.booleans(), leaves_label=st.booleans())
    def aws_finishes(self, works: bool, leaves_label: bool) -> None:
        self.function.finish(works=works, leaves_label=leaves_label)

    @precondition(lambda self: self.function.pending)
    @rule()
    def aws_gives_up(self) -> None:
        self.function.give_up()

    @rule(down=st.booleans())
    def the_database_stops_or_starts(self, down: bool) -> None:
        self.world.database.down = down

    @rule()
    def someone_edits_the_target_secret(self) -> None:
        self.world.edit_target()

    @invariant()
    def nothing_is_written(self) -> None:
        assert set(self.world.store.calls) <= {*READING, "RotateSecret"}

    @invariant()
    def aws_is_asked_once_for_each_slot_request_and_failure(self) -> None:
        assert self.late or len(self.world.store.rotations) <= 1 + self.requests + self.days + self.failures

    def teardown(self) -> None:
        """After any events, once AWS rotates when asked, one operator alone completes everything."""
        if not hasattr(self, "world"):
            return
        world = self.world
        for each in self.operators:
            each.end()
        world.database.down = False
        for _ in range(60):
            world.database.passwords["app"] = Credential.of(world.store.get(ARN, stage=Stage.CURRENT).value).password
            waiting = self.operators[0].run_until_it_waits()
            if isinstance(waiting, Sleep) and world.status.rotation is None:
                break
            if self.function.pending is not None:
                self.function.finish()
            world.now += timedelta(minutes=10)
        assert world.status.rotation is None, f"{world.status.rotation} is never served: {waiting}"
        assert world.status.handled_requests.rotate == world.request
        assert world.target is not None
        assert world.look_at_target(world.store.get(ARN, stage=Stage.CURRENT)).kind is TargetKind.EQUAL


TestFollowingWorld = FollowingWorld.TestCase
TestFollowingWorld.settings = model_settings(60, steps=40)
