"""The status that kstatus computes of a custom resource, as Flux and `helm --wait` see it.

Source: checkGenericProperties and readyConditionReader of sigs.k8s.io/cli-utils/pkg/kstatus/status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

IN_PROGRESS, FAILED, CURRENT, TERMINATING = "InProgress", "Failed", "Current", "Terminating"


def computed(obj: Mapping[str, Any]) -> str:
    """Return what a program that waits makes of an object."""
    metadata, status = obj["metadata"], obj.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return TERMINATING
    if status.get("observedGeneration", metadata.get("generation")) != metadata.get("generation"):
        return IN_PROGRESS
    conditions = {each["type"]: each["status"] for each in status.get("conditions") or ()}
    if conditions.get("Reconciling") == "True":
        return IN_PROGRESS
    if conditions.get("Stalled") == "True":
        return FAILED
    return CURRENT if conditions.get("Ready", "True") == "True" else IN_PROGRESS
