"""Ends a database server and removes its directory once nobody holds its standard input any more.

Run as a program, with the directory as its argument: the process that started it keeps the other end of the pipe, so
even a SIGKILL there closes it. It needs the standard library alone, and knows a server by its `data/postmaster.pid`.
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


def running(data: Path) -> int | None:
    """The process id of the PostgreSQL server that runs in this data directory."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    if Path("/proc/self").exists():
        # A process id is used again after a while: PostgreSQL's working directory is its data directory.
        with contextlib.suppress(OSError):
            return pid if Path(f"/proc/{pid}/cwd").resolve() == data.resolve() else None
        return None
    return pid


def end(data: Path) -> None:
    """Stop the server in this data directory, hard if it doesn't go by itself."""
    for signum in (signal.SIGQUIT, signal.SIGKILL):
        pid = running(data)
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
        deadline = time.monotonic() + GRACE_SECONDS
        while running(data) == pid and time.monotonic() < deadline:
            time.sleep(0.01)


def main() -> None:
    directory = Path(sys.argv[1])
    while sys.stdin.buffer.read(1):
        pass
    end(directory / "data")
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
