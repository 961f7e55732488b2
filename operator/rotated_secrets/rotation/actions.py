"""What the plan can ask for: each action is one look or one side effect, and says all that its doer must know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from rotated_secrets.api.rollout import Workload
from rotated_secrets.api.status import Reason, RotatedSecretStatus
from rotated_secrets.values import VersionId


class _Doing:
    """Facts that hold for every action of a kind."""

    needs_database: ClassVar[bool] = True
    """Whether it connects to the database, and so waits for a place at its host."""
    aws_step: ClassVar[str | None] = None
    """Which of AWS's four steps it is, for metrics and logs."""


@dataclass(frozen=True)
class WriteStatus(_Doing):
    """Make a decision durable before it is acted on. Refused where another operator wrote a claim meanwhile."""

    needs_database = False

    status: RotatedSecretStatus


@dataclass(frozen=True)
class ReadPending(_Doing):
    """Read the value of the version that carries AWSPENDING."""

    needs_database = False


@dataclass(frozen=True)
class ProbeCurrent(_Doing):
    """Log in as AWSCURRENT, once, and run the verify queries."""


@dataclass(frozen=True)
class ProbePending(_Doing):
    """Log in as AWSPENDING, once: with one user, either it or AWSCURRENT must be known to the database."""


@dataclass(frozen=True)
class Lock(_Doing):
    """Open the admin session, take the base user's lock without waiting, and look whether the users are ours."""


@dataclass(frozen=True)
class Refresh(_Doing):
    """Read the stages again, now that nobody else may move them."""


@dataclass(frozen=True)
class CreatePending(_Doing):
    """createSecret: put the next version, staged AWSPENDING."""

    aws_step = "createSecret"

    version_id: VersionId


@dataclass(frozen=True)
class SetPending(_Doing):
    """setSecret: the pending user exists, has the base user's rights and the pending password."""

    aws_step = "setSecret"


@dataclass(frozen=True)
class TestPending(_Doing):
    """testSecret: the pending credential logs in, is who it should be and may do what it should."""

    aws_step = "testSecret"


@dataclass(frozen=True)
class FinishPending(_Doing):
    """finishSecret: AWSCURRENT moves to the pending version."""

    aws_step = "finishSecret"

    version_id: VersionId


@dataclass(frozen=True)
class ClearPending(_Doing):
    """Take AWSPENDING off the version that is AWSCURRENT already."""

    needs_database = False


@dataclass(frozen=True)
class SyncTarget(_Doing):
    """Write the target Secret."""

    needs_database = False


@dataclass(frozen=True)
class RestartWorkload(_Doing):
    """Have a workload's pods begin anew, with this version; nothing, where they did."""

    needs_database = False

    workload: Workload
    version_id: VersionId


@dataclass(frozen=True)
class Restore(_Doing):
    """Put back the password that the pending user had, or lock out the clone that had none."""


@dataclass(frozen=True)
class Abandon(_Doing):
    """Take AWSPENDING off a version that will not become current."""

    version_id: VersionId


@dataclass(frozen=True)
class TakeBack(_Doing):
    """AWSCURRENT moves back to the version before: an operator that woke up late finished what was rolled back."""

    version_id: VersionId


@dataclass(frozen=True)
class Retire(_Doing):
    """DualPassword: take the old password away, so that AWSCURRENT's is the user's only one."""


@dataclass(frozen=True)
class RequestRotation(_Doing):
    """External: have AWS rotate, and call the new version so."""

    needs_database = False

    version_id: VersionId


@dataclass(frozen=True)
class Hold:
    """Wait on purpose, with a named reason."""

    reason: Reason
    message: str
    until: datetime | None = None
    """When something else is due, or the reason is gone, where that is known."""


@dataclass(frozen=True)
class Retry:
    """Wait for something that is in the way now and will pass: a lock, a database that is down."""

    message: str


@dataclass(frozen=True)
class Sleep:
    """Nothing is to be done before ``until``; None: before something happens."""

    until: datetime | None


Waiting = Hold | Retry | Sleep
"""The end of one run of the loop."""

Doing = (
    WriteStatus
    | ReadPending
    | ProbeCurrent
    | ProbePending
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
