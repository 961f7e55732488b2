"""The health check for Argo CD that docs/gitops.md shows, run by a Lua of the version that Argo CD has."""

from __future__ import annotations

from typing import Any

import pytest
from lupa.lua51 import LuaRuntime

from tests.support.documents import ROOT, manifests

GITOPS = ROOT / "docs" / "gitops.md"
KEY = "resource.customizations.health.rotatedsecrets.io_RotatedSecret"


def health(status: dict[str, Any] | None, generation: int = 2) -> tuple[str, str]:
    """The status and message that the check returns for an object, of which Argo CD makes a Lua table."""
    (check,) = (each["data"][KEY] for each in manifests(GITOPS) if each["kind"] == "ConfigMap")
    lua = LuaRuntime()
    obj: dict[str, Any] = {"metadata": {"generation": generation}}
    if status is not None:
        obj["status"] = status
    lua.globals().obj = lua.table_from(obj, recursive=True)
    found = lua.execute(check)
    return found.status, found.message


def conditions(*found: tuple[str, str, str]) -> dict[str, Any]:
    written = [{"type": kind, "status": word, "reason": reason, "message": "why"} for kind, word, reason in found]
    return {"observedGeneration": 2, "conditions": written}


WORKS = ("Ready", "True", "CredentialWorks")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(None, "Progressing", id="no status"),
        pytest.param({"observedGeneration": -1}, "Progressing", id="not looked at"),
        pytest.param({"observedGeneration": 2}, "Progressing", id="no condition"),
        pytest.param({**conditions(WORKS), "observedGeneration": 1}, "Progressing", id="changed since"),
        pytest.param(conditions(WORKS), "Healthy", id="works"),
        pytest.param(conditions(WORKS, ("Held", "True", "Suspended")), "Healthy", id="held"),
        pytest.param(conditions(WORKS, ("Rotated", "False", "TestFailed")), "Healthy", id="rotation failed"),
        pytest.param(conditions(("Ready", "False", "SyncFailed")), "Progressing", id="tried again"),
        pytest.param(conditions(("Ready", "Unknown", "StoreUnavailable")), "Progressing", id="not known"),
        pytest.param(conditions(("Ready", "False", "LoginFailed")), "Progressing", id="no login yet"),
        pytest.param(
            {**conditions(("Ready", "False", "LoginFailed")), "lastLoginTime": "2026-11-22T12:00:00Z"},
            "Degraded",
            id="a login worked before",
        ),
        pytest.param(
            conditions(("Ready", "False", "AccessDenied"), ("Stalled", "True", "AccessDenied")),
            "Degraded",
            id="stalled",
        ),
    ],
)
def test_argo_cd_shows_whether_it_works(status: dict[str, Any] | None, expected: str) -> None:
    assert health(status)[0] == expected


def test_argo_cd_shows_why() -> None:
    assert health(conditions(("Ready", "False", "AccessDenied"), ("Stalled", "True", "AccessDenied"))) == (
        "Degraded",
        "AccessDenied: why",
    )
    assert health({"observedGeneration": -1}) == ("Progressing", "the operator has not looked at it yet")
