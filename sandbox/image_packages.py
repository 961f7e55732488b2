"""What it takes to build and run an image without a registry: Buildah, runc, and an image of Debian with Python.

Prints nothing: each function returns what there is now, for the one who asked to tell.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from sandbox.packages import LAST_LINES, NotInstalled, apt_install, program_path
from sandbox.servers import cache_directory, made_once

PROGRAMS = ("buildah", "runc", "mmdebstrap")
SUITE = "bookworm"
"""The Debian of the Dockerfile's own base image; its Python is the oldest that the operator supports."""
INCLUDED = ("ca-certificates", "python3", "python3-venv")
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*")
"""As in the slim images of Debian, which keep the licences, too."""


def ensure_programs() -> None:
    """Buildah, runc and mmdebstrap, by the system's package manager where they aren't there yet.

    Raises:
        NotInstalled
    """
    if os.geteuid() != 0:
        raise NotInstalled("an image is tried as root, for its files belong to several users: run it as root")
    missing = [name for name in PROGRAMS if program_path(name) is None]
    if missing:
        apt_install(*missing, "debian-archive-keyring")


def debian_with_python() -> Path:
    """A tar file of a root filesystem, made of Debian's packages once.

    Raises:
        NotInstalled
    """
    return made_once(cache_directory() / f"image-base-{SUITE}.tar", _bootstrap)


def _bootstrap(tar: Path) -> None:
    # Verifies the signatures of the packages' lists by the keyring of Debian's that came with it.
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    options.append("--dpkgopt=path-include=/usr/share/doc/*/copyright")
    command = [
        "mmdebstrap",
        "--mode=root",
        "--variant=apt",
        "--format=tar",
        f"--include={','.join(INCLUDED)}",
        *options,
    ]
    done = subprocess.run(
        [*command, SUITE, str(tar)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        told = "\n  ".join(done.stdout.splitlines()[-LAST_LINES:])
        raise NotInstalled(f"Debian {SUITE} could not be put together by `mmdebstrap`:\n  {told}")
