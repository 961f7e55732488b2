"""Operators that start in a tenth of a second, so that tests can start many, and kill one at every call of a rotation.

One interpreter imports the operator and then forks: each fork is a process of its own that runs the same command line,
less the seconds of importing. Knows nothing of what the operator does.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DEATH_SECONDS = 10.0
PROGRAM = "rotated_secrets"
"""The module that is the command ``rotated-secrets``."""


class Forked:
    """A process whose parent is the interpreter that was forked. Its methods are named as those of ``Popen``."""

    def __init__(self, pid: int, number: int, interpreter: Prefork) -> None:
        self.pid = pid
        self._number = number
        self._interpreter = interpreter
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, as of a ``Popen``; None while it runs."""
        if self._code is None:
            self._code = self._interpreter.exit_code(self._number)
        return self._code

    def wait(self, timeout: float = DEATH_SECONDS) -> int:
        """Its exit code. Raises: TimeoutError."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} has not ended in {timeout:g} s")
            time.sleep(0.005)
        return code

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Prefork:
    """The interpreter that is forked. Safe from any thread."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lock = threading.Lock()

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path, *, module: str = PROGRAM
    ) -> Forked:
        """Run ``rotated-secrets``, or another module, with these arguments; what it says is added to ``log``."""
        order = {"module": module, "arguments": list(arguments), "environment": dict(environment), "log": str(log)}
        pid, number = self._ask(order)
        return Forked(pid, number, self)

    def exit_code(self, number: int) -> int | None:
        """The exit code of the process that was started as the n-th; None while it runs."""
        code: int | None = self._ask({"exit_code": number})
        return code

    def _ask(self, order: Mapping[str, object]) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        with self._lock:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())


@contextmanager
def prefork() -> Iterator[Prefork]:
    """It ends with the ``with``, or when this process is killed, and the operators that still run end with it."""
    command = [sys.executable, "-m", "sandbox.prefork"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, cwd=ROOT, text=True, start_new_session=True) as process:
        try:
            yield Prefork(process)
        finally:
            assert process.stdin
            process.stdin.close()


def main() -> None:
    import rotated_secrets.cli.main  # noqa: PLC0415  in this process alone
    import rotated_secrets.cli.operator  # noqa: F401, PLC0415  what `run` imports when it is used, which is too late

    running: dict[int, int] = {}
    codes: dict[int, int] = {}
    """By the number of the process: process ids are used again."""

    def reap(*_: object) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                codes[running.pop(ended[0])] = os.waitstatus_to_exitcode(ended[1])

    signal.signal(signal.SIGCHLD, reap)
    for line in iter(sys.stdin.readline, ""):
        order = json.loads(line)
        if "exit_code" in order:
            print(json.dumps(codes.get(order["exit_code"])), flush=True)
            continue
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        pid = os.fork()
        if pid == 0:
            _become(order)
        number = running[pid] = len(running) + len(codes)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        print(json.dumps([pid, number]), flush=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _become(order: Mapping[str, Any]) -> None:
    """Leave nothing of the parent's but its modules, and run until the end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, standard in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, standard)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = [order["module"], *order["arguments"]]
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
