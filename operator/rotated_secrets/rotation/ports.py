"""What a rotation needs of its neighbours, and no more: the database, the status, the target Secret, the workloads.

The store's protocol is its own room's (:mod:`rotated_secrets.secretstores.base`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from rotated_secrets.api.rollout import Workload
from rotated_secrets.api.status import RotatedSecretStatus
from rotated_secrets.databases.base import AdminSession, PasswordLimits, Refused, RightsReport, Users
from rotated_secrets.delivery.restart import Restart
from rotated_secrets.delivery.target import TargetState
from rotated_secrets.rotation.actions import Doing
from rotated_secrets.rotation.observation import Observation
from rotated_secrets.secretstores.base import SecretStore, StoredVersion
from rotated_secrets.values import Credential, VersionId


class LookAgain(Exception):
    """What was seen is no longer so, or another operator is at work: observe again before anything else is done."""


class Database(Protocol):
    """The database that one secret's credential logs in to."""

    @property
    def limits(self) -> PasswordLimits:
        """What it takes as a password."""

    def verify(self, credential: Credential, users: Users, queries: Sequence[str]) -> list[str]:
        """See :meth:`rotated_secrets.databases.base.Engine.verify`."""

    def open_admin(self, own: Credential) -> AdminSession:
        """Log in by the admin secret or, where there is none, as ``own``.

        See :meth:`rotated_secrets.databases.base.Engine.open_admin`.
        """


class StatusWriter(Protocol):
    """Where the resource's status is kept."""

    def write(self, status: RotatedSecretStatus) -> None:
        """Make a status durable. Raises: LookAgain, where another operator has written one since it was read."""


class Workloads(Protocol):
    """What runs beside the resource and reads the target Secret."""

    def restart(self, workload: Workload, version_id: VersionId) -> Restart:
        """Restart its pods with this version, unless they run with it. An obstacle is returned, not raised."""


class TargetSecret(Protocol):
    """The Secret that pods mount."""

    def look(self, current: StoredVersion) -> TargetState:
        """Compare it, as it was last read or written, with this version rendered."""

    def look_again(self, current: StoredVersion) -> TargetState:
        """Read it, and compare it with this version rendered."""

    def write(self, current: StoredVersion) -> TargetState:
        """Make it hold this version; returns what came of it."""


@dataclass(frozen=True)
class PasswordSet:
    """What setSecret did beside setting a password, for events and people."""

    user: str
    rights: RightsReport
    sessions: int | None
    """How many sessions the user had when its password was set; None where that can't be seen."""


class Reports(Protocol):
    """Tells people what a run does. Nothing here decides, and nothing here fails."""

    def acting(self, action: Doing) -> AbstractContextManager[None]:
        """Stand around an action while it is done."""

    def acted(self, action: Doing, seen: Observation) -> None:
        """An action was done, and this is known after it."""

    def set_password(self, report: PasswordSet) -> None:
        """SetSecret has set a password."""

    def failed(self, error: Exception) -> None:
        """An action could not be done now, and is tried again."""

    def value_refused(self, error: Refused) -> None:
        """The secret value asks for what is never done, such as a connection to a host that is guarded."""

    def concluding(self, seen: Observation) -> None:
        """The run is over; its status is about to be written."""

    def concluded(self, status: RotatedSecretStatus) -> None:
        """The run is over, and this status says what came of it."""


@dataclass(frozen=True)
class Ports:
    """What one run acts on."""

    store: SecretStore
    database: Database | None
    """None where the strategy reaches no database."""
    status: StatusWriter
    target: TargetSecret | None
    """None where nothing is delivered."""
    workloads: Workloads | None
    reports: Reports
    guard: Callable[[], None]
    """Raises when this operator may not act any more; called before every side effect."""
    now: Callable[[], datetime]
