"""The image, built once from this tree on a Debian made of its packages, with a storage of its own."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.image import NAME, CannotBuild, PipSettings, Tool, build, pip_settings
from sandbox.image_packages import debian_with_python, ensure_programs
from sandbox.packages import NotInstalled
from sandbox.servers import cache_directory
from sandbox.tls import CertificateAuthority
from tests.support.containers import Image

BASE = "localhost/debian-with-python"
PATIENCE = 900
"""Seconds; on a new machine the first test waits for packages of Debian's and for those of Python's."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(PATIENCE))


@pytest.fixture(scope="session")
def base_tar() -> Path:
    """Skips where it can't be had; under CI, it must be."""
    try:
        ensure_programs()
        return debian_with_python()
    except NotInstalled as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no image is built here: {error}")


@pytest.fixture(scope="session")
def storage() -> Iterator[Path]:
    """Where images are, for one run at a time; what a killed one left is gone, too."""
    folder = cache_directory() / "image-storage"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def buildah(storage: Path, base_tar: Path) -> tuple[str, ...]:
    """The program and its storage, in which the base image is."""
    program = ("buildah", "--root", f"{storage}/root", "--runroot", f"{storage}/run", "--storage-driver", "vfs")
    container = output_of(*program, "from", "scratch")
    output_of(*program, "add", container, str(base_tar), "/")
    output_of(*program, "commit", "--quiet", "--rm", container, BASE)
    return program


@pytest.fixture(scope="session")
def base_digest(buildah: tuple[str, ...]) -> str:
    return output_of(*buildah, "inspect", "--type", "image", "--format", "{{.FromImageDigest}}", BASE)


@pytest.fixture(scope="session")
def authority() -> str:
    """The certificate of an authority that signs nothing; it is among those that the build is given."""
    return CertificateAuthority.create("an index's own").certificate


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory, authority: str) -> PipSettings:
    """This machine's, and a password and a certificate that are looked for afterwards."""
    found = pip_settings()
    certificates = tmp_path_factory.mktemp("settings") / "ca.pem"
    certificates.write_text((found.certificates.read_text() if found.certificates else "") + authority)
    trusted = f"# https://reader:{secrets.token_hex(16)}@index.invalid/simple\n"
    return replace(found, text=found.text + trusted, certificates=certificates if found.certificates else None)


@pytest.fixture(scope="session")
def image(buildah: tuple[str, ...], base_digest: str, storage: Path, settings: PipSettings) -> Image:
    """The operator's, built as `make image` builds it, on a base by digest as that of a release."""
    name, log = f"localhost/{NAME}", storage / "build.log"
    with log.open("w") as output:
        try:
            tool = Tool(buildah, ("--isolation", "chroot"))
            build(tool, name, {"BASE_IMAGE": f"{BASE}@{base_digest}"}, settings=settings, output=output)
        except CannotBuild as error:
            pytest.fail(f"{error}\n{log.read_text()[-4000:]}")
    log.unlink()
    about = json.loads(output_of(*buildah, "inspect", "--type", "image", name))["OCIv1"]
    container = output_of(*buildah, "from", name)
    return Image(Path(output_of(*buildah, "mount", container)), about, storage)


def output_of(*command: str) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-4000:]}"
    return done.stdout.strip()
