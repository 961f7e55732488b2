"""Installs what demo and tests need: a virtual environment with the pinned packages, the database servers, and Helm.

Runs before anything is installed, so it knows the standard library alone. Says one line for each thing it does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sandbox.helm_packages import ensure_helm  # noqa: E402 - only found now
from sandbox.mongo_packages import ensure_mongo  # noqa: E402
from sandbox.packages import (  # noqa: E402
    NotInstalled,
    apt_install,
    ensure_locales,
    ensure_mariadb,
    ensure_mysql,
    ensure_pgbouncer,
    ensure_redis,
    may_install,
)

VENV = ROOT / ".venv"
STAMP = VENV / "installed"
PINS = ROOT / "requirements" / "dev.txt"
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
LAST_LINES = 20


class CannotInstall(Exception):
    """Something is missing that a person must bring; the message says what."""


class Progress:
    """One line that moves while someone watches; without a terminal, the line of the end alone."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.detail = ""
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._turn, daemon=True)

    def __enter__(self) -> Progress:
        if sys.stdout.isatty():
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
            sys.stdout.write("\r\x1b[K")
        sign = "✓" if kind is None else "✗"
        print(f"{sign} {self._what}{self._told()} ({time.monotonic() - self._started:.0f} s)", flush=True)

    def _turn(self) -> None:
        turn = 0
        while not self._ended.wait(0.1):
            turn += 1
            sys.stdout.write(f"\r\x1b[K{FRAMES[turn % len(FRAMES)]} {self._what}{self._told()}")
            sys.stdout.flush()

    def _told(self) -> str:
        return f": {self.detail}" if self.detail else ""


def run(command: Sequence[str | Path], **environment: str) -> Iterator[str]:
    """The lines that a command prints. Raises CannotInstall with the last of them when it fails."""
    said: list[str] = []
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout
        for line in process.stdout:
            said.append(line.rstrip())
            yield line.strip()
    if process.returncode:
        told = "\n  ".join(said[-LAST_LINES:])
        raise CannotInstall(f"`{' '.join(map(str, command))}` failed:\n  {told}")


def done(command: Sequence[str | Path], **environment: str) -> None:
    for _ in run(command, **environment):
        pass


def make_environment() -> None:
    with Progress(f"Python {sys.version.split()[0]} in .venv"):
        try:
            done([sys.executable, "-m", "venv", VENV])
        except CannotInstall as error:
            shutil.rmtree(VENV, ignore_errors=True)
            package = f"python3.{sys.version_info.minor}-venv"
            if not may_install():
                raise CannotInstall(
                    f"{error}\nPython's venv module is not complete; Debian and Ubuntu have it in {package}"
                ) from None
            try:
                apt_install(package)
            except NotInstalled as refused:
                raise CannotInstall(str(refused)) from None
            done([sys.executable, "-m", "venv", VENV])


def install_packages() -> None:
    wanted = sum(1 for line in PINS.read_text().splitlines() if line and not line.startswith((" ", "#")))
    pip: list[str | Path] = [
        VENV / "bin" / "python",
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "install",
    ]
    with Progress("packages") as progress:
        # Every package is pinned, so there is nothing to resolve. Modules are compiled when they are first imported.
        begun = 0
        options = ["--no-deps", "--require-hashes", "--no-compile", "--progress-bar", "off"]
        for line in run([*pip, *options, "-r", PINS]):
            if line.startswith(("Collecting ", "Requirement already ")):
                begun += 1
                progress.detail = f"{begun} of {wanted}"
            elif line.startswith("Installing collected"):
                progress.detail = f"{wanted}, being unpacked"
        progress.detail = str(wanted)
    with Progress("rotated-secrets itself"):
        done([*pip, "--quiet", "--no-deps", "--no-build-isolation", "--editable", ROOT])


def install_postgres() -> list[str]:
    """The system's PostgreSQL speaks TLS; the one that came with the packages serves where it can't be had.

    Returns what is left out then.
    """
    if any(Path("/usr/lib/postgresql").glob("*/bin/postgres")) or shutil.which("postgres"):
        return []
    if not may_install():
        print("✓ PostgreSQL: the packages' own, without TLS; the system's `postgresql` is used once it is installed")
        return ["PostgreSQL's TLS"]
    try:
        with Progress("PostgreSQL from the system's packages"):
            apt_install("postgresql")
    except NotInstalled as error:
        print(f"{error}\nPostgreSQL: the packages' own serves, without TLS")
        return ["PostgreSQL's TLS"]
    return []


def install_servers() -> list[str]:
    """The other database servers, and Helm. Returns the names of those that could not be had."""
    servers: dict[str, Callable[[], str]] = {
        "MariaDB": ensure_mariadb,
        "MySQL": ensure_mysql,
        "MongoDB": lambda: ensure_mongo(VENV / "bin" / "python"),
        "Redis": ensure_redis,
        "PgBouncer": ensure_pgbouncer,
        "locales": ensure_locales,
        "Helm": lambda: ensure_helm(VENV / "bin" / "python"),
    }
    missing = []
    for name, ensure in servers.items():
        try:
            with Progress(name):
                ensure()
        except NotInstalled as error:
            print(f"  {error}")
            missing.append(name)
    return missing


def main() -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever starts this may have an older one
        print(f"Python 3.11 or later is needed; this is {sys.version.split()[0]}", file=sys.stderr)
        return 1
    try:
        make_environment()
        install_packages()
        missing = install_postgres()
    except CannotInstall as error:
        print(error, file=sys.stderr)
        return 1
    missing += install_servers()
    if missing:
        print(f"left out, and with them their tests and demos: {', '.join(missing)}", file=sys.stderr)
        if os.environ.get("CI"):
            return 1
    STAMP.touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
