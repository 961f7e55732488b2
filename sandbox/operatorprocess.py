"""The operator as a process of its own: started as a user would start it, killed as a machine would kill it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from sandbox.leash import leashed
from sandbox.prefork import Forked, Prefork
from sandbox.secretsmanager import SecretsManager
from sandbox.stack import Stack

PATIENCE = 30.0
STOP_SECONDS = 30.0
_LEADS = re.compile(r" leads\b")
_PORT = re.compile(r"probes and metrics are served on port (\d+)")
_NOT_INHERITED = ("AWS_", "ROTATED_SECRETS_", "KUBECONFIG")


class OperatorDied(RuntimeError):
    """The operator ended although nobody asked it to; the message holds the end of its log."""


class OperatorProcess:
    """One operator, started as often as one likes; a context manager, at whose end it is gone.

    All its lives write into one log file.
    """

    def __init__(
        self,
        stack: Stack,
        kubeconfig: Path,
        log_file: Path,
        *flags: str,
        store: SecretsManager | None = None,
    ) -> None:
        """``flags`` win over those that say where the sandbox is; ``store`` says as whom it speaks to AWS."""
        where = ["--kubeconfig", str(kubeconfig), "--probe-host", "127.0.0.1", "--probe-port", "0"]
        identity = (store or stack.store).environment()
        # A flag says where secrets are; whatever else the SDK asks must stay in the sandbox, too.
        identity["AWS_ENDPOINT_URL_STS"] = stack.store_proxy.endpoint_url
        # What it leaves behind when it is killed goes with the stack.
        variables = identity | {"TMPDIR": str(stack.directory)}
        arguments = ["run", *where, *stack.operator_flags(), "--log-format", "text", *flags]
        self._told(arguments, variables, log_file, stack.interpreter)

    @classmethod
    def told(
        cls,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        log_file: Path,
        interpreter: Prefork | None = None,
    ) -> Self:
        """With these arguments and variables of the environment alone, wherever they come from."""
        process = cls.__new__(cls)
        process._told(arguments, variables, log_file, interpreter)
        return process

    def _told(
        self,
        arguments: Sequence[str],
        variables: Mapping[str, str],
        log_file: Path,
        interpreter: Prefork | None,
    ) -> None:
        self.arguments = list(arguments)
        self.log_file = log_file
        self.log_file.touch()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
        self.environment = {**kept, **variables}
        self._interpreter = interpreter
        self._process: subprocess.Popen[bytes] | Forked | None = None
        self._leash = ExitStack()
        self._said_before = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._leash.close()

    def start(self) -> None:
        """Returns at once; see :meth:`wait_until_it_leads`."""
        assert not self.runs, "it runs already"
        self._leash.close()
        self._said_before = self.log_file.stat().st_size
        if self._interpreter is not None:
            self._process = self._interpreter.start(self.arguments, self.environment, self.log_file)
            return
        program = Path(sys.executable).with_name("rotated-secrets")
        if not program.exists():
            raise FileNotFoundError(f"there is no {program}; run make setup")
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [program, *self.arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a person's Ctrl-C is for who started it
            )
        self._leash.enter_context(leashed(self._process.pid))

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL: nothing is finished, told or given back."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> int:
        """SIGTERM, as Kubernetes ends a pod. Returns the exit code."""
        self.send(signal.SIGTERM)
        assert self._process is not None
        return self._process.wait(STOP_SECONDS)

    def send(self, number: int) -> None:
        """Send it a signal; returns at once."""
        assert self._process is not None
        self._process.send_signal(number)

    def log(self) -> str:
        """What it said in all its lives."""
        return self.log_file.read_text(errors="replace")

    def log_of_this_life(self) -> str:
        with self.log_file.open("rb") as file:
            file.seek(self._said_before)
            return file.read().decode(errors="replace")

    def wait_until_it_leads(self, patience: float = PATIENCE) -> None:
        """Raises OperatorDied when it ends before, TimeoutError after ``patience`` seconds."""
        self._wait_for_line(_LEADS, patience)

    def get(self, path: str) -> str:
        """What the port of its probes and metrics answers."""
        port = self._wait_for_line(_PORT, PATIENCE)[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            text: str = answer.read().decode()
            return text

    def _wait_for_line(self, pattern: re.Pattern[str], patience: float) -> re.Match[str]:
        deadline = time.monotonic() + patience
        while True:
            ended = not self.runs
            if found := pattern.search(self.log_of_this_life()):
                return found
            if ended:
                raise OperatorDied(f"the operator has ended; the end of {self.log_file}:\n{self._tail()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {pattern.pattern!r} in {patience:.0f} s; the end of its log:\n{self._tail()}")
            time.sleep(0.05)

    def _tail(self) -> str:
        return "\n".join(self.log().splitlines()[-20:])
