"""Where the documents explain what is wrong with a RotatedSecret. Pure."""

from __future__ import annotations

import re
from typing import Final

from rotated_secrets.api.names import TROUBLESHOOTING
from rotated_secrets.cli.kube.rotated_secret import ConditionView, RotatedSecretView

HELP: Final = f"what it means, and what to do: {TROUBLESHOOTING}"
"""A line for where several things may be wrong."""


def help_about(resource: RotatedSecretView) -> str:
    """Return a line that names the section about what is wrong; empty where nothing is, or where it is suspended."""
    found = _trouble(resource)
    if found is None or found.reason == "Suspended":
        return ""
    # A newer operator, or a person, may have written any word.
    is_name = re.fullmatch(r"[A-Za-z]{1,64}", found.reason) is not None
    return f"{HELP}#{found.reason.lower()}" if is_name else HELP


def _trouble(resource: RotatedSecretView) -> ConditionView | None:
    ready, synced, rotated = map(resource.condition, ("Ready", "Synced", "Rotated"))
    if ready is not None and not ready.is_true:
        # SyncFailed of Ready stands for each reason of Synced.
        return synced if synced is not None and ready.reason == "SyncFailed" and synced.status == "False" else ready
    failed = rotated if rotated is not None and rotated.status == "False" else None
    if resource.held is not None and (failed is None or resource.held.reason != "Suspended"):
        return resource.held
    return failed
