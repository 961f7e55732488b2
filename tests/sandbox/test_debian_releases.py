"""Servers of newer Debian releases run by their own libraries, and a release that cannot be had is named."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import debian_releases
from sandbox.debian_releases import FORKY, TRIXIE, Release
from sandbox.packages import NotInstalled


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which nothing is unpacked yet, with two mirrors in apt's sources."""
    monkeypatch.setattr(debian_releases, "cache_directory", lambda _account: tmp_path / "cache")
    monkeypatch.setattr(debian_releases, "mirrors", lambda: iter(("http://one/", "http://two/")))
    monkeypatch.setattr(debian_releases, "program_path", Path)
    monkeypatch.setattr(debian_releases, "KEYS", tmp_path)
    return tmp_path


def refusing(asked: list[tuple[str, ...]]) -> Callable[..., None]:
    def as_root(*command: str) -> None:
        asked.append(command)
        raise NotInstalled(f"{command[-1]} is not reached")

    return as_root


def test_release_that_cannot_be_had_is_named_with_every_reason(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(debian_releases, "as_root", refusing(asked))
    assert debian_releases.main() == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"✗ Debian trixie with {', '.join(TRIXIE.packages)} cannot be had")
    assert "so nothing is tested: http://one/ is not reached\nhttp://two/ is not reached\n" in told.err
    assert [command[-1] for command in asked[:2]] == ["http://one/", "http://two/"]
    assert asked[2][-1].endswith("release.tar"), "mmdebstrap was not asked for the mirror that it knows"


@pytest.mark.parametrize("release", [TRIXIE, FORKY], ids=lambda release: release.suite)
def test_what_is_unpacked_of_a_release_is_kept_by_what_was_asked_for(release: Release) -> None:
    other = Release(release.suite, (*release.packages, "one-more"))
    assert debian_releases.release_directory(release) != debian_releases.release_directory(other)


@pytest.mark.parametrize("linked", [False, True])
def test_program_is_started_by_the_loader_and_libraries_of_its_release(tmp_path: Path, linked: bool) -> None:
    folder = tmp_path / "usr" / "cache"
    for each in ("usr/bin", "usr/lib64", "usr/lib/machine"):
        (folder / each).mkdir(parents=True)
    loader, program = folder / "usr/lib64/ld-linux.so", folder / "usr/bin/server"
    loader.write_text('#!/bin/sh\necho "$LOCPATH"\nfor each; do echo "$each"; done\n')
    loader.chmod(0o755)
    if linked:
        (folder / "usr/bin/checker").touch()
        program.symlink_to("checker")
    else:
        program.touch()
    debian_releases._make_launcher(folder, program, loader, folder / "usr/lib/machine")
    moved = folder.rename(tmp_path / "usr" / "moved")
    started = moved / "usr/bin/server"
    said = subprocess.run([started, "--port", "1 2"], capture_output=True, text=True, check=True).stdout.splitlines()
    real = "checker" if linked else "server.program"
    assert said == [
        f"{moved}/usr/lib/locale",
        *("--library-path", f"{moved}/usr/lib/machine", "--argv0", str(started)),
        *(f"{moved}/usr/bin/{real}", "--port", "1 2"),
    ]
