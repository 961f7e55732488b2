"""Restarts against the model of the world, in which others move AWSCURRENT and change the list of workloads."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rotated_secrets.api.rollout import Workload, WorkloadKind
from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.delivery.restart import RestartKind
from rotated_secrets.secretstores.base import StoredVersion
from rotated_secrets.values import SecretValue, Stage, VersionId
from tests.support.fuzz import model_settings
from tests.support.world import ARN, ModelOperator, ModelWorkload, World

ALL = [Workload(kind=WorkloadKind.DEPLOYMENT, name=name) for name in ("api", "queue", "cron")]


class MovedWorld(RuleBasedStateMachine):
    """The world asserts at each restart that it is for the delivered version, and the first one since the delivery."""

    @initialize()
    def begin(self) -> None:
        self.world = World(Rotation(strategy=Strategy.RANDOM_VALUE), workloads={ALL[0]: ModelWorkload()})
        self.away: dict[Workload, ModelWorkload] = {}
        self.operators = [ModelOperator(self.world), ModelOperator(self.world)]
        self.made = 0

    @rule(which=st.integers(0, 1), steps=st.integers(1, 6))
    def work(self, which: int, steps: int) -> None:
        self.operators[1 - which].end()  # whoever has lost the lead acts no more
        for _ in range(steps):
            self.operators[which].step()

    @rule(which=st.integers(0, 1))
    def crash(self, which: int) -> None:
        self.operators[which].end()

    @rule()
    def ask(self) -> None:
        self.made += 1
        self.world.request = f"request {self.made}"

    @rule()
    def somebody_puts_a_value(self) -> None:
        self.made += 1
        made = VersionId(f"by-hand-{self.made}")
        self.world.store.versions[made] = StoredVersion(made, SecretValue.parse(f"{made}"), self.world.now, ARN)
        self._move(made)

    @rule(data=st.data())
    def somebody_goes_back(self, data: st.DataObject) -> None:
        known = [entry for entry in self.world.store.versions if entry not in self.world.store.rotations]
        self._move(data.draw(st.sampled_from(sorted(known))))

    @rule(workload=st.sampled_from(ALL))
    def the_list_changes(self, workload: Workload) -> None:
        here, there = self.world.workloads, self.away
        if workload not in here:
            here, there = there, here
        there[workload] = here.pop(workload) if workload in here else ModelWorkload()
        for operator in self.operators:
            operator.end()  # what it looks at has changed: it looks again

    @rule(workload=st.sampled_from(ALL), what=st.sampled_from([None, RestartKind.REFUSED, RestartKind.UNAVAILABLE]))
    def a_workload_gets_out_of_reach_or_back(self, workload: Workload, what: RestartKind | None) -> None:
        if workload in self.world.workloads:
            self.world.workloads[workload].in_the_way = what

    @rule()
    def someone_edits_or_deletes_the_target_secret(self) -> None:
        if self.made % 2:
            self.world.delete_target()
        else:
            self.world.edit_target()

    @invariant()
    def nobody_restarts_more_often_than_something_is_delivered(self) -> None:
        if hasattr(self, "world"):
            for workload in (self.world.workloads | self.away).values():
                assert workload.writes <= max(0, len(self.world.deliveries) - 1)

    def teardown(self) -> None:
        """Without obstacles, every listed workload ends with the last version, unless it started with it."""
        if not hasattr(self, "world"):
            return
        world, operator = self.world, self.operators[0]
        for each in self.operators:
            each.end()
        for workload in world.workloads.values():
            workload.in_the_way = None
        operator.run_until_it_waits()
        operator.run_until_it_waits()
        self.somebody_puts_a_value()
        operator.run_until_it_waits()
        before = {name: workload.writes for name, workload in world.workloads.items()}
        operator.run_until_it_waits()
        assert {name: workload.writes for name, workload in world.workloads.items()} == before
        current = world.store.get(ARN, stage=Stage.CURRENT).version_id
        assert {workload.version_id for workload in world.workloads.values()} <= {current}

    def _move(self, to: VersionId) -> None:
        store = self.world.store
        holder = store.get(ARN, stage=Stage.CURRENT).version_id
        if to != holder:
            store.move_stage(ARN, Stage.CURRENT, to=to, remove_from=holder)


TestMovedWorld = MovedWorld.TestCase
TestMovedWorld.settings = model_settings(60, steps=30)
