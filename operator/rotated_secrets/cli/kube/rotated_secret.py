"""The fields of a RotatedSecret that the command line shows. Pure.

Objects are read leniently, not by the models of ``api``: this program runs on a person's machine, and the operator may
be newer. Unknown words are shown as they are. The models are also slow to import, and ``list`` should start fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from rotated_secrets.api.names import RESYNC_ANNOTATION, ROTATE_ANNOTATION
from rotated_secrets.cli.time_format import parse_timestamp

STEPS: Final = ("CreateSecret", "SetSecret", "TestSecret", "FinishSecret")
CONDITIONS: Final = ("Ready", "Synced", "Rotated", "Held", "Stalled")
ATTEMPTS: Final = 3
"""How many times the operator tries one rotation before it answers a request for it as failed."""
NEEDS_FIX_REASONS: Final = frozenset({"AccessDenied", "SecretNotFound", "InvalidSecretValue", "InvalidSpec"})
"""Reasons of Ready that keep a rotation from starting, although Held is not True."""

Json = Mapping[str, Any]


@dataclass(frozen=True)
class ConditionView:
    """One of Ready, Synced, Rotated, Held, Stalled."""

    type: str
    status: str
    reason: str
    message: str
    since: datetime | None

    @property
    def is_true(self) -> bool:
        return self.status == "True"


@dataclass(frozen=True)
class ClaimView:
    """The rotation that is running, or that waits to be tried again (``status.rotation``)."""

    trigger: str
    request: str | None
    version_id: str | None
    step: str
    attempt: int
    started_at: datetime | None
    message: str
    failure: str | None


@dataclass(frozen=True)
class Attempt:
    """An attempt at a rotation that has ended."""

    version_id: str | None
    user: str | None
    trigger: str
    started_at: datetime | None
    finished_at: datetime | None
    outcome: str
    step: str
    message: str
    number: int

    @property
    def took(self) -> timedelta | None:
        return self.finished_at - self.started_at if self.finished_at and self.started_at else None

    @property
    def succeeded(self) -> bool:
        return self.outcome == "Succeeded"


@dataclass(frozen=True)
class RetiringPassword:
    """An old password that still works."""

    user: str
    version_id: str
    after: datetime | None


@dataclass(frozen=True)
class RotatedSecretView:
    """One RotatedSecret at one resourceVersion."""

    namespace: str
    name: str
    uid: str
    created_at: datetime | None
    deleting: bool
    secret_id: str
    region: str | None
    strategy: str
    schedule: str | None
    suspended: bool
    target: str | None
    """Name of the Kubernetes Secret; None where the operator writes none."""
    rotate_request: str | None
    resync_request: str | None
    engine: str | None
    active_user: str | None
    current_version_id: str | None
    synced_version_id: str | None
    last_rotation: datetime | None
    last_duration: str | None
    next_rotation: datetime | None
    conditions: tuple[ConditionView, ...]
    claim: ClaimView | None
    handled_rotate: str | None
    handled_resync: str | None
    observed_rotate: str | None
    """The request that a check has seen, whatever came of it; older operators do not write it."""
    observed_resync: str | None
    retiring: RetiringPassword | None
    history: tuple[Attempt, ...]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def condition(self, kind: str) -> ConditionView | None:
        return next((each for each in self.conditions if each.type == kind), None)

    @property
    def ready(self) -> str:
        """True, False or Unknown."""
        found = self.condition("Ready")
        return found.status if found else "Unknown"

    @property
    def held(self) -> ConditionView | None:
        """The condition Held, where it is True: a due rotation waits."""
        found = self.condition("Held")
        return found if found and found.is_true else None

    @property
    def needs_fix(self) -> ConditionView | None:
        """The condition Ready, where its reason must be fixed before a rotation can start."""
        found = self.condition("Ready")
        return found if found and found.status == "False" and found.reason in NEEDS_FIX_REASONS else None

    @property
    def trouble(self) -> ConditionView | None:
        """The condition Rotated, where a step of the running rotation fails and is tried again."""
        found = self.condition("Rotated")
        return found if self.claim and found and found.status == "False" else None

    @property
    def waits_to_retry(self) -> bool:
        """Whether the last attempt failed and the next one has not started."""
        return self.claim is not None and self.claim.attempt > 1 and self.claim.version_id is None


def read(obj: Json) -> RotatedSecretView:
    """Read an object that the API server returned. Fields that are missing or of an unknown type are left out."""
    metadata, spec, status = obj["metadata"], _section(obj, "spec"), _section(obj, "status")
    source, rotation, target = _section(spec, "source"), _section(spec, "rotation"), _section(spec, "target")
    annotations = _section(metadata, "annotations")
    handled, observed = _section(status, "handledRequests"), _section(status, "observedRequests")
    return RotatedSecretView(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        created_at=parse_timestamp(metadata.get("creationTimestamp")),
        deleting="deletionTimestamp" in metadata,
        secret_id=source.get("secretId", ""),
        region=source.get("region"),
        strategy=rotation.get("strategy", ""),
        schedule=rotation.get("schedule"),
        suspended=rotation.get("suspend") is True,
        target=None if target.get("creationPolicy") == "None" else target.get("secretName") or metadata["name"],
        rotate_request=annotations.get(ROTATE_ANNOTATION),
        resync_request=annotations.get(RESYNC_ANNOTATION),
        engine=status.get("engine"),
        active_user=status.get("activeUser"),
        current_version_id=status.get("currentVersionId"),
        synced_version_id=status.get("syncedVersionId"),
        last_rotation=parse_timestamp(status.get("lastRotationTime")),
        last_duration=status.get("lastRotationDuration"),
        next_rotation=parse_timestamp(status.get("nextRotationTime")),
        conditions=tuple(sorted(map(_condition, _items(status, "conditions")), key=_position)),
        claim=_claim(status["rotation"]) if _section(status, "rotation") else None,
        handled_rotate=handled.get("rotate"),
        handled_resync=handled.get("resync"),
        observed_rotate=observed.get("rotate"),
        observed_resync=observed.get("resync"),
        retiring=_retiring(status["retiring"]) if _section(status, "retiring") else None,
        history=tuple(map(_attempt, _items(status, "history"))),
    )


def _section(of: Json, name: str) -> Json:
    found = of.get(name)
    return found if isinstance(found, Mapping) else {}


def _items(of: Json, name: str) -> list[Json]:
    return [each for each in of.get(name) or () if isinstance(each, Mapping)]


def _position(condition: ConditionView) -> int:
    return CONDITIONS.index(condition.type) if condition.type in CONDITIONS else len(CONDITIONS)


def _condition(of: Json) -> ConditionView:
    return ConditionView(
        type=of.get("type", ""),
        status=of.get("status", "Unknown"),
        reason=of.get("reason", ""),
        message=of.get("message", ""),
        since=parse_timestamp(of.get("lastTransitionTime")),
    )


def _claim(of: Json) -> ClaimView:
    return ClaimView(
        trigger=of.get("trigger", ""),
        request=of.get("request"),
        version_id=of.get("versionId"),
        step=of.get("step", STEPS[0]),
        attempt=of.get("attempt", 1),
        started_at=parse_timestamp(of.get("startedAt")),
        message=of.get("message", ""),
        failure=of.get("failure"),
    )


def _attempt(of: Json) -> Attempt:
    return Attempt(
        version_id=of.get("versionId"),
        user=of.get("user"),
        trigger=of.get("trigger", ""),
        started_at=parse_timestamp(of.get("startedAt")),
        finished_at=parse_timestamp(of.get("finishedAt")),
        outcome=of.get("outcome", ""),
        step=of.get("step", ""),
        message=of.get("message", ""),
        number=of.get("attempt", 1),
    )


def _retiring(of: Json) -> RetiringPassword:
    return RetiringPassword(of.get("user", ""), of.get("versionId", ""), parse_timestamp(of.get("after")))
