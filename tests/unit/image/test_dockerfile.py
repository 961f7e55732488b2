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


def test_whatever_the_image_installs_from_an_index_has_the_hashes_that_are_pinned() -> None:
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    installs = [each for line in text.splitlines() for each in line.split("&&") if re.search(r"pip\b.* install ", each)]
    pinned = [each for each in installs if "--no-index" not in each]
    assert len(installs) == 3
    assert [re.findall(r"requirements/(\w+)\.txt", each) for each in pinned] == [["build"], ["runtime"]]
    for each in pinned:
        assert {"--require-hashes", "--no-deps", "--only-binary=:all:", "--requirement"} <= set(each.split())
        assert len([word for word in each.split(" install ")[1].split() if not word.startswith("--")]) == 1
