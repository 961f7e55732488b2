"""The life of one credential: its users at a real server, its versions in a store, its resource and its target Secret.

An operator in miniature drives it: the product's own looking, planning, steps and connections. Only the cluster is
played: the resource's status and the target Secret are kept in memory. What must hold is looked at after every action.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.spec import TlsSpec
from rotated_secrets.api.status import HistoryEntry, Outcome, RotatedSecretStatus
from rotated_secrets.controller.look.database_access import DatabaseAccess, Trust
from rotated_secrets.controller.look.fetch import describe, read_current
from rotated_secrets.controller.look.interpret import check_usernames
from rotated_secrets.databases.base import DatabaseError
from rotated_secrets.databases.hosts import HostRules
from rotated_secrets.databases.logins import CellLogins
from rotated_secrets.databases.registry import engine_named
from rotated_secrets.delivery.target import TargetKind, TargetState
from rotated_secrets.observability.metrics import Metrics
from rotated_secrets.rotation.actions import (
    Action,
    FinishPending,
    Restore,
    Retire,
    Retry,
    SetPending,
    Sleep,
    SyncTarget,
    TestPending,
    Waiting,
)
from rotated_secrets.rotation.observation import Observation, Terms
from rotated_secrets.rotation.ports import LookAgain, PasswordSet, Ports
from rotated_secrets.rotation.run import Run, TryAgain
from rotated_secrets.rotation.status_updates import initialised
from rotated_secrets.rotation.strategies import check_value
from rotated_secrets.secretstores.base import SecretStore, StoredVersion, StoreError
from rotated_secrets.values import Credential, SecretId, Stage, VersionId
from sandbox.applications.base import Account, DatabaseSide, LoginFailed
from sandbox.database_proxy import DatabaseProxy
from sandbox.waiting import eventually
from tests.support.direct import shared_cells
from tests.support.login_client import Client
from tests.support.reports import Recorded

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

LOOPBACK = HostRules.of(("127.0.0.0/8",))
REGION = "eu-west-1"
DATABASE = "life"
KEEPS_CURRENT = (Strategy.ALTERNATING_USERS, Strategy.DUAL_PASSWORD)
_CHANGES_USERS = (SetPending, Restore, Retire)
Hook = Callable[[], object]
_numbers = itertools.count(1)


class Died(Exception):
    """The operator's process ended here."""


def die() -> None:
    raise Died


@dataclass(frozen=True)
class Place:
    """Where lives are led: a server, the proxy by which operators reach it, and a store."""

    side: DatabaseSide
    proxy: DatabaseProxy
    store: SecretStore
    client: SecretsManagerClient


@dataclass
class Status:
    """The resource's status; refuses to overwrite what it has not read."""

    life: Life
    read: RotatedSecretStatus

    def write(self, status: RotatedSecretStatus) -> None:
        if self.life.status is not self.read:
            raise LookAgain("the resource has changed")
        self.life.status = self.read = status

    def note(self, status: RotatedSecretStatus) -> None:
        pass


@dataclass
class TargetSecret:
    """The Secret that pods mount."""

    life: Life

    def look(self, current: StoredVersion) -> TargetState:
        held = self.life.delivered
        if held is None:
            return TargetState(TargetKind.ABSENT)
        same = held.version_id == current.version_id
        return TargetState(TargetKind.EQUAL if same else TargetKind.DIFFERS, held.version_id)

    look_again = look

    def write(self, current: StoredVersion) -> TargetState:
        self.life.delivered = current
        return self.look(current)


@dataclass
class Life:
    """One credential, set up as a person would, and everything that it goes through."""

    place: Place
    strategy: Strategy
    spec: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ``spec.rotation`` beside the strategy."""
    password: str = "first-Password-1"
    user: str = ""
    admin: str | None = "documented"
    """Whose the admin secret is: one with the documented privileges, a ``bystander``, or there is none."""
    value_keys: Mapping[str, Any] = field(default_factory=dict)
    """Keys of both secret values beside the usual ones."""
    database: str = DATABASE
    """Where the user works, and with some engines is kept."""

    status: RotatedSecretStatus = field(default_factory=RotatedSecretStatus)
    delivered: StoredVersion | None = None
    request: str | None = None
    later: timedelta = timedelta(0)
    trust: Trust = field(init=False)
    reports: list[PasswordSet] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """What people were told at the end of each run."""
    passwords: list[str] = field(default_factory=list)
    """Every password there was."""
    _seen_users: set[str] = field(default_factory=set)
    _tested: Credential | None = None

    def __post_init__(self) -> None:
        number = next(_numbers)
        self.user = self.user or f"app{number}x"
        self.secret_id = SecretId(f"life/{self.user}")
        self.base = Account(self.user, self.password, self.database)
        self.created_at = datetime.now(UTC)
        self.trust = Trust(TlsSpec(), None, self.side.ca_pem)
        self.rotation = Rotation.model_validate({"strategy": self.strategy.value, **self.spec})
        self.side.create_user(self.base)
        self.side.create_object(self.base)
        self._put(self.secret_id, self.base)
        self.passwords.append(self.password)
        if self.admin is not None:
            self._create_admin(Account(f"admin{number}x", f"admin-Password-{number}"))
        else:
            self.side.let_change_itself(self.base)

    @property
    def side(self) -> DatabaseSide:
        return self.place.side

    @property
    def clone(self) -> str:
        return self.user + self.rotation.clone_suffix

    @property
    def keeps_current(self) -> bool:
        return self.strategy in KEEPS_CURRENT

    def _create_admin(self, account: Account) -> None:
        if self.admin == "bystander":
            self.side.create_bystander(account)
        else:
            self.side.create_admin(account, self.user)
        self._put(f"life/admin/{self.user}", account)
        self.passwords.append(account.password)

    def _put(self, name: str, account: Account) -> None:
        where = {"host": "127.0.0.1", "port": self.place.proxy.port}
        value = {**where, **self.side.value(account), **self.value_keys, "team": "orders"}
        self.place.client.create_secret(Name=name, SecretString=json.dumps(value))

    # ---- the operator

    def now(self) -> datetime:
        return datetime.now(UTC) + self.later

    def run(self, before: Mapping[type[Action], Hook] | None = None) -> Waiting:
        """One run of an operator that knows nothing of earlier ones, from its look until it waits.

        ``before`` has what happens before an action of a kind begins. Raises: Died, where a hook does.
        """
        waiting = self._run(before or {})
        self.told.append(str(waiting))
        return waiting

    def _run(self, before: Mapping[type[Action], Hook]) -> Waiting:
        reports = Recorded(
            passwords=self.reports, before=lambda action: before.get(type(action), lambda: None)(), after=self._acted
        )
        try:
            run = self._look(reports)
            try:
                run.advance(database=True)
                return run.conclude()
            finally:
                run.close()
        except (LookAgain, TryAgain, StoreError, DatabaseError) as error:
            return Retry("; ".join(reports.errors) or f"{type(error).__name__}: {error}")

    def _look(self, reports: Recorded) -> Run:
        description = describe(self.place.store, self.secret_id)
        current = read_current(self.place.store, description)
        terms = Terms(description.arn, self.rotation, None, self.request, self.created_at)
        status = initialised(self.status, terms, self.now())
        seen = Observation.first(terms, description.stages, current, status, TargetSecret(self).look(current))
        check_value(terms, current)
        ports = Ports(
            store=self.place.store,
            database=self.connections(seen.current_credential, terms),
            status=Status(self, self.status),
            target=TargetSecret(self),
            workloads=None,
            reports=reports,
            guard=lambda: None,
            now=self.now,
        )
        return Run(terms, seen, ports, generation=1)

    def connections(self, credential: Credential, terms: Terms) -> DatabaseAccess:
        engine = engine_named(credential.engine)
        check_usernames(engine, terms.rotation, credential)
        return DatabaseAccess(
            engine,
            application=credential,
            trust=self.trust,
            rules=LOOPBACK,
            read_admin=self._read_admin if self.admin is not None else None,
            logins=CellLogins(shared_cells(), engine, credential.engine, self.user),
            metrics=Metrics(),
        )

    def _read_admin(self) -> Credential:
        return Credential.of(self.place.store.get(SecretId(f"life/admin/{self.user}")).value)

    # ---- what is asked of it

    def deliver(self) -> Life:
        """The first run: the target Secret gets what AWSCURRENT says."""
        assert isinstance(self.run(), Sleep), self.told[-1]
        assert self.delivered is not None
        return self

    def ask(self) -> Life:
        """A person asks for a rotation."""
        self.request = f"request-{next(_numbers)}"
        return self

    def rotate(self) -> HistoryEntry:
        """Ask for a rotation, which takes one run."""
        waiting = self.ask().run()
        assert isinstance(waiting, Sleep), waiting
        return self.check_rotated()

    def finish(self) -> HistoryEntry:
        """Fresh runs bring what was interrupted to its end: a run may find the old session's lock still held."""
        self.side.expire_locks()
        eventually(lambda: isinstance(self.run(), Sleep) and self.status.rotation is None, "the rotation is finished")
        return self.check_rotated()

    def check_rotated(self) -> HistoryEntry:
        """The last rotation succeeded, everything is at rest, and the new credential is the delivered one."""
        entry = self.status.history[0]
        assert entry.outcome is Outcome.SUCCEEDED, entry
        assert self.status.rotation is None
        self.check_at_rest()
        return entry

    # ---- what must hold

    def check_at_rest(self) -> None:
        """AWSCURRENT logs in and is delivered, nothing is pending, and base and clone user can do the same."""
        stages = self.stages()
        assert Stage.PENDING not in stages, stages
        assert all(len(versions) == 1 for versions in stages.values()), stages
        assert self.delivered is not None
        assert [self.delivered.version_id] == stages[Stage.CURRENT]
        self.side.log_in(self.held)
        self.check_parity()

    def check_parity(self) -> None:
        if self.strategy is Strategy.ALTERNATING_USERS and self.clone in self.users():
            base, clone = (self.side.rights(Account(user, "", self.database)) for user in (self.user, self.clone))
            assert clone == base, f"clone alone: {sorted(clone - base)}; base alone: {sorted(base - clone)}"

    def _acted(self, action: Action, seen: Observation) -> None:
        """The invariants, after each action."""
        if seen.pending_credential is not None:
            self._note(seen.pending_credential)
        if isinstance(action, SetPending):
            self._tested = None
        if isinstance(action, TestPending) and seen.attempt.tested:
            self._tested = seen.pending_credential
        if isinstance(action, FinishPending):
            assert seen.credential == self._tested, "AWSCURRENT moved to a version that was not tested"
        if isinstance(action, _CHANGES_USERS):
            users = self.users()
            assert users <= {self.user, self.clone}, "a third user"
            assert users >= self._seen_users | {self.user}, "a user was dropped"
            self._seen_users |= users
        if isinstance(action, (*_CHANGES_USERS, SyncTarget)) and self.keeps_current and self.delivered is not None:
            self.side.log_in(self.held)

    def _note(self, credential: Credential) -> None:
        if credential.password.reveal() not in self.passwords:
            self.passwords.append(credential.password.reveal())

    # ---- what is so

    @property
    def held(self) -> Account:
        """The account that pods log in with."""
        assert self.delivered is not None
        return account(Credential.of(self.delivered.value))

    def at(self, stage: Stage) -> Account:
        """The account in a version in the store."""
        return account(Credential.of(self.place.store.get(self.secret_id, stage=stage).value))

    def stages(self) -> dict[Stage, list[VersionId]]:
        """Versions by stage."""
        by_stage: dict[Stage, list[VersionId]] = {}
        for version, labels in self.place.store.describe(self.secret_id).stages.items():
            for stage in labels:
                by_stage.setdefault(stage, []).append(version)
        return by_stage

    def users(self) -> set[str]:
        """The base user, its clone, and whoever else's name begins like theirs."""
        return self.side.users(self.user)

    def logs_in(self, held: Account) -> bool:
        try:
            self.side.log_in(held)
        except LoginFailed:
            return False
        return True

    def watched(self) -> AbstractContextManager[object]:
        """While a strategy that promises it is at work, a client logs in all the time with what is delivered."""
        return Client(lambda: self.held, self.side.log_in) if self.keeps_current else nullcontext()


def account(credential: Credential) -> Account:
    return Account(credential.username, credential.password.reveal(), credential.dbname or DATABASE)
