"""What is known of one secret, its database users and its target Secret while a rotation is decided on. Immutable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum

from rotated_secrets.api.rollout import Workload
from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.status import Claim, ConditionType, Reason, RotatedSecretStatus
from rotated_secrets.delivery.restart import Restart
from rotated_secrets.delivery.target import TargetKind, TargetState
from rotated_secrets.rotation.schedule import Schedule
from rotated_secrets.secretstores.base import Stages, StoredVersion
from rotated_secrets.values import Arn, Credential, Endpoint, InvalidSecretValue, Stage, VersionId


class Login(Enum):
    """What a login answered."""

    UNTRIED = "untried"
    WORKS = "works"
    REJECTED = "rejected"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Terms:
    """What was asked for: the part of the resource that a rotation depends on, read once."""

    arn: Arn
    rotation: Rotation
    schedule: Schedule | None
    request: str | None
    """What the annotation that asks for a rotation says now."""
    created_at: datetime
    """When the resource was created: the slot of a rotation that is due at creation."""
    endpoint: Endpoint | None = Endpoint()  # noqa: RUF009 - frozen
    """Where the credential logs in beside what its value says; None where it logs in nowhere that we know of."""
    resync: str | None = None
    """What the annotation that asks for a look at everything says now."""
    request_interval: timedelta | None = None
    """How often requests are served when they come without end; as many as the history holds may come at once."""
    restart: tuple[Workload, ...] = ()
    """What is restarted when the target Secret has a new value."""

    @property
    def has_database(self) -> bool:
        """Whether there is something that knows the credential, and can be asked whether it is right."""
        return self.endpoint is not None

    @property
    def keeps_current(self) -> bool:
        """Whether AWSCURRENT goes on logging in while the next version is set and tested."""
        return self.rotation.strategy in (Strategy.ALTERNATING_USERS, Strategy.DUAL_PASSWORD)

    def credential(self, version: StoredVersion) -> Credential:
        """Parse the credential in a version of this secret.

        Raises:
            InvalidSecretValue: see :meth:`Credential.of`.
        """
        return Credential.of(version.value, self.endpoint or Endpoint(), arn=version.arn, version_id=version.version_id)


@dataclass(frozen=True)
class Obstacle:
    """What a person must mend before anything is rotated. What is current is delivered all the same."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Observation:
    """One look at everything. An action's result is the next observation."""

    stages: Stages
    current: StoredVersion
    """The version that carries AWSCURRENT."""
    status: RotatedSecretStatus
    """As last written: the claim in it says why a rotation runs."""
    target: TargetState | None
    """How the target Secret compares with AWSCURRENT rendered; None where nothing is delivered."""
    elsewhere: str | None = None
    """Who else rotates this secret, so that we must not: a sentence."""
    obstacle: Obstacle | None = None
    credential: Credential | None = None
    """What is in AWSCURRENT; None where the strategy reaches no database."""
    pending: StoredVersion | None = None
    """The version that carries AWSPENDING, once it was read."""
    pending_credential: Credential | None = None
    """What is in AWSPENDING, once it was read; None where no credential is in it."""
    pending_problem: str | None = None
    """Why there is no credential in AWSPENDING, though it was read."""
    login: Login = Login.UNTRIED
    """What AWSCURRENT's login answered."""
    login_message: str = ""
    pending_login: Login = Login.UNTRIED
    """What AWSPENDING's login answered, where it was asked instead."""
    failed_checks: tuple[str, ...] = ()
    """What did not succeed as AWSCURRENT's user, though it logs in."""
    used_ids: frozenset[VersionId] = frozenset()
    """Ids that the store refused because it knows another value under them."""
    locked: bool = False
    """This run holds the database's lock of the base user, on the admin session that it will use."""
    fresh: bool = False
    """The stages were read under the lock, or a version that this run created proves that nothing moved."""
    password_set: bool = False
    """This run set the pending password and the rights."""
    tested: bool = False
    failure: str | None = None
    """Why this attempt cannot succeed, as this run found out."""
    refusal: str | None = None
    """Why the admin session is not to be had: no way on, and no way back either."""
    restored: bool = False
    """This run put the old password back."""
    retired: bool = False
    """This run took the old password away."""
    restarts: Mapping[Workload, Restart] = field(default_factory=dict)
    """What came of the restarts that this run asked for, for AWSCURRENT."""
    asked: bool = False
    """This run had AWS rotate, or found that it does."""

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
        """What is known before anything is done.

        Raises:
            InvalidSecretValue: see :meth:`Terms.credential`.
        """
        credential = terms.credential(current) if terms.has_database else None
        return cls(stages, current, status, target, elsewhere, obstacle, credential)

    def with_pending(self, pending: StoredVersion, terms: Terms) -> Observation:
        """This observation once AWSPENDING was read, or made."""
        credential, problem = None, None
        if terms.has_database:
            try:
                credential = terms.credential(pending)
            except InvalidSecretValue as error:
                problem = str(error)
        return replace(self, pending=pending, pending_credential=credential, pending_problem=problem)

    @property
    def current_credential(self) -> Credential:
        """AWSCURRENT's credential, for strategies that reach a database.

        Raises:
            InvalidSecretValue: this one does not.
        """
        if self.credential is None:
            raise InvalidSecretValue("this strategy reaches no database, so the secret value holds no credential")
        return self.credential

    @property
    def claim(self) -> Claim | None:
        return self.status.rotation

    @property
    def current_id(self) -> VersionId:
        return self.current.version_id

    @property
    def pending_id(self) -> VersionId | None:
        """The version that carries AWSPENDING, read or not."""
        return version_at(self.stages, Stage.PENDING)

    @property
    def synced(self) -> bool:
        """Nothing stands between AWSCURRENT and the pods: the target Secret holds it, or there is none to be held."""
        return self.target is None or self.target.kind is TargetKind.EQUAL

    @property
    def proven(self) -> bool:
        """AWSCURRENT was seen to log in, now or when the status said so."""
        if self.login in (Login.WORKS, Login.REJECTED):
            return self.login is Login.WORKS
        ready = self.status.condition(ConditionType.READY)
        return ready is not None and ready.status == "True" and self.status.current_version_id == self.current_id


def version_at(stages: Stages, stage: Stage) -> VersionId | None:
    """The version that carries a stage, if one does."""
    return next((version for version, labels in stages.items() if stage in labels), None)


def with_stage_moved(
    stages: Stages, stage: Stage, *, to: VersionId | None = None, remove_from: VersionId | None = None
) -> Stages:
    """The stages after UpdateSecretVersionStage.

    AWSPREVIOUS goes to the version that AWSCURRENT leaves (UpdateSecretVersionStage, API Reference).
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
    """Every id of a version that exists or existed, as far as this look tells."""
    yield from seen.stages
    yield from seen.used_ids
    yield from (entry.version_id for entry in seen.status.history if entry.version_id is not None)
