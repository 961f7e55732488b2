"""What the exit code of the operator says."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any, ClassVar

import pytest

from rotated_secrets.cluster import Unreachable
from rotated_secrets.controller.process import main
from rotated_secrets.controller.process.probes import CannotServe
from rotated_secrets.controller.process.shutdown import Ended
from rotated_secrets.controller.process.startup import NotUsable
from rotated_secrets.controller.settings import InvalidSettings, Settings
from rotated_secrets.observability import logs


class FakeReplica:
    """Ends as it is told to; keeps how it was stopped."""

    ends: BaseException = Ended(0)
    drains = True
    stopped: ClassVar[list[float]] = []
    hidden: ClassVar[list[object]] = []

    def __init__(self, settings: Settings, reconciler: object) -> None:
        FakeReplica.stopped = []

    async def watch(self) -> None:
        return

    async def lead(self) -> None:
        return

    async def work(self) -> None:
        await asyncio.sleep(0)
        raise FakeReplica.ends

    async def stop(self, drain_timeout: float) -> bool:
        FakeReplica.stopped.append(drain_timeout)
        return FakeReplica.drains


def ran(monkeypatch: pytest.MonkeyPatch, ends: BaseException, *, drains: bool = True) -> int:
    monkeypatch.setattr(FakeReplica, "ends", ends)
    monkeypatch.setattr(FakeReplica, "drains", drains)
    monkeypatch.setattr(main, "Replica", FakeReplica)
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    monkeypatch.setattr(main, "hide_memory", lambda: FakeReplica.hidden.append(FakeReplica.stopped))
    reconciler: Any = None
    return main.run(
        Settings.parse({"aws_region": "eu-west-1", "drain_timeout": 7, "lease_namespace": "here"}), reconciler
    )


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        (Ended(0), 0),
        (Ended(1), 1),
        (NotUsable("no CRD"), 1),
        (Unreachable("no answer"), 1),
        (CannotServe("the port is taken"), 1),
        (InvalidSettings("--x"), 2),
        (RuntimeError("a fault"), 1),
    ],
)
def test_exit_code_says_whether_it_was_told_to_stop(
    monkeypatch: pytest.MonkeyPatch, ends: BaseException, code: int
) -> None:
    assert ran(monkeypatch, ends) == code
    assert len(FakeReplica.stopped) == 1, "it is stopped once, however it ended"


def test_threads_take_turns_often(monkeypatch: pytest.MonkeyPatch) -> None:
    intervals: list[float] = []
    monkeypatch.setattr(sys, "setswitchinterval", intervals.append)
    ran(monkeypatch, Ended(0))
    assert intervals == [main.SWITCH_INTERVAL]


def test_running_work_gets_its_time_unless_another_may_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    ran(monkeypatch, Ended(0))
    assert FakeReplica.stopped == [7]
    ran(monkeypatch, Ended(1, at_once=True))
    assert FakeReplica.stopped == [0]
    ran(monkeypatch, RuntimeError("a fault"))
    assert FakeReplica.stopped == [0]


def test_fault_is_logged_and_never_printed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(monkeypatch, RuntimeError("a fault"))
    assert "the operator has failed" in caplog.text
    assert capsys.readouterr() == ("", "")


def test_threads_that_hang_do_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    ran(monkeypatch, Ended(1, at_once=True), drains=False)
    assert left == [1]
    ran(monkeypatch, Ended(1), drains=True)
    assert left == [1]


def test_other_processes_cannot_read_the_operators_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment may hold AWS credentials; children run what servers send."""
    FakeReplica.hidden.clear()
    ran(monkeypatch, Ended(0))
    assert len(FakeReplica.hidden) == 1


def test_nothing_starts_where_the_namespace_of_the_lease_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(settings: Settings) -> None:
        assert not FakeReplica.stopped
        raise InvalidSettings("--lease-namespace: outside of a pod")

    FakeReplica.stopped = []
    monkeypatch.setattr(main, "check_lease_namespace", unknown)
    assert ran(monkeypatch, Ended(0)) == 2
    assert FakeReplica.stopped == []
