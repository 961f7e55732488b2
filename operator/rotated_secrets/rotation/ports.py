"""What a rotation needs of its neighbours, and no more: the database, the status, the target Secret, the workloads.

The store's protocol is its own room's (:mod:`rotated_secrets.secretstores.base`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rotated_secrets.api.rollout import Workload
from rotated_secrets.api.status import RotatedSecretStatus
from rotated_secrets.databases.base import AdminSession, PasswordLimits, Users
from rotated_secrets.delivery.restart import Restart
from rotated_secrets.delivery.target import TargetState
from rotated_secrets.secretstores.base import StoredVersion
from rotated_secrets.values import Credential, VersionId


class LookAgain(Exception):
    """What was seen is no longer so, or someone else is at it: observe afresh before anything else is done."""


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
        """Make a status durable, unless someone else has written one since it was read: then raise LookAgain."""


class Workloads(Protocol):
    """What runs beside the resource and reads the target Secret."""

    def restart(self, workload: Workload, version_id: VersionId) -> Restart:
        """Have its pods begin anew with this version, unless they did. What is in the way is told, not raised."""


class TargetSecret(Protocol):
    """The Secret that pods mount."""

    def look(self, current: StoredVersion) -> TargetState:
        """How it compares with this version rendered, now."""

    def write(self, current: StoredVersion) -> TargetState:
        """Make it hold this version; returns what came of it."""
