"""The status of a RotatedSecret: what the operator writes. The docstrings are what ``kubectl explain`` shows.

The claim (``rotation``) and ``handledRequests`` are memory that rotations depend on; the rest is for people.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, PlainSerializer

from rotated_secrets.api.rules import WrittenModel
from rotated_secrets.values import VersionId

HISTORY_LENGTH: Final = 10
_MESSAGE_LENGTH: Final = 4096
_CONDITION_MESSAGE_LENGTH: Final = 32768
NAME_LENGTH: Final = 512


class ConditionType(StrEnum):
    """What a person asks of a RotatedSecret."""

    READY = "Ready"
    SYNCED = "Synced"
    ROTATED = "Rotated"
    HELD = "Held"


class Reason(StrEnum):
    """Why a condition is as it is."""

    # Ready
    CREDENTIAL_WORKS = "CredentialWorks"
    SYNC_FAILED = "SyncFailed"
    LOGIN_FAILED = "LoginFailed"
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


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _whole_second(moment: datetime) -> datetime:
    return _utc(moment).replace(microsecond=0)


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


_as_text = PlainSerializer(_rfc3339, when_used="json")

Instant = Annotated[AwareDatetime, AfterValidator(_utc), _as_text]
"""An aware moment in UTC, written as RFC 3339, with a fraction where it has one."""

Second = Annotated[AwareDatetime, AfterValidator(_whole_second), _as_text]
"""An :data:`Instant` without a fraction, as metav1.Time has none."""


def _cut_to(length: int) -> AfterValidator:
    """What comes from outside (an annotation, a secret value, an error) may be longer than the API server takes."""
    return AfterValidator(lambda text: text[:length])


Message = Annotated[str, _cut_to(_MESSAGE_LENGTH), Field(max_length=_MESSAGE_LENGTH)]
"""A sentence for a person."""

_ConditionMessage = Annotated[str, _cut_to(_CONDITION_MESSAGE_LENGTH), Field(max_length=_CONDITION_MESSAGE_LENGTH)]
_Name = Annotated[str, _cut_to(NAME_LENGTH), Field(max_length=NAME_LENGTH)]
_Id = Annotated[VersionId, Field(max_length=64)]


class _ReportedModel(WrittenModel):
    """A part of the status. A newer operator may have written fields that this one doesn't know."""

    model_config = ConfigDict(extra="ignore")


class Condition(_ReportedModel):
    """One observation about the resource, as Kubernetes' own metav1.Condition."""

    type: Annotated[str, Field(max_length=316)]
    """Ready, Synced, Rotated or Held."""

    status: Literal["True", "False", "Unknown"]
    """True, False or Unknown."""

    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Why, in one CamelCase word."""

    message: _ConditionMessage = ""
    """Who, what, and what to do next."""

    last_transition_time: Second
    """When status changed last."""

    observed_generation: int | None = None
    """The metadata.generation that this is about."""


class Claim(_ReportedModel):
    """Why a rotation runs and from which version; written before its first side effect, kept until it is served."""

    trigger: Trigger
    """Schedule, Annotation, Creation or Resume."""

    slot: Instant | None = None
    """The due time that this rotation serves."""

    request: _Name | None = None
    """The value of the annotation rotatedsecrets.io/rotate that this rotation serves."""

    from_version_id: _Id
    """The version that is being replaced."""

    version_id: _Id | None = None
    """The version that replaces it, once it is known."""

    attempt: Annotated[int, Field(ge=1)] = 1
    """Counts the attempts for this slot or request."""

    step: Step = Step.CREATE
    """The step that runs."""

    started_at: Instant
    """When this attempt began."""

    retains: bool = False
    """DualPassword: the password of fromVersionId goes on working beside the new one."""

    asked_at: Instant | None = None
    """External: when AWS was asked to rotate, or was found to be rotating already."""

    message: Message = ""
    """What happened last."""

    failure: Message | None = None
    """Why this attempt is being rolled back; written before the first statement of the roll-back."""


class HandledRequests(_ReportedModel):
    """Which requests were served, so that each acts once, also across restarts."""

    rotate: _Name | None = None
    """The value of the annotation rotatedsecrets.io/rotate that was served last."""

    resync: _Name | None = None
    """The value of the annotation rotatedsecrets.io/resync that was served last."""

    slot: Instant | None = None
    """The last due time that was served or given up."""


class AppliedSchedule(_ReportedModel):
    """Since when the present schedule applies: changing it never rotates by surprise."""

    expression: Annotated[str, Field(max_length=256)]
    """The schedule."""

    since: Instant
    """When it was first seen."""


class HistoryEntry(_ReportedModel):
    """One attempt at a rotation that has ended."""

    version_id: _Id | None = None
    """The version that it made, if it got so far."""

    user: _Name | None = None
    """The database user whose password it set."""

    trigger: Trigger
    """Why it ran."""

    started_at: Instant
    """When it began."""

    finished_at: Instant
    """When it ended."""

    outcome: Outcome
    """Succeeded, Failed, RolledBack or Abandoned."""

    step: Step
    """The last step that it reached."""

    message: Message = ""
    """What happened."""

    attempt: Annotated[int, Field(ge=1)] = 1
    """Which attempt for its slot or request this was."""


class Retiring(_ReportedModel):
    """A password that goes on working beside the current one until its time has come."""

    version_id: _Id
    """The version that holds it."""

    user: _Name
    """Whose password it is."""

    after: Instant | None = None
    """When it ends, or a little later; not known before the target Secret holds the version that replaced it."""


class RotatedSecretStatus(_ReportedModel):
    """What was seen and done."""

    observed_generation: int | None = None
    """The metadata.generation that this status is about."""

    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=16, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
        ),
    ] = ()
    """Ready: the current version was seen to log in, and the target Secret holds it. Synced: the target Secret equals
    the current version. Rotated: the last due rotation finished. Held: a due rotation waits."""

    engine: _Name | None = None
    """The database engine that the secret value names."""

    active_user: _Name | None = None
    """The user in the current version."""

    current_version_id: _Id | None = None
    """The version that the store calls AWSCURRENT."""

    synced_version_id: _Id | None = None
    """The version that the target Secret holds."""

    rolled_out_version_id: _Id | None = None
    """The version that the workloads of rollout.restart were restarted for last, or that they began with."""

    rolling_out_version_id: _Id | None = None
    """The version that these workloads are being restarted for; gone when they all are."""

    last_rotation_time: Second | None = None
    """When the last successful rotation ended."""

    last_rotation_duration: Annotated[str, Field(max_length=32)] | None = None
    """How long it took, for example 1.2s."""

    next_rotation_time: Second | None = None
    """When the next rotation is due."""

    rotation: Claim | None = None
    """The rotation that runs or waits to be tried again."""

    handled_requests: HandledRequests = HandledRequests()
    """Which requests were served."""

    retiring: Retiring | None = None
    """DualPassword: the old password that still works."""

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
        """This status with one condition set (None is Unknown); its transition time moves only when its status does."""
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
        """This status with one more ended attempt; the oldest falls out."""
        return self.model_copy(update={"history": (entry, *self.history)[:HISTORY_LENGTH]})

    def to_patch(self) -> dict[str, Any]:
        """The status for a JSON merge patch: what is None is written as null, so that the patch removes it."""
        written = self.model_dump(mode="json", by_alias=True)
        return {key: _without_nulls(value) if isinstance(value, list) else value for key, value in written.items()}


def _without_nulls(value: Any) -> Any:
    """A merge patch replaces lists as a whole, so a null inside one would be stored, and refused."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value
