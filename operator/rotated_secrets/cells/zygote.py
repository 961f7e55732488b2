"""The zygote: forks cells, watches what they use, ends those that use too much, and reports how each ended.

Started by :mod:`rotated_secrets.cells.cells` with an environment that holds no credential. It has one thread, and reads
nothing of a tenant's: a cell's socket goes from the operator through it to the cell.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from rotated_secrets.cells.confinement import confine, hide_memory
from rotated_secrets.cells.landlock import Landlock
from rotated_secrets.cells.limits import CPU, CROWDED, LET_GO, MIB, OUTPUT, TIME, UNCONFINED, CellLimits
from rotated_secrets.cells.usage import PAGE, Usage
from rotated_secrets.cells.worker import serve

CONTROL: Final = 0
"""The descriptor of the socket to the operator."""
MOST_FILES: Final = 65_536
"""Files that may be open here, four for each cell. Not the container's limit: each cell closes as many."""
NOT_CONFINED: Final = 3
"""The exit code of a cell that could not give up what it must not have."""
CLOSING_SECONDS: Final = 1.0
"""How long a cell may take to close its connections after the operator has let it go."""
LOOK_SECONDS, LOOK_CLOSELY_SECONDS = 0.02, 0.005
"""How often the memory of cells is read: a process fills some MiB in a millisecond."""
GROWN: Final = 16 * MIB
"""From this much on it is read closely."""
COPIED: Final = 8 * MIB
"""Most that a cell copies of what it shares with the zygote, by writing to it; no driver was seen to copy more."""
NICE_AFTER: Final = ((1.0, 19), (0.2, 15))
"""Seconds of CPU time after which a cell has at least this niceness: a login takes some hundredths."""


@dataclass
class _Running:
    pid: int
    limits: CellLimits
    report: socket.socket
    """Where its end is reported; the operator closes its side when it lets the cell go."""
    output: int
    deadline: float
    niceness: int
    base: int
    """Bytes of memory that it shares with the zygote."""
    usage: Usage
    grown: int = 0
    looked_at: float = 0.0
    written: int = 0
    reason: str = ""

    def close(self) -> None:
        os.close(self.output)
        self.usage.close()

    def look(self) -> float:
        """Note its memory. Returns the seconds of CPU time that it has used."""
        faults, cpu_seconds = self.usage.faults_and_cpu_seconds()
        # A page that is copied makes a fault, and does not change how much is resident.
        self.grown = max(self.usage.own_memory() - self.base, 0) + min(faults * PAGE, COPIED)
        return cpu_seconds


class Zygote:
    """Forks and watches cells until the operator is gone."""

    def __init__(self, control: socket.socket, memory: int, paths: list[str]) -> None:
        """Prepare what all cells have.

        Args:
            control: the socket to the operator.
            memory: bytes that all cells together may use, beside what they share with the zygote.
            paths: what they may read and write.
        """
        self._control = control
        self._memory = memory
        self._cells: dict[int, _Running] = {}
        self._selector = selectors.DefaultSelector()
        self._landlock = Landlock(paths)
        self._usage = Usage("self")
        self._size = self._usage.addresses()
        self._wakeup, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        self._selector.register(control, selectors.EVENT_READ)
        self._selector.register(self._wakeup, selectors.EVENT_READ)

    def run(self) -> None:
        """Serve until the operator has closed its side of the control socket. Cells end with this process."""
        self._control.send(json.dumps({"landlock": self._landlock.version}).encode())
        while True:
            for key, _ in self._selector.select(self._pause()):
                if key.fileobj is self._control:
                    if not self._fork_cell():
                        return
                elif key.fd == self._wakeup:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wakeup, 4096)
                else:
                    self._look_at_descriptor(key.fd, key.data)
            self._reap()
            self._enforce()

    def _pause(self) -> float | None:
        if not self._cells:
            return None
        return LOOK_CLOSELY_SECONDS if any(cell.grown > GROWN for cell in self._cells.values()) else LOOK_SECONDS

    def _fork_cell(self) -> bool:
        """Fork one cell as asked; returns False where the operator is gone."""
        message, descriptors, _, _ = socket.recv_fds(self._control, 65536, 2)
        if not message:
            return False
        with contextlib.ExitStack() as ours:
            for each in descriptors:
                ours.callback(os.close, each)
            if len(descriptors) == 2:
                # Where descriptors or processes are used up: the operator sees that its sockets are closed.
                with contextlib.suppress(OSError):
                    self._fork(descriptors[0], descriptors[1], CellLimits.from_json(message))
        return True

    def _fork(self, wire: int, report: int, limits: CellLimits) -> None:
        """Raises: OSError, where no cell could be forked or watched; none runs then."""
        with contextlib.ExitStack() as unless_it_runs:
            output, writes = os.pipe2(os.O_CLOEXEC)
            unless_it_runs.callback(os.close, output)
            os.set_blocking(output, False)
            try:
                reported = socket.socket(fileno=os.dup(report))
                unless_it_runs.callback(reported.close)
                pid = os.fork()
                if pid == 0:
                    _become_cell(wire, writes, limits, self._size, self._landlock)
            finally:
                os.close(writes)
            unless_it_runs.callback(os.kill, pid, signal.SIGKILL)
            usage, deadline = Usage(pid), time.monotonic() + limits.wall_seconds
            base = self._usage.own_memory()
            cell = _Running(pid, limits, reported, output, deadline, limits.niceness, base, usage)
            unless_it_runs.pop_all()
        self._cells[pid] = cell
        self._selector.register(output, selectors.EVENT_READ, cell)
        self._selector.register(reported, selectors.EVENT_READ, cell)

    def _look_at_descriptor(self, descriptor: int, cell: _Running) -> None:
        if descriptor == cell.output:
            self._cut_output(cell)
        elif not cell.report.recv(1):
            self._watch_no_more(cell.report)
            cell.deadline = min(cell.deadline, time.monotonic() + CLOSING_SECONDS)
            cell.reason = cell.reason or LET_GO

    def _cut_output(self, cell: _Running) -> None:
        """Throw away what a library prints: it may quote a server, line by line in the form of a log."""
        with contextlib.suppress(BlockingIOError):
            if not (found := os.read(cell.output, 65536)):
                self._watch_no_more(cell.output)
            cell.written += len(found)
        if cell.written > cell.limits.output:
            _kill(cell, OUTPUT)

    def _enforce(self) -> None:
        now = time.monotonic()
        for cell in self._cells.values():
            if now - cell.looked_at < (LOOK_CLOSELY_SECONDS if cell.grown > GROWN else LOOK_SECONDS):
                continue
            cell.looked_at = now
            if now >= cell.deadline:
                _kill(cell, TIME)
            _lower_priority(cell, cell.look())
        while sum(cell.grown for cell in self._cells.values()) > self._memory:
            ended = largest_of_the_largest_tenant(self._cells.values())
            _kill(ended, CROWDED)
            ended.grown = 0

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (cell := self._cells.pop(pid, None)) is not None:
                self._report(cell, status)

    def _report(self, cell: _Running, status: int) -> None:
        self._cut_output(cell)
        for each in (cell.output, cell.report):
            self._watch_no_more(each)
        cell.close()
        code = os.waitstatus_to_exitcode(status)
        reason = cell.reason or {-signal.SIGXCPU: CPU, NOT_CONFINED: UNCONFINED}.get(code, "")
        report = {"code": code, "reason": reason, "output": cell.written}
        with cell.report, contextlib.suppress(OSError):
            cell.report.send(json.dumps(report).encode())

    def _watch_no_more(self, each: int | socket.socket) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(each)


def largest_of_the_largest_tenant(cells: Iterable[_Running]) -> _Running:
    """Return the cell to end first: many that one tenant has, each small, end no larger one of another."""
    cells, by_tenant = tuple(cells), Counter[int]()
    for cell in cells:
        by_tenant[cell.limits.tenant] += cell.grown
    return max(cells, key=lambda cell: (by_tenant[cell.limits.tenant], cell.grown))


def _become_cell(wire: int, output: int, limits: CellLimits, size: int, landlock: Landlock) -> NoReturn:
    """Run as the cell that was just forked, and end the process."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        kept = os.dup(wire)
        for target, source in ((0, null), (1, output), (2, output), (3, kept)):
            os.dup2(source, target)
        landlock.move_to(4)
        os.closerange(5, MOST_FILES)
        code = NOT_CONFINED
        confine(limits, size, landlock)
        code = 1
        serve(socket.socket(fileno=3))
        code = 0
    finally:
        os._exit(code)


def _kill(cell: _Running, reason: str) -> None:
    cell.reason = cell.reason or reason
    with contextlib.suppress(ProcessLookupError):
        os.kill(cell.pid, signal.SIGKILL)


def _lower_priority(cell: _Running, cpu_seconds: float) -> None:
    wanted = next((niceness for seconds, niceness in NICE_AFTER if cpu_seconds >= seconds), 0)
    if wanted > cell.niceness:
        cell.niceness = wanted
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, cell.pid, wanted)


def _preload(names: list[str]) -> Iterator[str]:
    """Import modules, and call their ``warm_up`` where they have one; yields those that cannot."""
    for name in names:
        try:
            getattr(importlib.import_module(name), "warm_up", int)()
        except Exception:  # noqa: BLE001 - a broken plug-in stops no other engine
            yield name


def main() -> None:
    """Run the zygote. Its argument is JSON: memory for all cells, modules to import, paths that cells may write."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the operator drains first
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # If the kernel has to end a process, then not the operator. Only before this process is hidden, it may say so.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    hide_memory()  # cells inherit it: no process of this user can trace them or read their memory
    most = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    given = json.loads(sys.argv[1])
    for name in _preload(given["modules"]):
        sys.stderr.write(f"cannot import or warm up {name}\n")
    sys.stderr.flush()
    gc.collect()
    gc.freeze()
    Zygote(socket.socket(fileno=CONTROL), given["memory"], given["paths"]).run()


if __name__ == "__main__":
    main()
