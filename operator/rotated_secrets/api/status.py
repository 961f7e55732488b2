"""The status of a RotatedSecret: what the operator writes. The docstrings are what ``kubectl explain`` shows.

Rotations depend on the claim (``rotation``) and on ``handledRequests``; the rest is for people.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from rotated_secrets.api.fields import ConditionMessage, Instant, Message, ReportedName, Second
from rotated_secrets.api.observed_requests import ObservedRequests
from rotated_secrets.api.rules import WrittenModel
from rotated_secrets.values import VersionId

_BY_TYPE: Final[dict[str, Any]] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
HISTORY_LENGTH: Final = 10


class ConditionType(StrEnum):
    """Types of the conditions of a RotatedSecret."""

    READY = "Ready"
    SYNCED = "Synced"
    ROTATED = "Rotated"
    HELD = "Held"
    STALLED = "Stalled"


class Reason(StrEnum):
    """Reasons of the conditions."""

    # Ready
    CREDENTIAL_WORKS = "CredentialWorks"
    SYNC_FAILED = "SyncFailed"
    LOGIN_FAILED = "LoginFailed"
    RIGHTS_MISSING = "RightsMissing"
    ACCESS_DENIED = "AccessDenied"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, not a password
    INVALID_SECRET_VALUE = "InvalidSecretValue"  # noqa: S105
    INVALID_SPEC = "InvalidSpec"
    # Synced
    UP_TO_DATE = "UpToDate"
    NOTHING_TO_DELIVER = "NothingToDeliver"
    TEMPLATE_FAILED = "TemplateFailed"
    SECRET_CONFLICT = "SecretConflict"  # noqa: S105
    SECRET_TYPE_IMMUTABLE = "SecretTypeImmutable"  # noqa: S105
    NOT_OURS = "NotOurs"
    # Rotated
    ROTATION_SUCCEEDED = "RotationSucceeded"
    NEVER_ROTATED = "NeverRotated"
    ROTATING = "Rotating"
    CREATE_FAILED = "CreateFailed"
    SET_FAILED = "SetFailed"
    TEST_FAILED = "TestFailed"
    FINISH_FAILED = "FinishFailed"
    RETIRE_FAILED = "RetireFailed"
    ROLLED_BACK = "RolledBack"
    ABANDONED = "Abandoned"
    # Held
    STORE_UNAVAILABLE = "StoreUnavailable"
    NOT_HELD = "NotHeld"
    UNSYNCED = "Unsynced"
    SUSPENDED = "Suspended"
    TOO_MANY_REQUESTS = "TooManyRequests"
    MANAGED_ELSEWHERE = "ManagedElsewhere"
    VERIFY_QUERIES_FAILED = "VerifyQueriesFailed"


class Trigger(StrEnum):
    """Why a rotation runs."""

    SCHEDULE = "Schedule"
    ANNOTATION = "Annotation"
    CREATION = "Creation"
    RESUME = "Resume"


class Step(StrEnum):
    """AWS's four steps of a rotation."""

    CREATE = "CreateSecret"
    SET = "SetSecret"
    TEST = "TestSecret"
    FINISH = "FinishSecret"


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    ROLLED_BACK = "RolledBack"
    ABANDONED = "Abandoned"


_Id = Annotated[VersionId, Field(max_length=64)]


class _ReportedModel(WrittenModel):
    """A part of the status. Ignores fields that this version does not know: a newer operator may have written them."""

    model_config = ConfigDict(extra="ignore")


class Condition(_ReportedModel):
    """One observation about the resource, as Kubernetes' own metav1.Condition."""

    type: Annotated[str, Field(max_length=316)]
    """Ready, Synced, Rotated, Held or Stalled."""

    status: Literal["True", "False", "Unknown"]
    """True, False or Unknown."""

    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Reason of this status, in one CamelCase word."""

    message: ConditionMessage = ""
    """Who, what, and what to do next."""

    last_transition_time: Second
    """When `status` last changed."""

    observed_generation: int | None = None
    """The `metadata.generation` that this condition is about."""


class Claim(_ReportedModel):
    """Why a rotation runs and from which version. Written before the first side effect, removed when the rotation has
    ended."""

    trigger: Trigger
    """Why the rotation runs. Resume: it was found half done, and its claim was lost."""

    slot: Instant | None = None
    """The due time that this rotation serves."""

    request: ReportedName | None = None
    """The value of the annotation `rotatedsecrets.io/rotate` that this rotation serves."""

    from_version_id: _Id
    """The version that is being replaced."""

    version_id: _Id | None = None
    """The version that replaces it, as soon as it is known."""

    attempt: Annotated[int, Field(ge=1)] = 1
    """Number of this attempt for its slot or request, from 1."""

    step: Step = Step.CREATE
    """The step that runs now. TestSecret and FinishSecret are written when they fail."""

    started_at: Instant
    """When this attempt began."""

    retains: bool = False
    """DualPassword: the password of `fromVersionId` still works beside the new one."""

    asked_at: Instant | None = None
    """External: when the operator asked AWS to rotate, or found AWS already rotating."""

    message: Message = ""
    """What happened last."""

    failure: Message | None = None
    """Why this attempt is being rolled back; written before the first statement of the rollback."""


class HandledRequests(_ReportedModel):
    """Requests that were served already, so that each acts once, also after a restart of the operator."""

    rotate: ReportedName | None = None
    """The value of the annotation `rotatedsecrets.io/rotate` that was served last, or had failed three times."""

    resync: ReportedName | None = None
    """The value of the annotation `rotatedsecrets.io/resync` that was served last."""

    slot: Instant | None = None
    """The last due time that was served."""


class AppliedSchedule(_ReportedModel):
    """Since when the present schedule applies, so that a change of it never starts an unexpected rotation."""

    expression: Annotated[str, Field(max_length=256)]
    """The schedule."""

    since: Instant
    """When the operator first saw this schedule."""


class HistoryEntry(_ReportedModel):
    """One attempt of a rotation that has ended."""

    version_id: _Id | None = None
    """The version that the attempt created, if it came so far."""

    user: ReportedName | None = None
    """The database user whose password the attempt set."""

    trigger: Trigger
    """Why the attempt ran."""

    started_at: Instant
    """When the attempt began."""

    finished_at: Instant
    """When the attempt ended."""

    outcome: Outcome
    """How the attempt ended."""

    step: Step
    """The last step that the attempt reached."""

    message: Message = ""
    """What happened."""

    attempt: Annotated[int, Field(ge=1)] = 1
    """Number of the attempt for its slot or request, from 1."""


class Retiring(_ReportedModel):
    """An old password that still works beside the current one until its end."""

    version_id: _Id
    """The version that holds the old password."""

    user: ReportedName
    """The database user whose password it is."""

    since: Instant | None = None
    """When the target Secret got the version that replaced it."""

    after: Instant | None = None
    """Time from which the old password is taken away. Not known before the target Secret holds the version that
    replaced it."""


class RotatedSecretStatus(_ReportedModel):
    """What the operator saw and did."""

    observed_generation: int | None = None
    """The `metadata.generation` that this status is about."""

    conditions: Annotated[tuple[Condition, ...], Field(max_length=16, json_schema_extra=_BY_TYPE)] = ()
    """Ready: a login with the current version succeeded, and the target Secret holds this version. Synced: the target
    Secret equals the current version. Rotated: the last due rotation finished. Held: a due rotation waits.
    Stalled, only while it is True: a person has to correct something."""

    state: Annotated[str, Field(max_length=1024)] | None = None
    """`OK`, or the reason of the condition that is worst: Ready and Synced, then a failed Rotated, then Held."""

    engine: ReportedName | None = None
    """The database engine that the secret value names."""

    active_user: ReportedName | None = None
    """The user in the current version."""

    current_version_id: _Id | None = None
    """The version with the stage AWSCURRENT in Secrets Manager, by the last check that came to its end."""

    synced_version_id: _Id | None = None
    """The version in the target Secret, by the last check that came to its end. Synced says what is so now."""

    rolled_out_version_id: _Id | None = None
    """The version that the workloads of `spec.rollout.restart` were last restarted for, or that they started with."""

    rolling_out_version_id: _Id | None = None
    """The version that these workloads are being restarted for now; removed when all of them were."""

    last_login_time: Second | None = None
    """When a login with the current version last succeeded. A clone's is tried again some hours later: it shows whether
    the user still has its rights."""

    last_rotation_time: Second | None = None
    """When the last successful rotation ended."""

    last_rotation_duration: Annotated[str, Field(max_length=32)] | None = None
    """How long that rotation took, for example `1.2s`."""

    next_rotation_time: Second | None = None
    """When the next rotation is due."""

    rotation: Claim | None = None
    """The rotation that runs or waits for its next attempt. Written before its first side effect, removed when it has
    ended."""

    handled_requests: HandledRequests = HandledRequests()
    """Requests that were served already."""

    observed_requests: ObservedRequests | None = None
    """Requests that a check has seen, whatever came of it."""

    retiring: Retiring | None = None
    """DualPassword: the old password that still works."""

    alone_version_id: _Id | None = None
    """DualPassword: the version beside whose password no older one works, since it was taken away."""

    schedule: AppliedSchedule | None = None
    """Since when the present schedule applies."""

    history: Annotated[tuple[HistoryEntry, ...], Field(max_length=HISTORY_LENGTH)] = ()
    """The last ten attempts, newest first."""

    def condition(self, kind: ConditionType) -> Condition | None:
        """The condition of this type, if it was ever set."""
        return next((condition for condition in self.conditions if condition.type == kind), None)

    def with_condition(
        self, kind: ConditionType, status: bool | None, reason: Reason, message: str, *, now: datetime, generation: int
    ) -> RotatedSecretStatus:
        """Return this status with one condition set (None is Unknown). Its transition time follows its status."""
        word: Literal["True", "False", "Unknown"] = "Unknown" if status is None else "True" if status else "False"
        before = self.condition(kind)
        since = before.last_transition_time if before is not None and before.status == word else now
        condition = Condition(
            type=kind,
            status=word,
            reason=reason,
            message=message,
            last_transition_time=since,
            observed_generation=generation,
        )
        others = {other.type: other for other in self.conditions} | {kind.value: condition}
        return self.model_copy(update={"conditions": tuple(others.values())})

    def with_history(self, entry: HistoryEntry) -> RotatedSecretStatus:
        """Return this status with one more ended attempt; the oldest one is dropped when there are too many."""
        return self.model_copy(update={"history": (entry, *self.history)[:HISTORY_LENGTH]})

    def to_patch(self) -> dict[str, Any]:
        """Return the status for a JSON merge patch: None becomes null, so that the patch removes the field."""
        written = self.model_dump(mode="json", by_alias=True)
        return {key: _without_nulls(value) if isinstance(value, list) else value for key, value in written.items()}


def _without_nulls(value: Any) -> Any:
    """A merge patch replaces lists as a whole, so a null inside one would be stored, and refused."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value
