"""Operators that start in a tenth of a second, so that tests can kill one at every call of a rotation.

One interpreter imports the operator and then forks: each fork is a process of its own that runs the same command line,
less the seconds of importing. Knows nothing of what the operator does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DEATH_SECONDS = 10.0


class Forked:
    """An operator process; its parent is the interpreter that was forked, so it is known by its number alone."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    @property
    def runs(self) -> bool:
        return self.send(0)

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.send(signal.SIGKILL)
        deadline = time.monotonic() + DEATH_SECONDS
        while self.runs:
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} survived SIGKILL")
            time.sleep(0.005)

    def send(self, number: int) -> bool:
        """Send it a signal; whether it was there."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True


class Prefork:
    """The interpreter that is forked."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Forked:
        """Run ``rotated-secrets`` with these arguments; what it says is added to ``log``."""
        assert self._process.stdin
        assert self._process.stdout
        order = {"arguments": list(arguments), "environment": dict(environment), "log": str(log)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return Forked(int(self._process.stdout.readline()))


@contextmanager
def prefork() -> Iterator[Prefork]:
    """It ends with the ``with``, or when this process is killed, and the operators that still run end with it."""
    command = [sys.executable, "-m", "sandbox.prefork"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, start_new_session=True) as process:
        try:
            yield Prefork(process)
        finally:
            assert process.stdin
            process.stdin.close()


def main() -> None:
    import rotated_secrets.cli.operator  # noqa: F401, PLC0415  what `run` imports when it is used, which is too late
    from rotated_secrets.cli.main import app  # noqa: PLC0415  in this process alone

    running: set[int] = set()

    def reap(*_: object) -> None:
        """Forget those that have ended. Until then their numbers are not given to other processes."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                running.discard(ended)

    signal.signal(signal.SIGCHLD, reap)
    for line in iter(sys.stdin.readline, ""):
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order)
            app()
        running.add(pid)
        print(pid, flush=True)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _become(order: Mapping[str, object]) -> None:
    """Leave nothing of the parent's but its modules."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(str(order["log"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, standard in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, standard)
    environment, arguments = order["environment"], order["arguments"]
    assert isinstance(environment, dict)
    assert isinstance(arguments, list)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["rotated-secrets", *arguments]


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
