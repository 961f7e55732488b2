"""Runs a server of the sandbox: waits until it serves, keeps its log, and ends it whatever happens."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sandbox.leash import leashed

_POLL = 0.05  # seconds


@contextmanager
def running(
    command: Sequence[str], log: Path, is_ready: Callable[[], bool], *, patience: float = 60
) -> Iterator[subprocess.Popen[bytes]]:
    """`patience` in seconds; raises RuntimeError, with the end of the log, when the server is not ready by then."""
    with log.open("wb") as output:
        # A session of its own: a person's Ctrl-C is for who started it, who ends it in good order.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    with leashed(process.pid), _stopped(process):
        deadline = time.monotonic() + patience
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                what = (
                    f"ended with code {process.returncode}"
                    if process.returncode is not None
                    else f"was not ready in {patience:.0f} s"
                )
                raise RuntimeError(f"{Path(command[0]).name} {what}; the end of its log:\n{_tail(log)}")
            time.sleep(_POLL)
        yield process


@contextmanager
def _stopped(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes], *, grace: float = 5) -> None:
    """SIGTERM, and SIGKILL after `grace` seconds."""
    process.terminate()
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
