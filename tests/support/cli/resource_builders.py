"""Build RotatedSecrets as the API server returns them, with a status that the models of the operator write."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console, RenderableType

from rotated_secrets.api.status import (
    Claim,
    ConditionType,
    HistoryEntry,
    Outcome,
    Reason,
    RotatedSecretStatus,
    Step,
    Trigger,
)
from rotated_secrets.cli.kube.rotated_secret import RotatedSecretView, read
from rotated_secrets.cli.view.printer import UNLIMITED
from rotated_secrets.values import VersionId

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
FIRST, SECOND = VersionId("5e56c32b-6beb-577e-a6a7-000000000001"), VersionId("5e56c32b-6beb-577e-a6a7-000000000002")
HEALTHY = {
    ConditionType.READY: (True, Reason.CREDENTIAL_WORKS, "AWSCURRENT works"),
    ConditionType.SYNCED: (True, Reason.UP_TO_DATE, "the target Secret holds it"),
    ConditionType.ROTATED: (True, Reason.ROTATION_SUCCEEDED, "AWSCURRENT is new"),
    ConditionType.HELD: (False, Reason.NOT_HELD, "no rotation is held"),
}
Conditions = Mapping[ConditionType, tuple[bool | None, Reason, str]]


def status_of(conditions: Conditions | None = None, **fields: Any) -> RotatedSecretStatus:
    """A healthy status, except for the given conditions and fields."""
    status = RotatedSecretStatus.model_validate(
        {
            "engine": "postgres",
            "active_user": "orders",
            "current_version_id": FIRST,
            "synced_version_id": FIRST,
            "last_rotation_time": NOW - timedelta(days=3),
            "last_rotation_duration": "1.2s",
            "next_rotation_time": NOW + timedelta(days=4),
        }
        | fields
    )
    for kind, (word, reason, message) in (HEALTHY | dict(conditions or {})).items():
        status = status.with_condition(kind, word, reason, message, now=NOW - timedelta(minutes=5), generation=1)
    return status


def object_of(
    status: RotatedSecretStatus | None = None,
    *,
    name: str = "orders-db",
    namespace: str = "shop",
    annotations: dict[str, str] | None = None,
    metadata: dict[str, Any] | None = None,
    target: dict[str, Any] | None = None,
    **rotation: Any,
) -> dict[str, Any]:
    written = {} if status is None else status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": f"uid-of-{name}",
            "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": annotations or {},
            **(metadata or {}),
        },
        "spec": {
            "source": {"secretId": f"{namespace}/{name}"},
            "rotation": {"strategy": "AlternatingUsers", **rotation},
            "target": target or {},
        },
        "status": written,
    }


def view_of(status: RotatedSecretStatus | None = None, **fields: Any) -> RotatedSecretView:
    return read(object_of(status, **fields))


def with_condition(resource: RotatedSecretView, kind: ConditionType, **fields: Any) -> RotatedSecretView:
    """Change one condition. Also takes words that this version of the operator does not know."""
    conditions = tuple(replace(each, **fields) if each.type == kind else each for each in resource.conditions)
    return replace(resource, conditions=conditions)


def claim_of(**fields: Any) -> Claim:
    return Claim.model_validate(
        {
            "trigger": Trigger.ANNOTATION,
            "request": "now",
            "from_version_id": FIRST,
            "version_id": SECOND,
            "step": Step.SET,
            "started_at": NOW - timedelta(seconds=2),
            "message": "SetSecret begins",
        }
        | fields
    )


def entry_of(outcome: Outcome = Outcome.SUCCEEDED, **fields: Any) -> HistoryEntry:
    return HistoryEntry.model_validate(
        {
            "version_id": SECOND,
            "user": "orders_clone",
            "trigger": Trigger.SCHEDULE,
            "started_at": NOW - timedelta(hours=2),
            "finished_at": NOW - timedelta(hours=2) + timedelta(seconds=1.25),
            "outcome": outcome,
            "step": Step.FINISH,
            "message": "what happened",
        }
        | fields
    )


def text_of(what: RenderableType, width: int = UNLIMITED) -> str:
    """Render for a terminal of ``width`` columns, without colours and trailing spaces."""
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(what, crop=False)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
