"""How a workload is restarted: the annotation that is written, and the message about it. Pure.

An annotation of the pod template names the version with which the pods were started. So a repeated write has no effect:
Kubernetes replaces no pods if the pod template has not changed. Each RotatedSecret uses a different annotation, so that
two of them can restart the same workload.
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
"""Most characters of an annotation's name after its domain ("Annotations", Kubernetes documentation)."""
_HASH_LENGTH: Final = 8


class RestartKind(Enum):
    """How a restart ended."""

    RESTARTED = auto()
    UNCHANGED = auto()
    """The workload was restarted for this version before."""
    MISSING = auto()
    REFUSED = auto()
    """A person has to correct something first."""
    UNAVAILABLE = auto()
    """It is unknown whether it was restarted; the obstacle is temporary."""


@dataclass(frozen=True)
class Restart:
    """The result of restarting one workload."""

    kind: RestartKind
    message: str = ""
    """Why it was not restarted and what to do, or when its pods are replaced if this is not at once."""


def annotation_of(owner_name: str) -> str:
    """Return the pod template's annotation with which a RotatedSecret of this name restarts workloads."""
    key = f"{RESTARTED_FOR_ANNOTATION}.{owner_name}"
    limit = len(key.partition("/")[0]) + 1 + _NAME_LENGTH
    if len(key) <= limit:
        return key
    digest = hashlib.sha256(owner_name.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{key[: limit - _HASH_LENGTH - 1]}-{digest}"


def restarted_for(live: Mapping[str, Any], annotation: str) -> VersionId | None:
    """Return the version for which a workload was last restarted, if there is one."""
    template = (live.get("spec") or {}).get("template") or {}
    found = ((template.get("metadata") or {}).get("annotations") or {}).get(annotation)
    return None if found is None else VersionId(found)


def patch_for(live: Mapping[str, Any], annotation: str, version_id: VersionId) -> dict[str, Any]:
    """Return a merge patch for this annotation of the pod template; it fails if the workload differs from ``live``."""
    metadata = live["metadata"]
    return {
        "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
        "spec": {"template": {"metadata": {"annotations": {annotation: version_id}}}},
    }


def delay_reason(workload: Workload, live: Mapping[str, Any]) -> str:
    """Return why not all pods are replaced at once; empty if they are."""
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
