"""The hostile servers as a process, and what their clients are given to believe in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.tls import CertificateAuthority
from tests.support.hostile.catalogue import CELLS
from tests.support.hostile.container import sharing
from tests.support.hostile.stages import Cell

ROOT = Path(__file__).resolve().parents[3]
STOP_SECONDS = 10.0
LEAST_SHARES = 2
"""The fewest of the CPU that a cgroup can have."""


@dataclass(frozen=True)
class HostileServers:
    """Where they are, and which of them were reached."""

    port: int
    """Of every database and webhook, at the address of the combination."""
    aws_url: str
    ca_pem: str
    """Signed the certificate that they all have."""
    _reached: Path

    @property
    def reached(self) -> set[str]:
        """Names of the combinations whose server got a client to its stage."""
        return set(self._reached.read_text().splitlines())

    def times_reached(self, cells: Iterable[Cell]) -> int:
        """How many clients the servers of these combinations got to their stage."""
        names = {str(cell) for cell in cells}
        return sum(1 for line in self._reached.read_text().splitlines() if line in names)

    @property
    def webhook_hosts(self) -> str:
        """A setting of the operator's, by which it lets them be webhooks."""
        return ",".join(f"{cell.address()}:{self.port}" for cell in CELLS if cell.engine == "webhook")


@contextmanager
def hostile_servers(directory: Path, honest_aws_url: str) -> Iterator[HostileServers]:
    """All of them, for the length of a ``with``; files go into ``directory``."""
    authority = CertificateAuthority.create()
    pair = authority.issue("localhost", *(cell.address() for cell in CELLS if cell.engine == "webhook"))
    certificate, key, reached = (directory / f"hostile.{name}" for name in ("pem", "key", "reached"))
    certificate.write_text(pair.certificate)
    key.write_text(pair.key)
    reached.touch()
    given = ["--certificate", str(certificate), "--key", str(key), "--reached", str(reached), "--aws", honest_aws_url]
    with sharing(f"{directory.name}-evil", LEAST_SHARES) as group, _started(given, group) as process:
        assert process.stdin and process.stdout
        try:
            port, aws_port = json.loads(process.stdout.readline())
            yield HostileServers(port, f"http://127.0.0.1:{aws_port}", authority.certificate, reached)
        finally:
            process.stdin.close()
            process.wait(STOP_SECONDS)


def _started(given: list[str], group: Path | None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.hostile.serve", *given]
    command += [] if group is None else ["--group", str(group)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
