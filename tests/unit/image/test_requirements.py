"""What requirements/ pins is what pyproject.toml wants, by hashes alone, and names no place of this machine."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sandbox import install
from sandbox.image import ROOT

FOLDER = ROOT / "requirements"
FILES = sorted(FOLDER.glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME = PROJECT["project"]["dependencies"]
DEV = PROJECT["project"]["optional-dependencies"]["dev"]
WANTED = {"runtime": RUNTIME, "dev": RUNTIME + DEV, "build": PROJECT["build-system"]["requires"]}


@dataclass(frozen=True)
class Pin:
    """One package of a file."""

    line: str
    hashes: frozenset[str]
    wanted_by: frozenset[str]
    """The packages that the resolver says need it; empty where the file has no such notes."""

    @property
    def name(self) -> str:
        return canonicalize_name(Requirement(self.line).name)

    @property
    def version(self) -> str:
        (found,) = Requirement(self.line).specifier
        return found.version


def pins(text: str) -> Iterator[Pin]:
    """The packages of a file; a line that is none of pin, hash and note is an error."""
    for part in re.split(r"\n(?=[^\s#])", "\n" + re.sub(r"\A(#.*\n)*", "", text)):
        lines = [line.strip().removesuffix("\\").strip() for line in part.splitlines() if line.strip()]
        if not lines:
            continue
        notes = [line.removeprefix("#").strip().removeprefix("via").strip() for line in lines if line.startswith("#")]
        others = [line for line in lines[1:] if not line.startswith("#")]
        assert re.fullmatch(r"[A-Za-z0-9._-]+(\[[a-z0-9,-]+\])?==[A-Za-z0-9.+!]+( ; [^/]+)?", lines[0]), lines[0]
        assert others, f"{lines[0]} has no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in others), others
        yield Pin(lines[0], frozenset(others), frozenset(filter(None, notes)))


def by_name(file: Path) -> dict[str, Pin]:
    found = list(pins(file.read_text()))
    named = {each.name: each for each in found}
    assert len(named) == len(found), "a package is pinned once"
    return named


def test_each_file_is_checked() -> None:
    assert {file.stem for file in FILES} == set(WANTED)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_package_is_pinned_to_a_version_and_to_hashes(file: Path) -> None:
    assert by_name(file)


@pytest.mark.parametrize(
    "text",
    [
        "a==1\n",
        "a==1 \\\n    # via b\n",
        "a>=1 \\\n    --hash=sha256:" + "0" * 64 + "\n",
        "a @ https://example.com/a.whl \\\n    --hash=sha256:" + "0" * 64 + "\n",
        "a==1 \\\n    --hash=md5:" + "0" * 32 + "\n",
        "--extra-index-url https://example.com/simple\n",
        "--find-links /wheels\n",
        "./a \\\n    --hash=sha256:" + "0" * 64 + "\n",
    ],
)
def test_a_line_that_is_not_pinned_so_is_found(text: str) -> None:
    whole = "# made by\nb==1 \\\n    --hash=sha256:" + "1" * 64 + "\n"
    assert [each.name for each in pins(whole)] == ["b"]
    for broken in (whole + text, text + whole):
        with pytest.raises(AssertionError):
            list(pins(broken))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_names_what_made_it_and_no_place(file: Path) -> None:
    text = file.read_text()
    assert "#    make requirements\n" in text.partition("==")[0]
    assert "://" not in text
    assert not re.search(r"(index|find-links|trusted-host|file:)", re.sub(r"^\s*# .*$", "", text, flags=re.MULTILINE))
    # Notes name files of this folder, and packages.
    assert set(re.findall(r"\S*/\S*", text)) <= {f"requirements/{name}.txt" for name in WANTED}


@pytest.mark.parametrize("name", WANTED)
def test_what_is_pinned_is_what_the_project_wants(name: str) -> None:
    found = by_name(FOLDER / f"{name}.txt")
    for text in WANTED[name]:
        wanted = Requirement(text)
        pin = found.get(canonicalize_name(wanted.name))
        assert pin, f"{wanted.name} is not in {name}.txt: run make requirements"
        assert wanted.specifier.contains(pin.version), f"{pin.line} is not {text}: run make requirements"


@pytest.mark.parametrize("name", ["runtime", "dev"])
def test_nothing_is_pinned_that_the_project_no_longer_wants(name: str) -> None:
    found = by_name(FOLDER / f"{name}.txt")
    wanted = {canonicalize_name(Requirement(text).name) for text in WANTED[name]}
    direct = {pin.name for pin in found.values() if any("pyproject.toml" in each for each in pin.wanted_by)}
    assert direct == wanted, "run make requirements"
    for pin in found.values():
        assert pin.wanted_by, f"nothing needs {pin.name}: run make requirements"


def test_tests_run_with_the_packages_of_the_image() -> None:
    runtime, dev, build = (by_name(FOLDER / f"{name}.txt") for name in ("runtime", "dev", "build"))
    for name, pin in [*runtime.items(), *build.items()]:
        assert (dev[name].version, dev[name].hashes) == (pin.version, pin.hashes), name


def test_what_is_set_up_for_tests_has_the_hashes_that_are_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: Sequence[str | Path]) -> Iterator[str]:
        commands.append([*map(str, command)])
        return iter(())

    monkeypatch.setattr(install, "run", run)
    install.install_packages()
    packages, ours = commands
    assert {"--require-hashes", "--no-deps", str(FOLDER / "dev.txt")} <= {*packages}
    assert {"--no-deps", "--no-build-isolation", "--editable"} <= {*ours}
