"""Which Kubernetes is chosen, that it ends when asked, and what a restricted operator may do in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.kubernetes.client import Api, StatusError
from sandbox.kubernetes.processes import running
from sandbox.kubernetes.provider import Choice, Cluster, Provider


@pytest.fixture
def no_binaries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    monkeypatch.delenv("KUBERNETES", raising=False)


def put_binaries(place: Path, etcd: str, apiserver: str) -> None:
    """Programs that say of themselves what the real ones do."""
    for name, answer in (("etcd", etcd), ("kube-apiserver", apiserver)):
        (place / name).write_text(f"#!/bin/sh\necho {answer}\n")
        (place / name).chmod(0o755)


def test_embedded_api_serves_where_nothing_else_is(no_binaries: None) -> None:
    assert Choice.make() == Choice(Provider.EMBEDDED, "embedded API")


def test_named_context_comes_first(no_binaries: None) -> None:
    assert Choice.make("embedded", "kind-kind") == Choice(Provider.CONTEXT, "context kind-kind", "kind-kind")


def test_control_plane_comes_before_the_embedded_api(no_binaries: None, tmp_path: Path) -> None:
    put_binaries(tmp_path, "etcd Version: 3.5.13", "Kubernetes v1.34.0")
    assert Choice.make() == Choice(Provider.CONTROL_PLANE, f"control plane v1.34.0 ({tmp_path})")
    assert Choice.make("embedded") == Choice(Provider.EMBEDDED, "embedded API")


@pytest.mark.parametrize(
    ("etcd", "apiserver", "old"),
    [
        ("etcd Version: 3.5.1", "Kubernetes v1.36.2", "etcd 3.5.1"),
        ("etcd Version: 3.5.12", "Kubernetes v1.34.0", "etcd 3.5.12"),
        ("etcd Version: 3.6.0", "Kubernetes v1.33.9", "kube-apiserver 1.33.9"),
        ("nonsense", "Kubernetes v1.9.10", "kube-apiserver 1.9.10 and etcd without a version"),
    ],
)
def test_control_plane_that_is_too_old_is_not_taken_and_it_is_told_which_is_needed(
    no_binaries: None, tmp_path: Path, etcd: str, apiserver: str, old: str
) -> None:
    put_binaries(tmp_path, etcd, apiserver)
    needed = f"too old in {tmp_path}: {old}; put kube-apiserver 1.34.0 or later and etcd 3.5.13 or later there"
    choice = Choice.make()
    assert choice.provider is Provider.EMBEDDED
    assert needed in choice.description
    assert Choice.make("embedded").description == "embedded API"
    with pytest.raises(ValueError, match=re.escape(needed)):
        Choice.make("controlplane")


def test_forced_control_plane_must_be_there(no_binaries: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="no kube-apiserver and etcd"):
        Choice.make("controlplane")
    monkeypatch.setenv("KUBERNETES", "minikube")
    with pytest.raises(ValueError, match="no Kubernetes provider 'minikube'"):
        Choice.make()


def test_embedded_api_stops_when_told(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    command = [sys.executable, "-m", "sandbox.kubernetes.embedded", "--kubeconfig", str(kubeconfig)]
    with running(command, tmp_path / "log", kubeconfig.exists) as process:
        assert kubeconfig.stat().st_mode & 0o077 == 0
        watch = Api(kubeconfig).watch("/api/v1/namespaces", seconds=60)
        assert next(watch)["type"] == "ADDED"
        process.terminate()
        assert process.wait(5) == 0


def test_server_that_dies_is_told_with_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sandbox.kubernetes.embedded", "--port", "none"]
    with (
        pytest.raises(RuntimeError, match="invalid int value: 'none'"),
        running(command, tmp_path / "log", lambda: False),
    ):
        pass


def test_operator_may_do_what_its_rules_say(cluster: Cluster, namespace: str) -> None:
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}]
    kubeconfig = cluster.operator_kubeconfig(rules, namespace)
    assert Api(kubeconfig).get(f"/api/v1/namespaces/{namespace}/secrets")["items"] == []
    assert Api(kubeconfig).get("/api/v1/secrets")["kind"] == "SecretList"
    here = cluster.operator_kubeconfig(rules, namespace, "local", cluster_wide=False)
    assert Api(here).get(f"/api/v1/namespaces/{namespace}/secrets")["items"] == []


def test_operator_may_do_nothing_else(cluster: Cluster, namespace: str) -> None:
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}]
    operator = Api(cluster.operator_kubeconfig(rules, namespace))
    with pytest.raises(StatusError) as refused:
        operator.create(f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": "a"}})
    assert (refused.value.code, refused.value.reason) == (403, "Forbidden")
    local = Api(cluster.operator_kubeconfig(rules, namespace, "local", cluster_wide=False))
    with pytest.raises(StatusError) as refused:
        local.get("/api/v1/secrets")
    assert refused.value.code == 403


def test_kubectl_tells_why_it_failed(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        cluster.kubectl("get", "secret", "none", "--namespace", namespace)
    assert 'secrets "none" not found' in failed.value.stderr
    assert cluster.kubectl("get", "secret", "none", check=False).returncode == 1
