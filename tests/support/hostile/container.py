"""Bounds for a process and all its children, as a container has them.

Cgroups where they can be made: one that bounds the memory, and one in which priorities count among its processes alone.
Linux may share the CPU between sessions otherwise (``sched_autogroup_enabled``), and then the priority of a process in
another session counts for nothing. Without cgroups the proportional set sizes are added up, and what exceeds them is
killed.
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
def bounded(size: int) -> Iterator[Bound]:
    """A bound of so many bytes; it ends with the ``with``, whose processes must have ended before."""
    groups = _new_groups()
    if not groups:
        watcher = _Watched(size)
        try:
            yield watcher
        finally:
            watcher.stop()
        return
    try:
        yield _Group(groups, size)
    finally:
        for each in groups:
            _remove(each)


def descendants(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _new_groups() -> list[Path]:
    """The one that bounds memory, and the others; none where that one cannot be made."""
    name = f"rotated-secrets-hostile-{os.getpid()}"
    for root, limit in ((_V1, "memory.limit_in_bytes"), (_V2, "memory.max")):
        group = root / name
        with contextlib.suppress(OSError):
            group.mkdir()
            if (group / limit).exists():
                return [group, *_new_cpu_group(name)]
            group.rmdir()
    return []


def _new_cpu_group(name: str) -> Iterator[Path]:
    """Where it is not the same group as that of the memory."""
    with contextlib.suppress(OSError):
        (_V1_CPU / name).mkdir()
        yield _V1_CPU / name


def _remove(group: Path) -> None:
    end = time.monotonic() + 10
    while group.exists() and time.monotonic() < end:
        with contextlib.suppress(OSError):
            for pid in (group / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            group.rmdir()
        time.sleep(LOOK_SECONDS)


class _Group:
    def __init__(self, groups: list[Path], size: int) -> None:
        self._groups = groups
        self._group = group = groups[0]
        self._is_v1 = (group / "memory.limit_in_bytes").exists()
        (group / ("memory.limit_in_bytes" if self._is_v1 else "memory.max")).write_text(str(size))
        if not self._is_v1:
            (group / "memory.swap.max").write_text("0")

    def take(self, pid: int) -> None:
        for each in self._groups:
            (each / "cgroup.procs").write_text(str(pid))

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
