"""What can be said of the Dockerfile without building it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from sandbox.image import ROOT, version

DOCKERFILE = ROOT / "Dockerfile"


def test_hadolint_finds_nothing() -> None:
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_version_on_the_label_is_the_operators() -> None:
    assert f"ARG VERSION={version()}\n" in DOCKERFILE.read_text()


def test_the_base_image_is_pinned_to_a_release_of_python_and_of_debian() -> None:
    (base,) = re.findall(r"^ARG BASE_IMAGE=(.+)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+\.\d+-slim-[a-z]+", base)


def test_every_package_in_the_image_is_pinned() -> None:
    lines = (ROOT / "requirements" / "runtime.txt").read_text().splitlines()
    pinned = [line for line in lines if line and not line.lstrip().startswith(("#", "--hash"))]
    assert pinned
    assert not [line for line in pinned if not re.match(r"[a-z0-9-]+==[\w.]+", line)]
