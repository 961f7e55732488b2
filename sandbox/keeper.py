"""Ends a database server and removes its directory once nobody holds its standard input any more.

Run as a program, with the directory and the name of the server's pid file inside it as its arguments: the process that
started it keeps the other end of the pipe, so even a SIGKILL there closes it. It needs the standard library alone, and
knows a server by its pid file and by its working directory, the folder `data`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

GRACE_SECONDS = 5.0


def running(data: Path, pid_file: Path) -> int | None:
    """The process id of the server that runs in this data directory."""
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    if Path("/proc/self").exists():
        # A process id is used again after a while.
        with contextlib.suppress(OSError):
            return pid if Path(f"/proc/{pid}/cwd").resolve() == data.resolve() else None
        return None
    return pid


def end(data: Path, pid_file: Path) -> None:
    """Stop the server in this data directory, hard if it doesn't go by itself."""
    for signum in (signal.SIGQUIT, signal.SIGKILL):
        pid = running(data, pid_file)
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
        deadline = time.monotonic() + GRACE_SECONDS
        while running(data, pid_file) == pid and time.monotonic() < deadline:
            time.sleep(0.01)


def main() -> None:
    directory = Path(sys.argv[1])
    while sys.stdin.buffer.read(1):
        pass
    end(directory / "data", directory / sys.argv[2])
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
