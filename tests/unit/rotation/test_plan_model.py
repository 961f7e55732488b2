"""The plan and its steps against a model of the world: crashes between any two side effects, and two operators at once.

The world asserts the invariants of single calls; the machine those that hold between calls and at rest.
"""

from __future__ import annotations

import contextlib
from datetime import timedelta

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rotated_secrets.api.rollout import Workload, WorkloadKind
from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.status import HISTORY_LENGTH, Outcome
from rotated_secrets.delivery.restart import RestartKind
from rotated_secrets.delivery.target import TargetKind
from rotated_secrets.rotation.actions import Sleep
from rotated_secrets.secretstores.base import StoreRefused, VersionExists
from rotated_secrets.values import Credential, Stage
from tests.support.fuzz import STRATEGIES, model_settings
from tests.support.world import ARN, CLONE_SUFFIX, Call, ModelOperator, ModelWorkload, World

OPERATORS = st.integers(0, 1)
WORKLOADS = (
    Workload(kind=WorkloadKind.DEPLOYMENT, name="api"),
    Workload(kind=WorkloadKind.STATEFUL_SET, name="queue"),
)


class RotatingWorld(RuleBasedStateMachine):
    """Two operators that do not know each other."""

    @initialize(
        strategy=st.sampled_from(STRATEGIES),
        schedule=st.sampled_from([None, "rate(1 day)"]),
        immediately=st.booleans(),
    )
    def begin(self, strategy: Strategy, schedule: str | None, immediately: bool) -> None:
        queries = () if strategy is Strategy.RANDOM_VALUE else ("SELECT 1",)
        rotation = Rotation(
            strategy=strategy, schedule=schedule, rotate_immediately=immediately, verify_queries=queries
        )
        self.world = World(rotation, workloads={workload: ModelWorkload() for workload in WORKLOADS})
        self.operators = [ModelOperator(self.world), ModelOperator(self.world)]
        self.days = self.asked = 0
        self.late = False
        self.in_flight: list[Call] = []

    @rule(which=OPERATORS, steps=st.integers(1, 12))
    def work(self, which: int, steps: int) -> None:
        for _ in range(steps):
            self.operators[which].step()
            self.world.check()

    @rule(which=OPERATORS)
    def crash(self, which: int) -> None:
        self.operators[which].end()

    @rule(which=OPERATORS)
    def freeze(self, which: int) -> None:
        call = self.operators[which].freeze()
        if call is not None:
            self.in_flight.append(call)

    @precondition(lambda self: self.in_flight)
    @rule()
    def a_late_call_arrives(self) -> None:
        self.late = self.world.late_call = True
        with contextlib.suppress(StoreRefused, VersionExists):
            self.in_flight.pop(0)()
        self.world.late_call = False

    @rule()
    def ask(self) -> None:
        self.asked += 1
        self.world.request = f"request {self.asked}"

    @rule()
    def a_day_goes_by(self) -> None:
        self.days += 1
        self.world.now += timedelta(days=1)

    @rule(seconds=st.integers(1, 300))
    def time_goes_by(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    @rule(days=st.sampled_from([-400, -1, 1, 400]))
    def the_clock_of_the_operators_is_wrong(self, days: int) -> None:
        """What is due by it runs once; and what it wrote is not waited for once it is right again."""
        self.days += 2
        self.world.clock_is_off = timedelta(days=days)

    @rule()
    def their_clock_is_right_again(self) -> None:
        self.world.clock_is_off = timedelta()

    @rule(down=st.booleans())
    def the_database_stops_or_starts(self, down: bool) -> None:
        self.world.database.down = down

    @rule(user=st.sampled_from(["app", "app" + CLONE_SUFFIX]))
    def a_check_fails(self, user: str) -> None:
        self.world.database.checks_fail_for ^= {user}

    @rule(refuses=st.booleans())
    def the_admin_loses_or_regains_a_privilege(self, refuses: bool) -> None:
        self.world.database.refuses_to_set = refuses

    @precondition(lambda self: not self.world.deleted)
    @rule()
    def the_resource_is_deleted(self) -> None:
        self.world.delete()

    @rule()
    def someone_edits_the_target_secret(self) -> None:
        self.world.edit_target()

    @rule()
    def someone_deletes_the_target_secret(self) -> None:
        self.world.delete_target()

    @rule(workload=st.sampled_from(WORKLOADS), what=st.sampled_from([None, RestartKind.REFUSED, RestartKind.MISSING]))
    def a_workload_gets_out_of_reach_or_back(self, workload: Workload, what: RestartKind | None) -> None:
        before = self.world.workloads[workload]
        if before.in_the_way is RestartKind.MISSING and what is not RestartKind.MISSING:
            self.world.workloads[workload] = before = ModelWorkload(
                made_with=next(reversed(self.world.deliveries), None)
            )
        before.in_the_way = what

    @invariant()
    def holds(self) -> None:
        self.world.check()

    @invariant()
    def no_more_rotations_than_were_due(self) -> None:
        assert self.late or self.world.rotations <= 1 + self.asked + self.days

    def teardown(self) -> None:
        """After any events, once all obstacles are gone, one operator alone completes everything."""
        if not hasattr(self, "world"):
            return
        world, operator = self.world, self.operators[0]
        for each in self.operators:
            each.end()
        world.clock_is_off = timedelta()
        world.database.down = world.database.refuses_to_set = False
        world.database.checks_fail_for.clear()
        for _ in range(20):
            waiting = operator.run_until_it_waits()
            world.check()
            if isinstance(waiting, Sleep) and world.status.rotation is None and world.journal is None:
                break
            world.now += timedelta(minutes=10)
        assert isinstance(waiting, Sleep) and (waiting.until is None or waiting.until <= world.now + timedelta(days=2))
        assert world.journal is None, f"the journal keeps {world.journal}: {waiting}"
        assert world.status.rotation is None, f"{world.status.rotation} is never served: {waiting}"
        if world.deleted:
            self.ends_in_order()
            return
        assert not any(Stage.PENDING in labels for labels in world.store.stages.values())
        assert world.target is not None
        assert world.look_at_target(world.target).kind is TargetKind.EQUAL
        assert Stage.CURRENT in world.store.stages[world.target.version_id]
        assert world.status.handled_requests.rotate == world.request
        if world.terms.has_database:
            assert world.database.logs_in(Credential.of(world.target.value))
        for workload in world.workloads.values():
            begun_with = workload.version_id or workload.made_with or world.deliveries[0]
            assert begun_with == world.target.version_id or workload.in_the_way, "pods hold an old value"
        served = sum(entry.outcome is Outcome.SUCCEEDED for entry in world.status.history)
        assert self.late or len(world.status.history) == HISTORY_LENGTH or served == world.rotations

    def ends_in_order(self) -> None:
        """After the deletion of the resource, the credential logs in, from Secrets Manager and from the Secret.

        A call of a frozen operator that comes later than the last look has no look after it that would correct it.
        """
        world = self.world
        assert self.late or not any(Stage.PENDING in labels for labels in world.store.stages.values())
        if self.late or not world.terms.has_database:
            return
        assert world.database.logs_in(Credential.of(world.store.get(ARN, stage=Stage.CURRENT).value))
        if world.target is not None:
            assert world.database.logs_in(Credential.of(world.target.value))


TestRotatingWorld = RotatingWorld.TestCase
TestRotatingWorld.settings = model_settings(100, steps=40)
