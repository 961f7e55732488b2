"""The packages in requirements/ are pinned to versions and to the hashes of their files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.documents import ROOT

FILES = sorted(ROOT.glob("requirements/*.txt"))


def pins(file: Path) -> dict[str, str]:
    """The version and the hashes of each package, by its name."""
    joined = re.sub(r"\\\n", " ", file.read_text())
    lines = (line.strip() for line in joined.splitlines() if line and not line.lstrip().startswith("#"))
    return {name: rest for name, _, rest in (line.partition("==") for line in lines)}


PINNED = re.compile(r"\S+( +--hash=sha256:[0-9a-f]{64})+")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_package_has_a_version_and_hashes(file: Path) -> None:
    found = pins(file)
    assert found
    assert [name for name, rest in found.items() if not PINNED.fullmatch(rest)] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_file_names_an_index(file: Path) -> None:
    assert not re.search(r"^\s*(--?i|--extra|--find|-f)|https?://", file.read_text(), re.MULTILINE)


def test_the_image_has_the_versions_that_are_tested() -> None:
    tested = pins(ROOT / "requirements" / "dev.txt").items()
    assert [pin for file in FILES for pin in pins(file).items() if pin not in tested] == []


def test_the_hashes_are_checked_by_all_that_install_them() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert dockerfile.count("--require-hashes --requirement requirements/") == dockerfile.count("requirements/") == 2
    assert '"--require-hashes"' in (ROOT / "sandbox" / "install.py").read_text()
