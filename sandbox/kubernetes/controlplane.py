"""A real kube-apiserver on its own etcd: RBAC on, own certificates, no controllers and no nodes.

The binaries are looked for where envtest looks: `$KUBEBUILDER_ASSETS`, else /usr/local/kubebuilder/bin.
Known limits: without a controller manager nothing collects by ownerReference, and deleted namespaces never end.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from sandbox.kubernetes.certificates import Authority, inline
from sandbox.kubernetes.kubeconfig import write_kubeconfig
from sandbox.kubernetes.processes import running

_DEFAULT_ASSETS = Path("/usr/local/kubebuilder/bin")
OLDEST = {"kube-apiserver": "1.34.0", "etcd": "3.5.13"}
"""The oldest versions that the tests can run on. Streamed lists (``sendInitialEvents``) are off in kube-apiserver 1.33.
With an older etcd, whose progress reports are wrong, it ends such a watch with an event ERROR.

Sources: the feature gate WatchList in the Kubernetes documentation; feature_support_checker.go of kube-apiserver, which
cites https://github.com/etcd-io/etcd/issues/15220 and …/17507.
"""
_POLICY, _AUDIT_LOG = "audit-policy.yaml", "audit.log"
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],  # a watch that goes on is told when it has begun
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
}


@dataclass(frozen=True)
class Binaries:
    place: Path

    @classmethod
    def find(cls) -> Binaries | None:
        place = Path(os.environ.get("KUBEBUILDER_ASSETS") or _DEFAULT_ASSETS)
        return cls(place) if all((place / name).is_file() for name in ("etcd", "kube-apiserver")) else None

    def version(self) -> str:
        return f"v{self._version('kube-apiserver')}"

    def too_old(self) -> str:
        """Say which of the two is too old for the tests, and what they need; empty if neither is."""
        found = {name: self._version(name) for name in OLDEST}
        old = [name for name, oldest in OLDEST.items() if _numbers(found[name]) < _numbers(oldest)]
        if not old:
            return ""
        told = " and ".join(f"{name} {found[name] or 'without a version'}" for name in old)
        needed = " and ".join(f"{name} {oldest} or later" for name, oldest in OLDEST.items())
        return f"too old in {self.place}: {told}; put {needed} there, or in the folder that KUBEBUILDER_ASSETS names"

    def _version(self, name: str) -> str:
        told = subprocess.run([self.place / name, "--version"], capture_output=True, text=True, check=True)
        found = re.search(r"\d+\.\d+\.\d+", told.stdout)
        return found[0] if found else ""


@contextmanager
def control_plane(binaries: Binaries) -> Iterator[tuple[Path, Path]]:
    """Gives the kubeconfig of a cluster administrator, and the audit log of what ServiceAccounts ask.

    The servers and all they wrote are gone at the end.
    """
    with TemporaryDirectory(prefix="control-plane-") as directory, ExitStack() as servers:
        place = Path(directory)
        etcd = f"http://127.0.0.1:{_free_port()}"
        servers.enter_context(
            running(_etcd(binaries, place, etcd), place / "etcd.log", partial(_answers, f"{etcd}/health"))
        )
        authority = Authority.create("control plane")
        admin = authority.issue("sandbox-admin", organizations=["system:masters"])
        (place / "ca.crt").write_bytes(authority.certificate)
        authority.issue("kube-apiserver", ["127.0.0.1", "localhost"]).write(place / "tls.crt", place / "tls.key")
        authority.issue("service-accounts").write(place / "sa.crt", place / "sa.key")
        admin.write(place / "admin.crt", place / "admin.key")
        (place / _POLICY).write_text(yaml.safe_dump(_AUDIT_POLICY))
        port = _free_port()
        address = f"https://127.0.0.1:{port}"
        trust = ssl.create_default_context(cafile=place / "ca.crt")
        trust.load_cert_chain(place / "admin.crt", place / "admin.key")
        is_ready = partial(_answers, f"{address}/readyz", trust)
        servers.enter_context(running(_apiserver(binaries, place, etcd, port), place / "apiserver.log", is_ready))
        write_kubeconfig(place / "kubeconfig", address, authority.certificate, inline(admin))
        yield place / "kubeconfig", place / _AUDIT_LOG


def _etcd(binaries: Binaries, place: Path, client: str) -> list[str]:
    peer = f"http://127.0.0.1:{_free_port()}"
    return [
        str(binaries.place / "etcd"),
        f"--data-dir={place / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
    ]


def _apiserver(binaries: Binaries, place: Path, etcd: str, port: int) -> list[str]:
    return [
        str(binaries.place / "kube-apiserver"),
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={place}",
        f"--client-ca-file={place / 'ca.crt'}",
        f"--tls-cert-file={place / 'tls.crt'}",
        f"--tls-private-key-file={place / 'tls.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={place / 'sa.crt'}",
        f"--service-account-signing-key-file={place / 'sa.key'}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--authorization-mode=RBAC",
        f"--audit-policy-file={place / _POLICY}",
        f"--audit-log-path={place / _AUDIT_LOG}",
        "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",  # as OpenShift
        "--disable-admission-plugins=ServiceAccount",  # it waits for tokens and accounts that controllers would create
        "--shutdown-watch-termination-grace-period=1s",  # else an open watch keeps it from ending for a minute
    ]


def _answers(url: str, trust: ssl.SSLContext | None = None) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2, context=trust) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split("."))) if version else ()
