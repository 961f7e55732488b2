"""No server outlives who started it, also where that was killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from sandbox.kubernetes.kubeconfig import write_kubeconfig
from sandbox.leash import leashed
from sandbox.waiting import eventually

STARTS_A_SERVER = """
import sys
from pathlib import Path
from sandbox.kubernetes.processes import running
with running(["sleep", "1000"], Path(sys.argv[1]), lambda: True) as server:
    print(server.pid, flush=True)
    sys.stdin.read()
"""
STARTS_AN_OPERATOR = """
import os, sys
from pathlib import Path
from sandbox.prefork import prefork
with prefork() as interpreter:
    operator = interpreter.start(
        ["run", "--kubeconfig", sys.argv[1], "--lease-namespace", "default"], os.environ, Path(sys.argv[2])
    )
    print(operator.pid, flush=True)
    sys.stdin.read()
"""
ROOT = Path(__file__).resolve().parents[2]


def is_over(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_server_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTS_A_SERVER, str(tmp_path / "log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert not is_over(pid)
        os.kill(starter.pid, signal.SIGKILL)
    eventually(lambda: is_over(pid), "the server is gone")


def test_forked_operator_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"https://127.0.0.1:{silent.getsockname()[1]}"
        write_kubeconfig(tmp_path / "kubeconfig", address, b"", {"token": "of nobody"})
        command = [sys.executable, "-c", STARTS_AN_OPERATOR, str(tmp_path / "kubeconfig"), str(tmp_path / "log")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as starter:
            assert starter.stdout is not None
            pid = int(starter.stdout.readline())
            silent.accept()[0].close()
            assert not is_over(pid)
            os.kill(starter.pid, signal.SIGKILL)
        eventually(lambda: is_over(pid), "the operator is gone")


def test_process_that_does_not_go_by_itself_is_killed_at_the_end() -> None:
    deaf = ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]
    with subprocess.Popen(deaf) as process:
        with leashed(process.pid, grace=0.5):
            pass
        assert process.wait(20) == -signal.SIGKILL
