"""The plan's input: what is known of one secret, its database users and its target Secret. Immutable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from rotated_secrets.api.rollout import Workload
from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.status import Claim, ConditionType, Reason, RotatedSecretStatus
from rotated_secrets.delivery.restart import Restart
from rotated_secrets.delivery.target import TargetKind, TargetState
from rotated_secrets.rotation.schedule import Schedule
from rotated_secrets.secretstores.base import Stages, StoredVersion
from rotated_secrets.values import Arn, Credential, Endpoint, InvalidSecretValue, Stage, VersionId


class Login(Enum):
    """Result of a login."""

    UNTRIED = "untried"
    WORKS = "works"
    REJECTED = "rejected"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Terms:
    """The parts of the resource that a rotation depends on, parsed once."""

    arn: Arn
    rotation: Rotation
    schedule: Schedule | None
    request: str | None
    """The present value of the annotation that requests a rotation."""
    created_at: datetime
    """Creation time of the resource: the slot of a rotation that is due at creation."""
    endpoint: Endpoint | None = Endpoint()  # noqa: RUF009 - frozen
    """Where the credential logs in, as far as its value does not say so; None if there is no known database."""
    resync: str | None = None
    """The present value of the annotation that requests a resync."""
    request_interval: timedelta | None = None
    """Average time between requested rotations, at least; a burst may be as long as the history."""
    restart: tuple[Workload, ...] = ()
    """Workloads to restart when the target Secret has a new value."""
    deleted: bool = False
    """The RotatedSecret was deleted: the rotation that runs is ended, and no other one begins."""
    request_is_older: bool = False
    """The request was made before the resource, which a backup has restored: it is no request to this one."""

    @property
    def has_database(self) -> bool:
        """Whether there is a database in which the credential can be tested."""
        return self.endpoint is not None

    @property
    def keeps_current(self) -> bool:
        """Whether AWSCURRENT still logs in while the next version is set and tested."""
        return self.rotation.strategy in (Strategy.ALTERNATING_USERS, Strategy.DUAL_PASSWORD)

    def credential(self, version: StoredVersion) -> Credential:
        """Parse the credential in a version of this secret.

        Raises:
            InvalidSecretValue: see :meth:`Credential.of`.
        """
        return Credential.of(version.value, self.endpoint or Endpoint(), arn=version.arn, version_id=version.version_id)


@dataclass(frozen=True)
class Obstacle:
    """What a person must correct before a rotation can start. AWSCURRENT is delivered nevertheless."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class AttemptState:
    """What this run found out and did in the present attempt. It ends with the attempt, as a whole."""

    pending_login: Login = Login.UNTRIED
    """Result of the login with AWSPENDING, if it was tried instead of AWSCURRENT's."""
    password_set: bool = False
    """Whether this run set the pending password and the rights."""
    tested: bool = False
    failure: str | None = None
    """Why this attempt cannot succeed, if this run found a reason that the claim does not say yet."""
    restored: bool = False
    """Whether this run restored the old password."""
    unrestorable: bool = False
    """Whether the database refused to restore the only user's old password."""


@dataclass(frozen=True)
class Observation:
    """Everything that is known at one moment. Each action returns the next observation."""

    stages: Stages
    current: StoredVersion
    """The version that carries AWSCURRENT."""
    status: RotatedSecretStatus
    """The status as last written: its claim says why a rotation runs."""
    target: TargetState | None
    """How the target Secret compares with AWSCURRENT rendered; None if nothing is delivered."""
    elsewhere: str | None = None
    """A sentence that says what else rotates this secret, so that the operator must not; None if nothing does."""
    obstacle: Obstacle | None = None
    credential: Credential | None = None
    """The credential in AWSCURRENT; None if the strategy uses no database."""
    pending: StoredVersion | None = None
    """The version that carries AWSPENDING, once it was read."""
    pending_credential: Credential | None = None
    """The credential in AWSPENDING, once it was read; None if it holds none."""
    pending_problem: str | None = None
    """Why AWSPENDING, which was read, holds no credential."""
    login: Login = Login.UNTRIED
    """Result of the login with AWSCURRENT."""
    login_message: str = ""
    other_logins: Mapping[VersionId, Login] = field(default_factory=dict)
    """Results of logins with other versions, tried because AWSCURRENT's is rejected; untried are those for another user
    or server."""
    failed_checks: tuple[str, ...] = ()
    """Checks that failed as AWSCURRENT's user, although its login works."""
    missing_rights: tuple[str, ...] = ()
    """What AWSCURRENT's user, a clone, lacks of its base user's rights, although its login works."""
    used_ids: frozenset[VersionId] = frozenset()
    """Ids that the store rejected because it holds a different value under them."""
    locked: bool = False
    """Whether this run holds the base user's lock, on the admin session that it uses."""
    fresh: bool = False
    """Whether the stages were read under the lock, or a version that this run created proves that they did not move."""
    attempt: AttemptState = AttemptState()
    refusal: str | None = None
    """Why no admin session can be opened: without it neither the rotation nor a rollback can continue."""
    retired: bool = False
    """Whether this run removed the old password."""
    restarts: Mapping[Workload, Restart] = field(default_factory=dict)
    """Results of the restarts that this run requested for AWSCURRENT."""
    ignored_times: tuple[str, ...] = ()
    """Fields of the status whose time was in the future and was replaced, each with that time."""
    asked: bool = False
    """Whether this run asked AWS to rotate, or found it already rotating."""
    left_unfinished: int = 0
    """How many rotations of RotatedSecrets of this namespace that were deleted have not ended yet."""

    @classmethod
    def first(
        cls,
        terms: Terms,
        stages: Stages,
        current: StoredVersion,
        status: RotatedSecretStatus,
        target: TargetState | None = None,
        *,
        elsewhere: str | None = None,
        obstacle: Obstacle | None = None,
    ) -> Observation:
        """Return the observation before the first action.

        Raises:
            InvalidSecretValue: see :meth:`Terms.credential`.
        """
        credential = terms.credential(current) if terms.has_database else None
        return cls(stages, current, status, target, elsewhere, obstacle, credential)

    def with_pending(self, pending: StoredVersion, terms: Terms) -> Observation:
        """Return this observation with AWSPENDING, which was read or created."""
        credential, problem = None, None
        if terms.has_database:
            try:
                credential = terms.credential(pending)
            except InvalidSecretValue as error:
                problem = str(error)
        return replace(self, pending=pending, pending_credential=credential, pending_problem=problem)

    @property
    def current_credential(self) -> Credential:
        """AWSCURRENT's credential, for strategies that use a database.

        Raises:
            InvalidSecretValue: this strategy uses none.
        """
        if self.credential is None:
            raise InvalidSecretValue("this strategy uses no database, so the secret value holds no credential")
        return self.credential

    def in_attempt(self, **changes: Any) -> Observation:
        """Return this observation with more that is known of the present attempt."""
        return replace(self, attempt=replace(self.attempt, **changes))

    def with_status(self, status: RotatedSecretStatus) -> Observation:
        """Return this observation after its status was written: another attempt begins with nothing known of it."""
        before, now = self.claim, status.rotation
        same = before is not None and now is not None and before.version_id == now.version_id
        # The status has the failure now.
        attempt = replace(self.attempt, failure=None) if same else AttemptState()
        return replace(self, status=status, attempt=attempt, refusal=None)

    @property
    def claim(self) -> Claim | None:
        return self.status.rotation

    @property
    def current_id(self) -> VersionId:
        return self.current.version_id

    @property
    def pending_id(self) -> VersionId | None:
        """The version that carries AWSPENDING, also before its value is read."""
        return version_at(self.stages, Stage.PENDING)

    @property
    def synced(self) -> bool:
        """Whether the target Secret holds AWSCURRENT, or nothing is to be delivered."""
        return self.target is None or self.target.kind is TargetKind.EQUAL

    @property
    def proven(self) -> bool:
        """Whether a login with AWSCURRENT has succeeded, in this run or according to the status."""
        if self.login in (Login.WORKS, Login.REJECTED):
            return self.login is Login.WORKS
        ready = self.status.condition(ConditionType.READY)
        # It was true before the store could not be looked at: a login then is not undone by that.
        was_true = ready is not None and (ready.status == "True" or ready.reason == Reason.STORE_UNAVAILABLE)
        return was_true and self.status.current_version_id == self.current_id


def version_at(stages: Stages, stage: Stage) -> VersionId | None:
    """Return the version that carries a stage, if one does."""
    return next((version for version, labels in stages.items() if stage in labels), None)


def with_stage_moved(
    stages: Stages, stage: Stage, *, to: VersionId | None = None, remove_from: VersionId | None = None
) -> Stages:
    """Return the stages after UpdateSecretVersionStage.

    AWSPREVIOUS moves to the version that AWSCURRENT leaves (UpdateSecretVersionStage, API Reference).
    """
    after = {version: set(labels) for version, labels in stages.items()}
    if remove_from is not None:
        after.get(remove_from, set()).discard(stage)
    if to is not None:
        after.setdefault(to, set()).add(stage)
    if stage is Stage.CURRENT and to is not None and remove_from is not None and to != remove_from:
        for labels in after.values():
            labels.discard(Stage.PREVIOUS)
        after.setdefault(remove_from, set()).add(Stage.PREVIOUS)
    return {version: frozenset(labels) for version, labels in after.items() if labels}


def known_ids(seen: Observation) -> Iterable[VersionId]:
    """Every id of a version that is known to exist or to have existed."""
    yield from seen.stages
    yield from seen.used_ids
    yield from (entry.version_id for entry in seen.status.history if entry.version_id is not None)
