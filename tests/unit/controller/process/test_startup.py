"""The first contact with the cluster: what is missing is named, with what to do, and not waited for without end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rotated_secrets.cells import CellFailed
from rotated_secrets.cells.limits import MIB
from rotated_secrets.cluster import ClusterError, Forbidden, NotFound, Unreachable
from rotated_secrets.controller.process import startup
from rotated_secrets.controller.process.startup import NotUsable, check_memory, start_cells, wait_until_usable

ADVICE = ("apply crds/rotatedsecrets.yaml", "grant it to the operator's ServiceAccount", "no answer in time")


NEEDED = ("resources", "leader", "journal")


def contact(*answers: ClusterError | None, timeout: float = 0.0, asks: str = "resources") -> int:
    """Returns how often the cluster was asked before it was usable, for one of the things that are needed of it."""
    left, asked = list(answers), []

    def check_access() -> None:
        asked.append(1)
        answer = left.pop(0)
        if answer is not None:
            raise answer

    parts: dict[str, Any] = {each: SimpleNamespace(check_access=lambda: None) for each in NEEDED}
    parts[asks] = SimpleNamespace(check_access=check_access)
    asyncio.run(wait_until_usable(parts["resources"], parts["leader"], parts["journal"], timeout))
    return len(asked)


@pytest.mark.parametrize("asks", NEEDED)
def test_usable_cluster_is_asked_once(asks: str) -> None:
    assert contact(None, asks=asks) == 1


@pytest.mark.parametrize("asks", NEEDED)
def test_permission_that_is_missing_for_any_of_them_is_told(asks: str) -> None:
    with pytest.raises(NotUsable, match=ADVICE[1]):
        contact(Forbidden("GET /x", 403), asks=asks)


@pytest.mark.parametrize(
    ("missing", "advice"),
    [
        (NotFound("GET /x", 404), ADVICE[0]),
        (Forbidden("GET /x", 403), ADVICE[1]),
        (Unreachable("GET /x: no answer in time"), ADVICE[2]),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(missing: ClusterError, advice: str) -> None:
    with pytest.raises(NotUsable, match=advice) as caught:
        contact(missing)
    assert [each for each in ADVICE if each in str(caught.value)] == [advice]


def test_what_comes_in_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "PAUSE", 0.0)
    assert contact(Unreachable("not yet"), NotFound("GET /x", 404), None, timeout=60.0) == 3


@pytest.mark.parametrize(
    ("limit", "warns"), [(str(512 * MIB), False), (str(300 * MIB), True), ("max", False), (None, False)]
)
def test_a_memory_limit_that_cells_could_exceed_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, limit: str | None, warns: bool
) -> None:
    file = tmp_path / "memory.max"
    if limit is not None:
        file.write_text(limit)
    check_memory(160 * MIB, file)
    assert ("raise the limit, or lower --cells-memory" in caplog.text) is warns


def test_an_operator_that_cannot_confine_database_clients_does_not_start() -> None:
    class Refusing:
        def start(self) -> int:
            raise CellFailed("cannot start: the operator's helper process did not start", "closed")

    refusing: Any = Refusing()
    with pytest.raises(NotUsable, match="a process for database clients cannot start"):
        start_cells(refusing)


@pytest.mark.parametrize(("version", "told"), [(7, "confined by Landlock 7"), (0, "this kernel has no Landlock")])
def test_the_log_says_how_database_clients_are_confined(
    caplog: pytest.LogCaptureFixture, version: int, told: str
) -> None:
    class Started:
        def start(self) -> int:
            return version

    started: Any = Started()
    with caplog.at_level("INFO"):
        start_cells(started)
    assert told in caplog.text
