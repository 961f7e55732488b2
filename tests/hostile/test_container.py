"""The bound that the operator is held to: it counts children, and what goes over it is killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from sandbox.waiting import eventually
from tests.support.hostile import container

SIZE = 64 << 20
_CHILD = """
import os, sys, time
sys.stdin.readline()
if os.fork() == 0:
    held = bytearray(b"a" * int(sys.argv[1]))
    time.sleep(60)
os.wait()
"""

Takes = Callable[[int], int]


@pytest.fixture(params=["as it is made here", "without a cgroup"])
def kills_of_child_with(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Takes:
    if request.param == "without a cgroup":
        monkeypatch.setattr(container, "_new_group", lambda: None)

    def kills(size: int) -> int:
        command = [sys.executable, "-c", _CHILD, str(size)]
        with (
            container.bounded(SIZE, 1024) as bound,
            subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process,
        ):
            assert process.stdin
            bound.take(process.pid)
            process.stdin.write(b"\n")
            process.stdin.flush()
            try:
                eventually(lambda: bound.kills or bound.peak >= size, "the child has its memory")
                return bound.kills
            finally:
                for pid in reversed(container.descendants(process.pid)):
                    subprocess.run(["kill", "-9", str(pid)], check=False, stderr=subprocess.DEVNULL)

    return kills


def test_child_that_takes_more_than_the_bound_is_killed(kills_of_child_with: Takes) -> None:
    assert kills_of_child_with(2 * SIZE) > 0


def test_child_within_the_bound_lives(kills_of_child_with: Takes) -> None:
    assert kills_of_child_with(SIZE // 4) == 0
