"""Bounds for a process and all its children, as a container has them.

Cgroups where they can be made: one bounds the memory, another says how the CPU is shared. Without the latter Linux may
share the CPU between sessions (``sched_autogroup_enabled``), and a priority then counts for nothing in another session.
Without the former the proportional set sizes are added up, and what exceeds them is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

LOOK_SECONDS = 0.05
_V1 = Path("/sys/fs/cgroup/memory")
_V1_CPU = Path("/sys/fs/cgroup/cpu")
_V2 = Path("/sys/fs/cgroup")


class Bound(Protocol):
    """Holds what was taken into it, and all children that it has from then on."""

    def take(self, pid: int) -> None: ...

    @property
    def kills(self) -> int:
        """How often something was killed for its memory. One process killed is a whole container killed."""

    @property
    def peak(self) -> int:
        """Most bytes since it was asked to begin again."""

    def begin_again(self) -> None:
        """Forget the peak, where the kernel lets us."""


@contextmanager
def bounded(size: int, shares: int) -> Iterator[Bound]:
    """A bound of so many bytes; it ends with the ``with``, whose processes must have ended before.

    ``shares``: how much of the CPU they get while others want it too; who says nothing has 1024.
    """
    group = _new_group()
    if group is None:
        watcher = _Watched(size)
        try:
            yield watcher
        finally:
            watcher.stop()
        return
    try:
        with sharing(f"{group.name}-cpu", shares) as cpu:
            yield _Group(group, size, cpu)
    finally:
        _remove(group)


@contextmanager
def sharing(name: str, shares: int) -> Iterator[Path | None]:
    """A cgroup of the first version for processes that share the CPU; None where there can be none."""
    group = _V1_CPU / name
    try:
        group.mkdir()
        (group / "cpu.shares").write_text(str(shares))
    except OSError:
        yield None
        return
    try:
        yield group
    finally:
        _remove(group)


def join(group: Path, pid: int) -> None:
    """Move a process into a cgroup."""
    (group / "cgroup.procs").write_text(str(pid))


def descendants(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _new_group() -> Path | None:
    name = f"rotated-secrets-hostile-{os.getpid()}"
    for root, limit in ((_V1, "memory.limit_in_bytes"), (_V2, "memory.max")):
        group = root / name
        with contextlib.suppress(OSError):
            group.mkdir()
            if (group / limit).exists():
                return group
            group.rmdir()
    return None


def _remove(group: Path) -> None:
    end = time.monotonic() + 10
    while group.exists() and time.monotonic() < end:
        with contextlib.suppress(OSError):
            for pid in (group / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            group.rmdir()
        time.sleep(LOOK_SECONDS)


class _Group:
    def __init__(self, group: Path, size: int, cpu: Path | None) -> None:
        self._group = group
        self._cpu = cpu
        self._is_v1 = (group / "memory.limit_in_bytes").exists()
        (group / ("memory.limit_in_bytes" if self._is_v1 else "memory.max")).write_text(str(size))
        if not self._is_v1:
            (group / "memory.swap.max").write_text("0")

    def take(self, pid: int) -> None:
        for each in (self._group, self._cpu):
            if each is not None:
                join(each, pid)

    @property
    def kills(self) -> int:
        lines = (self._group / ("memory.oom_control" if self._is_v1 else "memory.events")).read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def begin_again(self) -> None:
        with contextlib.suppress(OSError):
            (self._group / ("memory.max_usage_in_bytes" if self._is_v1 else "memory.peak")).write_text("0")

    @property
    def peak(self) -> int:
        return int((self._group / ("memory.max_usage_in_bytes" if self._is_v1 else "memory.peak")).read_text())


class _Watched:
    def __init__(self, size: int) -> None:
        self._size = size
        self._stop = threading.Event()
        self._roots: list[int] = []
        self.kills = self.peak = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def take(self, pid: int) -> None:
        self._roots.append(pid)

    def begin_again(self) -> None:
        self.peak = 0

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            for root in self._roots:
                tree = descendants(root)
                used = sum(map(_proportional, tree))
                self.peak = max(self.peak, used)
                if used > self._size:
                    self.kills += 1
                    for pid in tree:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)


def _proportional(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0
