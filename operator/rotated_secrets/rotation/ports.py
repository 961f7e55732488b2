"""Protocols that a rotation needs: the database, the status, the target Secret, the workloads, and reports.

The protocol of the store is in :mod:`rotated_secrets.secretstores.base`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from rotated_secrets.api.rollout import Workload
from rotated_secrets.api.status import ConditionType, RotatedSecretStatus
from rotated_secrets.databases.base import AdminSession, PasswordLimits, RightsReport, Users
from rotated_secrets.delivery.restart import Restart
from rotated_secrets.delivery.target import TargetState
from rotated_secrets.rotation.actions import Doing
from rotated_secrets.rotation.observation import Observation
from rotated_secrets.secretstores.base import SecretStore, StoredVersion
from rotated_secrets.values import Credential, VersionId

if TYPE_CHECKING:
    from rotated_secrets.rotation.report import Finding


class LookAgain(Exception):
    """The observation is outdated, or another operator is at work: observe again before doing anything else."""


class Database(Protocol):
    """The database in which one secret's credential logs in."""

    @property
    def limits(self) -> PasswordLimits:
        """What it accepts as a password."""

    def verify(self, credential: Credential, users: Users, queries: Sequence[str]) -> list[str]:
        """See :meth:`rotated_secrets.databases.base.Engine.verify`."""

    def open_admin(self, own: Credential) -> AdminSession:
        """Log in with the admin secret or, if there is none, with ``own``.

        See :meth:`rotated_secrets.databases.base.Engine.open_admin`.
        """

    def close(self) -> None:
        """End what the run has opened there."""


class StatusWriter(Protocol):
    """Stores the resource's status."""

    def write(self, status: RotatedSecretStatus) -> None:
        """Make a status durable. Raises: LookAgain, if another operator has written it since it was read."""

    def note(self, status: RotatedSecretStatus) -> None:
        """Have a status that nothing depends on: it becomes durable with the next one."""


class Workloads(Protocol):
    """The workloads in the resource's namespace that read the target Secret."""

    def restart(self, workload: Workload, version_id: VersionId) -> Restart:
        """Restart its pods with this version, unless this was done before. A failure is returned, not raised."""


class TargetSecret(Protocol):
    """The Secret that pods mount."""

    def look(self, current: StoredVersion) -> TargetState:
        """Compare the Secret, as last read or written, with this version rendered."""

    def look_again(self, current: StoredVersion) -> TargetState:
        """Read the Secret again, and compare it with this version rendered."""

    def write(self, current: StoredVersion) -> TargetState:
        """Write this version into the Secret; returns the resulting state."""


@dataclass(frozen=True)
class PasswordSet:
    """What setSecret did in addition to setting a password, for Events and logs."""

    user: str
    rights: RightsReport
    sessions: int | None
    """Number of the user's sessions when its password was set; None if the admin cannot see them."""


class Reports(Protocol):
    """Reports what a run does, in Events, metrics and logs. Its methods decide nothing and never raise."""

    def acting(self, action: Doing) -> AbstractContextManager[None]:
        """Surround an action while it runs, for example to measure its time."""

    def acted(self, action: Doing, seen: Observation) -> None:
        """An action is done; ``seen`` is the observation after it."""

    def set_password(self, report: PasswordSet) -> None:
        """SetSecret has set a password."""

    def failed(self, error: Exception, findings: Mapping[ConditionType, Finding]) -> None:
        """An action failed, and will be tried again; ``findings`` are what Ready and Synced are now."""

    def concluding(self, seen: Observation) -> None:
        """The run has ended; its status is about to be written."""

    def concluded(self, status: RotatedSecretStatus) -> None:
        """The run has ended with this status, which is written next."""


@dataclass(frozen=True)
class Ports:
    """Everything that one run acts on."""

    store: SecretStore
    database: Database | None
    """None if the strategy uses no database."""
    status: StatusWriter
    target: TargetSecret | None
    """None if nothing is delivered."""
    workloads: Workloads | None
    reports: Reports
    guard: Callable[[], None]
    """Raises if this operator may no longer act; called before every side effect."""
    now: Callable[[], datetime]
