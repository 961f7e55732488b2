"""The actions that the plan can choose: each is one read or one side effect, with all the data that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from rotated_secrets.api.rollout import Workload
from rotated_secrets.api.status import Reason, RotatedSecretStatus
from rotated_secrets.values import VersionId


class _Doing:
    """Facts about each kind of action."""

    needs_database: ClassVar[bool] = True
    """Whether it connects to the database, and so waits for a free slot at its host."""
    aws_step: ClassVar[str | None] = None
    """Which of AWS's four steps it is, for metrics and logs."""


@dataclass(frozen=True)
class WriteStatus(_Doing):
    """Make a decision durable before acting on it. Rejected if another operator wrote a claim meanwhile."""

    needs_database = False

    status: RotatedSecretStatus


@dataclass(frozen=True)
class NoteStatus(_Doing):
    """Change the status without writing it yet. If the operator ends before the next write, another run decides the
    same again, from the stages of the secret."""

    needs_database = False

    status: RotatedSecretStatus


@dataclass(frozen=True)
class ReadPending(_Doing):
    """Read the value of the version that carries AWSPENDING."""

    needs_database = False


@dataclass(frozen=True)
class ProbeCurrent(_Doing):
    """Log in with AWSCURRENT once, and run the verify queries."""


@dataclass(frozen=True)
class ProbePending(_Doing):
    """Log in with AWSPENDING once: with one user, the database must accept either it or AWSCURRENT."""


@dataclass(frozen=True)
class ProbeVersion(_Doing):
    """Log in with another version than AWSCURRENT once, to know which one has the user's password."""

    version_id: VersionId


@dataclass(frozen=True)
class Lock(_Doing):
    """Open the admin session, take the base user's lock without waiting, and check the users."""


@dataclass(frozen=True)
class Refresh(_Doing):
    """Read the stages again, now that the lock keeps other operators from moving them."""


@dataclass(frozen=True)
class CreatePending(_Doing):
    """createSecret: put the next version with the stage AWSPENDING."""

    aws_step = "createSecret"

    version_id: VersionId


@dataclass(frozen=True)
class SetPending(_Doing):
    """setSecret: give the pending user, which is created if needed, the base user's rights and the pending password."""

    aws_step = "setSecret"


@dataclass(frozen=True)
class TestPending(_Doing):
    """testSecret: check that the pending credential logs in as the right user, and that the verify queries succeed."""

    aws_step = "testSecret"


@dataclass(frozen=True)
class FinishPending(_Doing):
    """finishSecret: move AWSCURRENT to the pending version."""

    aws_step = "finishSecret"

    version_id: VersionId


@dataclass(frozen=True)
class ClearPending(_Doing):
    """Remove AWSPENDING from the version that is AWSCURRENT already."""

    needs_database = False


@dataclass(frozen=True)
class SyncTarget(_Doing):
    """Write the target Secret."""

    needs_database = False


@dataclass(frozen=True)
class RestartWorkload(_Doing):
    """Restart a workload's pods with this version, unless this was done before."""

    needs_database = False

    workload: Workload
    version_id: VersionId


@dataclass(frozen=True)
class Restore(_Doing):
    """Restore the password that the pending user had; disable the login of a clone that had none."""


@dataclass(frozen=True)
class Abandon(_Doing):
    """Remove AWSPENDING from a version that will not become current."""

    version_id: VersionId


@dataclass(frozen=True)
class TakeBack(_Doing):
    """Move AWSCURRENT back to the previous version, after a frozen operator finished one that was rolled back."""

    version_id: VersionId


@dataclass(frozen=True)
class Retire(_Doing):
    """DualPassword: remove the old password, so that the user has only AWSCURRENT's."""


@dataclass(frozen=True)
class RequestRotation(_Doing):
    """External: ask AWS to rotate, and to give the new version this id."""

    needs_database = False

    version_id: VersionId


@dataclass(frozen=True)
class Hold:
    """Wait on purpose, with a named reason."""

    reason: Reason
    message: str
    until: datetime | None = None
    """When something else is due or the reason ends, if this is known."""


@dataclass(frozen=True)
class Retry:
    """Wait for a temporary obstacle to pass, such as a lock or a database that is down."""

    message: str


@dataclass(frozen=True)
class Sleep:
    """Do nothing before ``until``; None: before something happens."""

    until: datetime | None


Waiting = Hold | Retry | Sleep
"""The end of one run of the loop."""

Doing = (
    WriteStatus
    | NoteStatus
    | ReadPending
    | ProbeCurrent
    | ProbePending
    | ProbeVersion
    | Lock
    | Refresh
    | CreatePending
    | SetPending
    | TestPending
    | FinishPending
    | ClearPending
    | SyncTarget
    | RestartWorkload
    | Restore
    | Abandon
    | TakeBack
    | Retire
    | RequestRotation
)

Action = Doing | Waiting
