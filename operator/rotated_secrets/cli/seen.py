"""What is read of a RotatedSecret to tell a person about it. Pure.

Read leniently, and not by the models of ``api``: this program runs on a person's machine, and the operator may be a
newer one, whose words it passes on as they are. And what is listed every few minutes should start fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from rotated_secrets.api.names import RESYNC_ANNOTATION, ROTATE_ANNOTATION
from rotated_secrets.cli import moments

STEPS: Final = ("CreateSecret", "SetSecret", "TestSecret", "FinishSecret")
CONDITIONS: Final = ("Ready", "Synced", "Rotated", "Held")
ATTEMPTS: Final = 3
"""How often the operator tries one rotation."""
UNUSABLE: Final = frozenset({"AccessDenied", "SecretNotFound", "InvalidSecretValue", "InvalidSpec"})
"""Reasons of Ready for which no rotation begins, although Held does not say so."""

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Condition:
    """One of Ready, Synced, Rotated, Held."""

    type: str
    status: str
    reason: str
    message: str
    since: datetime | None

    @property
    def holds(self) -> bool:
        return self.status == "True"


@dataclass(frozen=True)
class Claim:
    """The rotation that runs, or waits to be tried again."""

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
    """One attempt at a rotation that has ended."""

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
class Retiring:
    """An old password that still works beside the new one."""

    user: str
    version_id: str
    after: datetime | None


@dataclass(frozen=True)
class Seen:
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
    """The Secret that is delivered; None where none is."""
    rotate_request: str | None
    resync_request: str | None
    engine: str | None
    active_user: str | None
    current_version_id: str | None
    synced_version_id: str | None
    last_rotation: datetime | None
    last_duration: str | None
    next_rotation: datetime | None
    conditions: tuple[Condition, ...]
    claim: Claim | None
    handled_rotate: str | None
    handled_resync: str | None
    retiring: Retiring | None
    history: tuple[Attempt, ...]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def condition(self, kind: str) -> Condition | None:
        return next((each for each in self.conditions if each.type == kind), None)

    @property
    def ready(self) -> str:
        """True, False or Unknown."""
        found = self.condition("Ready")
        return found.status if found else "Unknown"

    @property
    def held(self) -> Condition | None:
        """Why a due rotation waits on purpose, where one does."""
        found = self.condition("Held")
        return found if found and found.holds else None

    @property
    def unusable(self) -> Condition | None:
        """What has to be mended before any rotation begins."""
        found = self.condition("Ready")
        return found if found and found.status == "False" and found.reason in UNUSABLE else None

    @property
    def trouble(self) -> Condition | None:
        """What keeps the rotation that runs from going on; it is tried again."""
        found = self.condition("Rotated")
        return found if self.claim and found and found.status == "False" else None

    @property
    def waits_to_retry(self) -> bool:
        """The last attempt failed, and the next one has not begun."""
        return self.claim is not None and self.claim.attempt > 1 and self.claim.version_id is None


def read(obj: Json) -> Seen:
    """Of the object as the API server returned it. What is not there, or not of the kind that is known, is left out."""
    metadata, spec, status = obj["metadata"], _section(obj, "spec"), _section(obj, "status")
    source, rotation, target = _section(spec, "source"), _section(spec, "rotation"), _section(spec, "target")
    annotations, handled = _section(metadata, "annotations"), _section(status, "handledRequests")
    return Seen(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        created_at=moments.read(metadata.get("creationTimestamp")),
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
        last_rotation=moments.read(status.get("lastRotationTime")),
        last_duration=status.get("lastRotationDuration"),
        next_rotation=moments.read(status.get("nextRotationTime")),
        conditions=tuple(sorted(map(_condition, _items(status, "conditions")), key=_place)),
        claim=_claim(status["rotation"]) if _section(status, "rotation") else None,
        handled_rotate=handled.get("rotate"),
        handled_resync=handled.get("resync"),
        retiring=_retiring(status["retiring"]) if _section(status, "retiring") else None,
        history=tuple(map(_attempt, _items(status, "history"))),
    )


def _section(of: Json, name: str) -> Json:
    found = of.get(name)
    return found if isinstance(found, Mapping) else {}


def _items(of: Json, name: str) -> list[Json]:
    return [each for each in of.get(name) or () if isinstance(each, Mapping)]


def _place(condition: Condition) -> int:
    return CONDITIONS.index(condition.type) if condition.type in CONDITIONS else len(CONDITIONS)


def _condition(of: Json) -> Condition:
    return Condition(
        type=of.get("type", ""),
        status=of.get("status", "Unknown"),
        reason=of.get("reason", ""),
        message=of.get("message", ""),
        since=moments.read(of.get("lastTransitionTime")),
    )


def _claim(of: Json) -> Claim:
    return Claim(
        trigger=of.get("trigger", ""),
        request=of.get("request"),
        version_id=of.get("versionId"),
        step=of.get("step", STEPS[0]),
        attempt=of.get("attempt", 1),
        started_at=moments.read(of.get("startedAt")),
        message=of.get("message", ""),
        failure=of.get("failure"),
    )


def _attempt(of: Json) -> Attempt:
    return Attempt(
        version_id=of.get("versionId"),
        user=of.get("user"),
        trigger=of.get("trigger", ""),
        started_at=moments.read(of.get("startedAt")),
        finished_at=moments.read(of.get("finishedAt")),
        outcome=of.get("outcome", ""),
        step=of.get("step", ""),
        message=of.get("message", ""),
        number=of.get("attempt", 1),
    )


def _retiring(of: Json) -> Retiring:
    return Retiring(of.get("user", ""), of.get("versionId", ""), moments.read(of.get("after")))
