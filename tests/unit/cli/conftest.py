"""A kubeconfig that leads to a scripted API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli.scripted_api import ScriptedApi, scripted_api


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScriptedApi]:
    """The API server of the kubeconfig. The test sets its answers."""
    with scripted_api() as scripted:
        context = {"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "shop"}}
        written = {
            "contexts": [context, {"name": "other", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": {"server": scripted.url}}],
            "users": [{"name": "test", "user": {"token": "t"}}],
            "current-context": "test",
        }
        (tmp_path / "config").write_text(json.dumps(written))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        yield scripted
