"""What restarting a workload means: what is written on it, and what is to be said about it. Pure.

An annotation of its pod template names the version that its pods began with, so that writing it twice is writing it
once: a pod template that has not changed replaces no pod. Each RotatedSecret has an annotation of its own, so that two
of them can restart one workload without undoing each other's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from rotated_secrets.api.names import RESTARTED_FOR_ANNOTATION
from rotated_secrets.api.rollout import Workload, WorkloadKind
from rotated_secrets.values import VersionId

_NAME_LENGTH: Final = 63
"""Characters of an annotation's name behind its domain, at most ("Annotations", Kubernetes documentation)."""
_HASH_LENGTH: Final = 8


class RestartKind(Enum):
    """What came of asking for a restart."""

    RESTARTED = auto()
    UNCHANGED = auto()
    """It had been restarted for this version before."""
    MISSING = auto()
    REFUSED = auto()
    """Somebody has to mend something first."""
    UNAVAILABLE = auto()
    """Nobody knows; what is in the way will pass."""


@dataclass(frozen=True)
class Restart:
    """What came of asking for a restart of one workload."""

    kind: RestartKind
    message: str = ""
    """Why it was not restarted and what to do, or when its pods are replaced where that is not at once."""


def annotation_of(owner_name: str) -> str:
    """The pod template's annotation by which a RotatedSecret of this name restarts a workload beside it."""
    key = f"{RESTARTED_FOR_ANNOTATION}.{owner_name}"
    limit = len(key.partition("/")[0]) + 1 + _NAME_LENGTH
    if len(key) <= limit:
        return key
    digest = hashlib.sha256(owner_name.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{key[: limit - _HASH_LENGTH - 1]}-{digest}"


def begins_with(live: Mapping[str, Any], annotation: str) -> VersionId | None:
    """The version that the pods of a workload begin with, where it was restarted for one."""
    template = (live.get("spec") or {}).get("template") or {}
    found = ((template.get("metadata") or {}).get("annotations") or {}).get(annotation)
    return None if found is None else VersionId(found)


def patch_for(live: Mapping[str, Any], annotation: str, version_id: VersionId) -> dict[str, Any]:
    """A merge patch that changes this one annotation of the pod template, if ``live`` is how the workload still is."""
    metadata = live["metadata"]
    return {
        "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
        "spec": {"template": {"metadata": {"annotations": {annotation: version_id}}}},
    }


def caveat(workload: Workload, live: Mapping[str, Any]) -> str:
    """Why its pods are not replaced at once, or not all of them; empty where they are."""
    spec = live.get("spec") or {}
    if workload.kind is WorkloadKind.DEPLOYMENT:
        return "it is paused: its pods are replaced when it is resumed" if spec.get("paused") else ""
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return "its updateStrategy is OnDelete: a pod is replaced only after it is deleted"
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    if workload.kind is WorkloadKind.STATEFUL_SET and partition:
        return f"its updateStrategy has partition {partition}: only pods from that ordinal on are replaced"
    return ""
