"""Find the API server, the identity and the default namespace as kubectl does.

In this order: the file of --kubeconfig, $KUBECONFIG, ~/.kube/config, the ServiceAccount of the pod.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config
from kubernetes.config.kube_config import KubeConfigMerger

from rotated_secrets.cli.errors import CommandError
from rotated_secrets.cluster_access import NoCluster, configuration

POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class ClusterContext:
    """How to reach a cluster, and the namespace to use where the command line names none."""

    configuration: client.Configuration
    context: str | None
    """None where the ServiceAccount of the pod is used."""
    namespace: str

    def __str__(self) -> str:
        return f"{self.configuration.host} (context {self.context})" if self.context else str(self.configuration.host)


def find(kubeconfig: Path | None, context: str | None) -> ClusterContext:
    """Raises CommandError where there is no kubeconfig, or it cannot be used."""
    path = _file(kubeconfig, context)
    try:
        if path is None:
            found = configuration(None, None)
            namespace = POD_NAMESPACE.read_text().strip() if POD_NAMESPACE.exists() else "default"
            return ClusterContext(found, None, namespace)
        there, current = _contexts(path)
        name = context or current
        if name not in there:
            raise CommandError(f"{path} {_missing(name, list(there))}")
        return ClusterContext(configuration(path, name), name, there[name].get("namespace") or "default")
    except NoCluster as error:
        why = str(error).partition(";")[0]
    except (yaml.YAMLError, OSError, config.ConfigException, AttributeError, KeyError, TypeError) as error:
        why = " ".join(str(error).split())
    raise CommandError(f"kubeconfig {path} cannot be used: {why}; choose another with --kubeconfig")


def contexts(kubeconfig: Path | None) -> list[str]:
    """Names of all contexts."""
    path = _file(kubeconfig, None)
    return list(_contexts(path)[0]) if path else []


def _file(kubeconfig: Path | None, context: str | None) -> Path | None:
    """One or several files, separated as in $KUBECONFIG; None where only the ServiceAccount of the pod is left."""
    if kubeconfig is not None:
        return kubeconfig
    if files := os.environ.get("KUBECONFIG"):
        return Path(files)
    usual = Path.home() / ".kube" / "config"
    in_pod = "KUBERNETES_SERVICE_HOST" in os.environ
    return None if in_pod and context is None and not usual.exists() else usual


def _contexts(path: Path) -> tuple[dict[str, Any], str | None]:
    """Contexts by name, and the name of the current one."""
    merged = KubeConfigMerger(str(path)).config  # type: ignore[no-untyped-call]
    if merged is None:
        raise config.ConfigException("there is no such file")
    found = [each.value for each in merged.value["contexts"]]
    return {each["name"]: each.get("context") or {} for each in found}, merged.value.get("current-context")


def _missing(name: str | None, there: list[str]) -> str:
    if not name:
        return f"has no current context; choose one with --context: {', '.join(there) or 'it has none'}"
    near = difflib.get_close_matches(name, there, n=1)
    return f"has no context {name}; " + (f"did you mean {near[0]}?" if near else f"it has {', '.join(there) or 'none'}")
