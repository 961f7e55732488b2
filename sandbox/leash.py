"""Ends a process once nobody holds this program's standard input any more.

Run as a program, with a process id and the seconds of grace as its arguments. The process that started it keeps the
other end of the pipe, so even a SIGKILL there closes it. It needs the standard library alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

GRACE_SECONDS = 5.0


@contextlib.contextmanager
def leashed(pid: int, grace: float = GRACE_SECONDS) -> Iterator[None]:
    """Whatever becomes of this process, the one with this id ends at the latest with it.

    It has ``grace`` seconds from SIGTERM to SIGKILL.
    """
    command = [sys.executable, "-I", "-S", __file__, str(pid), str(grace)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd="/", start_new_session=True):
        yield


def _began(pid: int) -> str | None:
    """When a process began, in the kernel's words: ids are used again after a while. None: it is over."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else fields[18]


def main() -> None:
    pid, grace = int(sys.argv[1]), float(sys.argv[2])
    began = _began(pid)
    while sys.stdin.buffer.read(1):
        pass
    for signum in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + grace
        with contextlib.suppress(ProcessLookupError):
            if began is not None and _began(pid) == began:
                os.kill(pid, signum)
        while began is not None and _began(pid) == began and time.monotonic() < deadline:
            time.sleep(0.01)


if __name__ == "__main__":
    main()
