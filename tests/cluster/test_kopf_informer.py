"""kopf as an informer, in a process of its own: what an operator sees of objects and of Secrets chosen by label."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.kubernetes.client import Api
from sandbox.kubernetes.processes import stop
from sandbox.kubernetes.provider import Cluster
from tests.support.widgets import Widgets, eventually

OPERATOR = """
import json, os
import kopf

def tell(kind, event, name, **_):
    with open(os.environ["SEEN"], "a") as seen:
        seen.write(json.dumps([kind, event["type"], name]) + "\\n")

@kopf.on.startup()
def configure(settings, **_):
    settings.posting.enabled = False
    settings.persistence.finalizer = None
    settings.watching.label_selectors["", "v1", "secrets"] = "of=widgets"

@kopf.on.event(os.environ["GROUP"], "v1", "widgets")
def widget(event, name, **_):
    tell("widget", event, name)

@kopf.on.event("v1", "secrets")
def secret(event, name, **_):
    tell("secret", event, name)
"""


class Seen:
    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self._path.read_text().splitlines()]

    def has(self, kind: str, event: str | None, name: str) -> None:
        eventually(lambda: [kind, event, name] in self.lines(), 30)


@pytest.fixture
def seen(cluster: Cluster, namespace: str, widgets: Widgets, tmp_path: Path) -> Iterator[Seen]:
    program, record = tmp_path / "operator.py", tmp_path / "seen"
    program.write_text(OPERATOR)
    record.touch()
    environment = cluster.environment() | {"SEEN": str(record), "GROUP": widgets.group}
    command = [sys.executable, "-m", "kopf", "run", "--standalone", "--namespace", namespace, str(program)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    yield Seen(record)
    stop(process, grace=10)
    told = (tmp_path / "log").read_text()
    assert "Traceback" not in told, told


def test_kopf_sees_objects_come_change_and_go(seen: Seen, api: Api, namespace: str, widgets: Widgets) -> None:
    api.create(widgets.path(namespace), widgets.make("early"))
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    api.create(secrets, {"metadata": {"name": "other"}})
    api.create(secrets, {"metadata": {"name": "ours", "labels": {"of": "widgets"}}})
    eventually(
        lambda: {("widget", "early"), ("secret", "ours")} <= {(kind, name) for kind, _, name in seen.lines()}, 30
    )
    api.patch(widgets.path(namespace, "early"), {"spec": {"size": 6}})
    seen.has("widget", "MODIFIED", "early")
    api.patch(widgets.path(namespace, "early", "status"), {"status": {"phase": "Done"}})
    api.create(widgets.path(namespace), widgets.make("late"))
    seen.has("widget", "ADDED", "late")
    api.delete(widgets.path(namespace, "late"))
    seen.has("widget", "DELETED", "late")
    api.patch(f"{secrets}/ours", {"stringData": {"k": "v"}})
    seen.has("secret", "MODIFIED", "ours")
    api.patch(f"{secrets}/ours", {"metadata": {"labels": {"of": None}}})
    seen.has("secret", "DELETED", "ours")
    assert "other" not in {name for _, _, name in seen.lines()}
