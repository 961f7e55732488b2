"""What `make setup` does to a machine: it starts nothing there, and needs no lists, umask or user of its liking."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sandbox import install, mongo_packages, packages, servers


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def install_by(folder: Path, policy: Path, apt: str) -> subprocess.CompletedProcess[str]:
    """Run what installs packages, with an apt-get of the test's own."""
    program(folder, "apt-get", apt)
    program(folder, "update-rc.d", f'echo "$*" >>{folder}/services')
    return subprocess.run(
        ["sh", "-c", packages.INSTALL, "install", str(policy), "redis-server", "redis-server"],
        env={"PATH": f"{folder}:{os.defpath}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("status", [0, 100])
def test_services_of_packages_are_not_started_and_nothing_is_left_that_forbids_others(
    tmp_path: Path, status: int
) -> None:
    policy = tmp_path / "policy-rc.d"
    done = install_by(tmp_path, policy, f'{policy}; echo "$? $*"; exit {status}')
    assert done.stdout == "101 install --yes --no-install-recommends redis-server\n"
    assert done.returncode == status
    assert not policy.exists()
    assert (tmp_path / "services").exists() == (status == 0)
    if status == 0:
        assert (tmp_path / "services").read_text() == "redis-server disable\n"


def test_a_policy_of_the_machines_own_is_kept(tmp_path: Path) -> None:
    program(tmp_path, "policy-rc.d", "exit 7")
    done = install_by(tmp_path, tmp_path / "policy-rc.d", f"{tmp_path}/policy-rc.d; echo $?")
    assert done.stdout == "7\n"
    assert (tmp_path / "policy-rc.d").exists()


def test_mirrors_are_read_from_sources_whose_lists_were_never_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lists" / "partial").mkdir(parents=True)
    (tmp_path / "sources.list").write_text(
        "deb [trusted=yes] http://127.0.0.1:1/flat ./\n"
        "deb http://127.0.0.1:1/debian bookworm main\n"
        "deb http://127.0.0.1:1/security bookworm-security main\n"
    )
    settings = tmp_path / "apt.conf"
    settings.write_text(
        f'Dir::State::Lists "{tmp_path}/lists";\nDir::Etc::SourceList "{tmp_path}/sources.list";\n'
        'Dir::Etc::SourceParts "/dev/null";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(settings))
    assert list(mongo_packages.mirrors()) == ["http://127.0.0.1:1/debian/"]


def test_a_line_of_apts_that_makes_no_sense_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "apt-get", "echo; echo one; echo 'a b c d'; echo 'http://mirror/|main|bookworm'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert list(mongo_packages.mirrors()) == ["http://mirror/"]


def test_what_is_cached_is_in_reach_of_servers_whatever_the_umask_is(tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "program").write_text("")

    before = os.umask(0o077)
    try:
        made = servers.made_once(tmp_path / "cache" / "server", make)
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (made.parent, made, made / "program")] == [0o755, 0o755, 0o644]


@pytest.mark.parametrize("may", [True, False])
def test_a_user_with_sudo_may_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, may: bool) -> None:
    program(tmp_path, "apt-get", "exit 1")
    program(tmp_path, "sudo", f"exit {0 if may else 1}")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert packages.may_install() is may


def test_a_postgres_without_tls_counts_as_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(install, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(install, "Path", lambda _: tmp_path)
    monkeypatch.setattr(install, "may_install", lambda: False)
    monkeypatch.setenv("PATH", str(tmp_path))
    for step in ("make_environment", "install_packages"):
        monkeypatch.setattr(install, step, lambda: None)
    monkeypatch.setattr(install, "install_servers", list)
    monkeypatch.setenv("CI", "true")
    assert install.main() == 1
    monkeypatch.delenv("CI")
    assert install.main() == 0
