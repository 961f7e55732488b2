"""What the plan can ask for: each action is one look or one side effect, and says all that its doer must know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rotated_secrets.api.rollout import Workload
from rotated_secrets.api.status import Reason, RotatedSecretStatus
from rotated_secrets.values import VersionId


@dataclass(frozen=True)
class WriteStatus:
    """Make a decision durable before it is acted on. Refused where another operator wrote a claim meanwhile."""

    status: RotatedSecretStatus


@dataclass(frozen=True)
class ReadPending:
    """Read the value of the version that carries AWSPENDING."""


@dataclass(frozen=True)
class ProbeCurrent:
    """Log in as AWSCURRENT, once, and run the verify queries."""


@dataclass(frozen=True)
class ProbePending:
    """Log in as AWSPENDING, once: with one user, either it or AWSCURRENT must be known to the database."""


@dataclass(frozen=True)
class Lock:
    """Open the admin session, take the base user's lock without waiting, and look whether the users are ours."""


@dataclass(frozen=True)
class Refresh:
    """Read the stages again, now that nobody else may move them."""


@dataclass(frozen=True)
class CreatePending:
    """createSecret: put the next version, staged AWSPENDING."""

    version_id: VersionId


@dataclass(frozen=True)
class SetPending:
    """setSecret: the pending user exists, has the base user's rights and the pending password."""


@dataclass(frozen=True)
class TestPending:
    """testSecret: the pending credential logs in, is who it should be and may do what it should."""


@dataclass(frozen=True)
class FinishPending:
    """finishSecret: AWSCURRENT moves to the pending version."""

    version_id: VersionId


@dataclass(frozen=True)
class ClearPending:
    """Take AWSPENDING off the version that is AWSCURRENT already."""


@dataclass(frozen=True)
class SyncTarget:
    """Write the target Secret."""


@dataclass(frozen=True)
class RestartWorkload:
    """Have a workload's pods begin anew, with this version; nothing, where they did."""

    workload: Workload
    version_id: VersionId


@dataclass(frozen=True)
class Restore:
    """Put back the password that the pending user had, or lock out the clone that had none."""


@dataclass(frozen=True)
class Abandon:
    """Take AWSPENDING off a version that will not become current."""

    version_id: VersionId


@dataclass(frozen=True)
class TakeBack:
    """AWSCURRENT moves back to the version before: an operator that woke up late finished what was rolled back."""

    version_id: VersionId


@dataclass(frozen=True)
class Retire:
    """DualPassword: take the old password away, so that AWSCURRENT's is the user's only one."""


@dataclass(frozen=True)
class RequestRotation:
    """External: have AWS rotate, and call the new version so."""

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
