"""A model of everything that a rotation touches: a store, a database, a resource's status, a target Secret.

Small enough to be obviously right, and strict: what AWS or a database would refuse is refused here, and each invariant
that one call alone can break is asserted in that call.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from rotated_secrets.api.rollout import Workload
from rotated_secrets.api.rotation import Rights, Rotation, Strategy
from rotated_secrets.api.status import Claim, RotatedSecretStatus
from rotated_secrets.databases.base import (
    AuthenticationFailed,
    PasswordLimits,
    Refused,
    RightsReport,
    SessionCount,
    Unavailable,
    Users,
)
from rotated_secrets.delivery.errors import DeliveryUnavailable
from rotated_secrets.delivery.restart import Restart, RestartKind
from rotated_secrets.delivery.target import TargetKind, TargetState
from rotated_secrets.rotation.actions import (
    Abandon,
    ClearPending,
    CreatePending,
    FinishPending,
    RequestRotation,
    RestartWorkload,
    Retry,
    Sleep,
    SyncTarget,
    Waiting,
)
from rotated_secrets.rotation.deletion import as_left_behind, needs_entry
from rotated_secrets.rotation.observation import Observation, Obstacle, Terms, with_stage_moved
from rotated_secrets.rotation.ports import LookAgain, Ports
from rotated_secrets.rotation.run import Run, TryAgain
from rotated_secrets.rotation.schedule import parse_schedule
from rotated_secrets.rotation.status_updates import initialised
from rotated_secrets.rotation.strategies import pending_value
from rotated_secrets.secretstores.base import (
    SecretDescription,
    SecretNotFound,
    SecretSummary,
    Stages,
    StoredVersion,
    StoreRefused,
    VersionExists,
)
from rotated_secrets.values import Arn, Credential, Endpoint, SecretId, SecretText, SecretValue, Stage, VersionId
from tests.support.reports import Recorded

ARN = Arn("arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/orders-AbCdEf")
FIRST = VersionId("00000000-0000-0000-0000-000000000001")
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
CLONE_SUFFIX = "_clone"
OURS = [strategy for strategy in Strategy if strategy is not Strategy.EXTERNAL]
"""The strategies in which the operator itself creates the next version."""
Call = Callable[[], None]


def value(username: str, password: str) -> SecretValue:
    return SecretValue.parse(
        json.dumps({"engine": "model", "host": "db", "username": username, "password": password, "team": "orders"})
    )


@dataclass
class ModelStore:
    """Secrets Manager as its API Reference describes it, with one secret."""

    world: World
    versions: dict[VersionId, StoredVersion] = field(default_factory=dict)
    stages: Stages = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    rotation_enabled: bool = False
    """Whether AWS rotates it, when it is asked to."""
    rotations: list[VersionId] = field(default_factory=list)
    """The ids that AWS was asked to give to new versions."""

    def describe(self, secret: SecretId | Arn) -> SecretDescription:
        self.calls.append("DescribeSecret")
        return SecretDescription(ARN, "shop/orders", self.stages, rotation_enabled=self.rotation_enabled)

    def get(
        self, secret: SecretId | Arn, *, stage: Stage | None = None, version_id: VersionId | None = None
    ) -> StoredVersion:
        self.calls.append("GetSecretValue")
        for candidate, version in self.versions.items():  # with an id, also one without a stage
            labels = self.stages.get(candidate, frozenset())
            if (stage in labels or (stage is None and version_id is not None)) and version_id in (None, candidate):
                return version
        raise SecretNotFound(f"no version at {stage}")

    def put_pending(self, arn: Arn, version_id: VersionId, value: SecretValue) -> None:
        self.calls.append("PutSecretValue")
        if version_id in self.versions:
            raise VersionExists(version_id)
        self.versions[version_id] = StoredVersion(version_id, value, self.world.now, ARN)
        without = {v: labels - {Stage.PENDING} for v, labels in self.stages.items()}
        self.stages = {v: labels for v, labels in without.items() if labels} | {version_id: frozenset({Stage.PENDING})}

    def move_stage(
        self, arn: Arn, stage: Stage, *, to: VersionId | None = None, remove_from: VersionId | None = None
    ) -> None:
        self.calls.append("UpdateSecretVersionStage")
        holder = next((v for v, labels in self.stages.items() if stage in labels), None)
        if holder != remove_from and holder is not None:
            raise StoreRefused(f"{stage} is on {holder}")
        if remove_from is not None and stage not in self.stages.get(remove_from, ()):
            raise StoreRefused(f"{stage} is not on {remove_from}")
        if stage is Stage.CURRENT and to is not None:
            self.world.current_moves_to(self.versions[to])
        self.stages = with_stage_moved(self.stages, stage, to=to, remove_from=remove_from)

    def rotate(self, arn: Arn, version_id: VersionId) -> None:
        self.calls.append("RotateSecret")
        if version_id in self.rotations:
            return
        if any(Stage.PENDING in labels and Stage.CURRENT not in labels for labels in self.stages.values()):
            raise StoreRefused("a previous rotation isn't complete")
        self.rotations.append(version_id)
        self.stage_pending(version_id)

    def stage_pending(self, version_id: VersionId) -> None:
        """Move AWSPENDING, which one version has at most, to this one."""
        holder = next((version for version, labels in self.stages.items() if Stage.PENDING in labels), None)
        self.stages = with_stage_moved(self.stages, Stage.PENDING, to=version_id, remove_from=holder)

    def list_summaries(self) -> Iterator[SecretSummary]:
        yield SecretSummary(ARN, "shop/orders", self.stages)


@dataclass
class ModelDatabase:
    """Users with passwords, a lock for each base user, and checks that can be made to fail."""

    world: World
    passwords: dict[str, SecretText] = field(default_factory=dict)
    locked_out: set[str] = field(default_factory=set)
    lock_holder: ModelSession | None = None
    down: bool = False
    checks_fail_for: set[str] = field(default_factory=set)
    lacks_rights: set[str] = field(default_factory=set)
    """Clones that have lost rights of their base user, although they log in."""
    unequal: str = ""
    """Why the admin cannot make a clone equal to its base user."""
    refuses_to_set: bool = False
    refuses_to_lock_out: bool = False
    logins: list[str] = field(default_factory=list)
    set_with: list[tuple[Credential, Rights]] = field(default_factory=list)
    """The credential of every set password."""
    kept: dict[str, SecretText] = field(default_factory=dict)
    """The second password of a user, if it has one."""
    limits: PasswordLimits = PasswordLimits()  # noqa: RUF009 - frozen

    def logs_in(self, credential: Credential) -> bool:
        user = credential.username
        return credential.password in (self.passwords.get(user), self.kept.get(user)) and user not in self.locked_out

    def close(self) -> None:
        """Nothing is open but sessions."""

    def verify(self, credential: Credential, users: Users, queries: Sequence[str]) -> list[str]:
        if self.down:
            raise Unavailable("the database is down")
        self.logins.append(credential.username)
        if not self.logs_in(credential):
            raise AuthenticationFailed(f"user {credential.username} was refused")
        if queries and credential.username in self.checks_fail_for:
            return ["query 1 failed"]
        if credential.username == users.clone and users.clone in self.lacks_rights:
            return [f"{users.clone} is not a member of {users.base}"]
        self.world.proved(credential)
        return []

    def open_admin(self, own: Credential) -> ModelSession:
        if self.down:
            raise Unavailable("the database is down")
        self.logins.append("admin")
        return ModelSession(self)


@dataclass(eq=False)
class ModelSession(AbstractContextManager["ModelSession"]):
    """An admin session. The server ends it if it is idle for too long; then every use of it fails."""

    database: ModelDatabase
    alive: bool = True

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self.alive = False
        if self.database.lock_holder is self:
            self.database.lock_holder = None

    def _use(self) -> None:
        if not self.alive or self.database.down:
            self.end()
            raise Unavailable("the session was ended by the server")

    def try_lock(self, base_user: str) -> bool:
        self._use()
        if self.database.lock_holder not in (None, self):
            return False
        self.database.lock_holder = self
        return True

    def check_users(self, users: Users) -> None:
        self._use()
        if users.base not in self.database.passwords:
            raise Refused(f"no user {users.base}")

    def check_rights(self, users: Users) -> None:
        self.check_users(users)
        if self.database.unequal:
            raise Refused(self.database.unequal)

    def set_password(
        self, users: Users, credential: Credential, rights: Rights, keep: Credential | None = None
    ) -> RightsReport:
        self._use()
        assert self.database.lock_holder is self, "a password was set without the lock"
        if self.database.refuses_to_set:
            raise Refused("the admin lacks a privilege")
        self.database.set_with.append((credential, rights))
        self.database.passwords[credential.username] = credential.password
        self.database.kept.pop(credential.username, None)
        if keep is not None:
            assert keep.username == credential.username, "another user's password is kept"
            self.database.kept[keep.username] = keep.password
        self.database.locked_out.discard(credential.username)
        if rights is Rights.ENFORCE:
            self.database.lacks_rights.discard(credential.username)
        self.database.world.password_was_set(credential)
        return RightsReport()

    def disable_login(self, user: str) -> None:
        self._use()
        if self.database.refuses_to_lock_out:
            raise Refused(f"the admin may not lock {user} out")
        self.database.locked_out.add(user)

    def sessions_of(self, user: str) -> tuple[SessionCount, ...] | None:
        self._use()
        return None


@dataclass
class ModelWorkload:
    """A workload: the version on its pod template, and how often that was written."""

    version_id: VersionId | None = None
    made_with: VersionId | None = None
    """The version with which its pods started, if the workload was created after the first delivery."""
    writes: int = 0
    restarted_at: int | None = None
    """The delivery for which it was restarted last."""
    in_the_way: RestartKind | None = None
    """The result of a restart that fails."""


@dataclass
class World:
    """One secret, its database, its resource, its target Secret, and the invariants between them."""

    rotation: Rotation
    now: datetime = CREATED
    """By AWS's clock."""
    clock_is_off: timedelta = timedelta()
    """By how much the operators' clock is ahead of AWS's."""
    request: str | None = None
    status: RotatedSecretStatus = field(default_factory=RotatedSecretStatus)
    target: StoredVersion | None = None
    target_spoiled: bool = False
    target_revision: int = 0
    """Its resourceVersion: one that is made again has another."""
    obstacle: Obstacle | None = None
    workloads: dict[Workload, ModelWorkload] = field(default_factory=dict)
    """The workloads that rollout.restart names."""
    deliveries: list[VersionId] = field(default_factory=list)
    """The versions that the target Secret held, in their order."""
    journal: Claim | None = None
    """The entry about the unfinished rotation; it stays when the resource is deleted."""
    deleted: bool = False
    """Whether the resource is gone, and its status with it."""
    leader: ModelOperator | None = None
    """The operator that looked last, once the resource is gone: what ends its rotation relies on the Lease, because
    there is no status any more whose resourceVersion would stop another one."""
    left_unfinished: int = 0
    """Rotations of other resources of the namespace that were deleted."""
    late_call: bool = False
    """Whether the call was begun by an operator that froze: no check can come before it."""
    was_current: list[VersionId] = field(default_factory=lambda: [FIRST])
    _proven: set[Credential] = field(default_factory=set)
    _credentials: dict[VersionId, Credential] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = ModelStore(self)
        self.database = ModelDatabase(self)
        text = value("app", "first") if self.terms.has_database else SecretValue.parse("first")
        first = StoredVersion(FIRST, text, CREATED, ARN)
        self.store.versions[FIRST] = first
        self.store.stages = {FIRST: frozenset({Stage.CURRENT})}
        self.database.passwords["app"] = SecretText("first")

    # ---- invariants of single calls

    @property
    def rotations(self) -> int:
        return len(self.was_current) - 1

    def current_moves_to(self, version: StoredVersion) -> None:
        if version.version_id in self.was_current:
            return  # taken back
        self.was_current.append(version.version_id)
        if self.terms.has_database and not self.late_call:
            assert Credential.of(version.value) in self._proven, "AWSCURRENT moved to a version that was not tested"

    def proved(self, credential: Credential) -> None:
        self._proven.add(credential)

    def password_was_set(self, credential: Credential) -> None:
        """Only a test after the last set counts."""
        self._proven = {proven for proven in self._proven if proven.username != credential.username}

    def delivered(self, version: StoredVersion) -> None:
        self.target, self.target_spoiled = version, False
        self.target_revision += 1
        if self.deliveries[-1:] != [version.version_id]:
            self.deliveries.append(version.version_id)

    def restarts(self, workload: ModelWorkload, version_id: VersionId) -> None:
        """Restart its pods, which then read the target Secret."""
        if not self.late_call:
            assert self.deliveries[-1] == version_id, "restarted for a version that the target Secret does not hold"
            assert len(self.deliveries) > 1, "the first delivery has restarted something"
            assert workload.restarted_at != len(self.deliveries), "restarted twice for one version"
            if self.terms.has_database:
                began_with = Credential.of(self.store.versions[version_id].value)
                assert self.database.logs_in(began_with), "restarted with a dead password"
            workload.restarted_at = len(self.deliveries)
        workload.version_id = version_id
        workload.writes += 1

    # ---- invariants between any two calls

    def check(self) -> None:
        assert set(self.database.passwords) <= {"app", "app" + CLONE_SUFFIX}, "a third user"
        assert "app" in self.database.passwords, "a user was dropped"
        assert sum(Stage.PENDING in labels for labels in self.store.stages.values()) <= 1
        assert sum(Stage.CURRENT in labels for labels in self.store.stages.values()) == 1
        if self.terms.keeps_current and self.target is not None:
            delivered = self._credential_in(self.target)
            assert self.database.logs_in(delivered), "pods hold a credential that does not log in"

    def _credential_in(self, version: StoredVersion) -> Credential:
        """Read once: a version never changes, and this is asked between any two calls."""
        if (known := self._credentials.get(version.version_id)) is None:
            known = self._credentials[version.version_id] = Credential.of(version.value)
        return known

    # ---- what an operator sees

    @property
    def operators_now(self) -> datetime:
        return self.now + self.clock_is_off

    @property
    def terms(self) -> Terms:
        schedule = self.rotation.schedule
        return Terms(
            arn=ARN,
            rotation=self.rotation,
            schedule=parse_schedule(schedule, timedelta(0)) if schedule else None,
            request=self.request,
            created_at=CREATED,
            endpoint=None if self.rotation.strategy is Strategy.RANDOM_VALUE else Endpoint(),
            restart=() if self.deleted else tuple(self.workloads),
            deleted=self.deleted,
        )

    def delete(self) -> None:
        """Delete the resource; nothing removes the target Secret here."""
        self.deleted = True
        self.status = RotatedSecretStatus()

    def edit_target(self) -> None:
        """Someone changes the target Secret, if there is one."""
        self.target_spoiled = True
        self.target_revision += 1

    def delete_target(self) -> None:
        self.target = None
        self.target_revision += 1

    def look_at_target(self, current: StoredVersion) -> TargetState:
        return compared(self.target, self.target_spoiled, current)


def compared(held: StoredVersion | None, spoiled: bool, current: StoredVersion) -> TargetState:
    """How a target Secret compares with AWSCURRENT; ``spoiled`` if someone edited it."""
    if held is None:
        return TargetState(TargetKind.ABSENT)
    same = held.version_id == current.version_id and not spoiled
    return TargetState(TargetKind.EQUAL if same else TargetKind.DIFFERS, held.version_id)


@dataclass
class ModelStatus:
    """The resource's status, written only if it has not changed since it was read."""

    world: World
    read: RotatedSecretStatus

    def write(self, status: RotatedSecretStatus) -> None:
        world = self.world
        if needs_entry(status, world.rotation.strategy) and world.journal is None:
            world.journal = status.rotation
        if world.status is not self.read:
            raise LookAgain("the resource has changed")
        world.status = self.read = status
        if status.rotation is None:
            world.journal = None

    def note(self, status: RotatedSecretStatus) -> None:
        pass  # the run has it, and the next write brings it


@dataclass
class DeletedStatus:
    """The status of a resource that is gone: it is in memory alone, and the journal says when the rotation is over."""

    world: World

    def write(self, status: RotatedSecretStatus) -> None:
        if not self.world.deleted:
            raise LookAgain("the resource is there")
        if status.rotation is None:
            self.world.journal = None

    def note(self, status: RotatedSecretStatus) -> None:
        pass


@dataclass
class ModelTarget:
    """The Secret that pods mount, as Kubernetes writes it.

    It is created where none was read and there is none, also if there was one in between; it is updated where it has
    the resourceVersion that was read.
    """

    world: World
    _read: int | None = None
    """The resourceVersion; None if there was no Secret."""
    _state: Callable[[StoredVersion], TargetState] | None = None
    """Compares what was read with a version."""

    def look_again(self, current: StoredVersion) -> TargetState:
        self._read = self._revision
        held, spoiled = self.world.target, self.world.target_spoiled
        self._state = lambda version: compared(held, spoiled, version)
        return self._state(current)

    def look(self, current: StoredVersion) -> TargetState:
        return self._state(current) if self._state is not None else self.look_again(current)

    @property
    def _revision(self) -> int | None:
        return self.world.target_revision if self.world.target is not None else None

    def write(self, current: StoredVersion) -> TargetState:
        if self._read != self._revision:
            raise DeliveryUnavailable("the Secret has changed, appeared or was deleted")
        self.world.delivered(current)
        return self.look_again(current)

    def late_update(self, current: StoredVersion) -> Call | None:
        """The update that a frozen operator was about to send; the API server compares the resourceVersion.

        None for a creation. One that comes late may make a Secret of an old version, for which it has to be deleted
        twice; the other operator, which watches it, writes it again at once.
        """
        revision = self._read

        def put() -> None:
            if revision == self._revision:
                self.world.delivered(current)

        return put if revision is not None else None


@dataclass
class ModelWorkloads:
    """The workloads, restarted only by the leader: the plan does not have to prevent two operators from alternating."""

    world: World
    status: ModelStatus

    def restart(self, workload: Workload, version_id: VersionId) -> Restart:
        if not self._leads():
            raise LookAgain("another operator leads")
        live = self.world.workloads[workload]
        if live.in_the_way is not None:
            return Restart(live.in_the_way, "something is in the way")
        if live.version_id == version_id:
            return Restart(RestartKind.UNCHANGED)
        self.world.restarts(live, version_id)
        return Restart(RestartKind.RESTARTED)

    def late_patch(self, workload: Workload, version_id: VersionId) -> Call | None:
        """The patch that a frozen leader was about to send; it is refused if the workload was written since the read.

        None for an operator that leads no longer: it ends before it reads a workload, and would not begin to patch it.
        """
        live = self.world.workloads[workload]
        if not self._leads() or live.version_id == version_id or live.in_the_way is not None:
            return None
        writes = live.writes

        def patch() -> None:
            if live.writes == writes:
                self.world.restarts(live, version_id)

        return patch

    def _leads(self) -> bool:
        return self.world.status is self.status.read


class ModelOperator:
    """One operator process: it observes, and then does one action of the product's loop in each step."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.reports = Recorded()
        self.run: Run | None = None
        self.target: ModelTarget | None = None
        self.workloads: ModelWorkloads | None = None

    def step(self) -> Waiting | None:
        """Observe, or do one action. Returns how the run ended, once it has."""
        try:
            if self.run is None:
                self.run = self._look()
                return None if self.run is not None else Sleep(None)
            self.run.step()
            if self.run.waiting is None:
                return None
            waiting = self.run.conclude()
        except (LookAgain, TryAgain, Unavailable) as error:
            self.end()
            return Retry(str(error))
        self.end()
        return waiting

    def run_until_it_waits(self, most: int = 200) -> Waiting:
        for _ in range(most):
            if (waiting := self.step()) is not None:
                return waiting
        raise AssertionError(f"the plan goes in circles: {self.run}")

    def freeze(self) -> Call | None:
        """The process is stopped for longer than its session and its Lease last.

        Returns:
            The call that it was about to make after its last check: it can have no other late effect.
        """
        run, store = self.run, self.world.store
        self.end()
        if run is None:
            return None
        match run.next_action():
            case FinishPending(version_id):
                return lambda: store.move_stage(ARN, Stage.CURRENT, to=version_id, remove_from=run.seen.current_id)
            case Abandon(version_id):
                return lambda: store.move_stage(ARN, Stage.PENDING, remove_from=version_id)
            case ClearPending():
                return lambda: store.move_stage(ARN, Stage.PENDING, remove_from=run.seen.current_id)
            case CreatePending(version_id):
                late = pending_value(run.terms, run.seen, lambda: SecretText("late"))
                return lambda: store.put_pending(ARN, version_id, late)
            case SyncTarget() if self.target is not None:
                return self.target.late_update(run.seen.current)
            case RequestRotation(version_id):
                return lambda: store.rotate(ARN, version_id)
            case RestartWorkload(workload, version_id) if self.workloads is not None:
                return self.workloads.late_patch(workload, version_id)
            case _:
                return None

    def end(self) -> None:
        """End the run: done, failed, or because the process died. In each case the server sees the connection close."""
        if self.run is not None:
            self.run.close()
        self.run = None

    def _check_lease(self) -> None:
        if self.world.deleted and self.world.leader not in (None, self):
            raise LookAgain("another operator leads")

    def _look(self) -> Run | None:
        """Observe; None if the resource is gone and its rotation has ended."""
        world, terms = self.world, self.world.terms
        stages = world.store.describe(ARN).stages
        current = world.store.get(ARN, stage=Stage.CURRENT)
        status = ModelStatus(world, world.status)
        known = initialised(world.status, terms, world.operators_now)
        if world.deleted:
            world.leader = self
            if world.journal is None:
                return None
            known = as_left_behind(RotatedSecretStatus(rotation=world.journal), terms)
        workloads = self.workloads = ModelWorkloads(world, status)
        target = self.target = None if world.deleted and world.target is None else ModelTarget(world)
        seen = Observation.first(
            terms,
            stages,
            current,
            known,
            target.look_again(current) if target else None,
            obstacle=world.obstacle,
        )
        seen = replace(seen, left_unfinished=world.left_unfinished)
        ports = Ports(
            store=world.store,
            database=world.database if terms.has_database else None,
            status=DeletedStatus(world) if world.deleted else status,
            target=target,
            workloads=workloads,
            reports=self.reports,
            guard=self._check_lease,
            now=lambda: world.operators_now,
        )
        return Run(terms, seen, ports, generation=1)


QUERIES = ("SELECT 1",)


def world_of(strategy: Strategy = Strategy.ALTERNATING_USERS, **rotation: object) -> World:
    queries = () if strategy is Strategy.RANDOM_VALUE else QUERIES
    return World(Rotation.model_validate({"strategy": strategy, "verify_queries": queries} | rotation))


def settled(world: World) -> World:
    """The world once it was looked at for the first time."""
    ModelOperator(world).run_until_it_waits()
    assert world.target is not None
    return world


def rotate(world: World, request: str) -> None:
    world.request = request
    ModelOperator(world).run_until_it_waits()
    world.check()


def put_pending(world: World, version_id: VersionId, secret: SecretValue) -> None:
    world.store.versions[version_id] = StoredVersion(version_id, secret, world.now, ARN)
    world.store.stages = {**world.store.stages, version_id: frozenset({Stage.PENDING})}


def current(world: World) -> StoredVersion:
    return world.store.get(ARN, stage=Stage.CURRENT)
