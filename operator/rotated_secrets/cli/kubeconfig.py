"""Where the API server is, who we are there, and which namespace is meant: as kubectl would find it.

The file that is named, else $KUBECONFIG, else ~/.kube/config, else the pod's own ServiceAccount.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config

from rotated_secrets.cli.problem import Problem
from rotated_secrets.cluster import NoCluster, configuration

POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Place:
    """A cluster, and the namespace in it that is meant where none is named."""

    configuration: client.Configuration
    context: str | None
    """None in a pod."""
    namespace: str

    def __str__(self) -> str:
        return f"{self.configuration.host} (context {self.context})" if self.context else str(self.configuration.host)


def find(kubeconfig: Path | None, context: str | None) -> Place:
    """Raises Problem where nothing says where the API server is, or not so that it can be understood."""
    path = _file(kubeconfig, context)
    try:
        if path is None and not os.environ.get("KUBECONFIG"):
            found = configuration(None, None)
            namespace = POD_NAMESPACE.read_text().strip() if POD_NAMESPACE.exists() else "default"
            return Place(found, None, namespace)
        chosen = _context(path, context)
        found = configuration(path, chosen["name"])
    except NoCluster as error:
        raise Problem(str(error)) from None
    except (config.ConfigException, yaml.YAMLError, OSError) as error:
        which = path or os.environ.get("KUBECONFIG")
        why = str(error).strip().partition("\n")[0]
        raise Problem(f"kubeconfig {which} cannot be used: {why}; name another by --kubeconfig") from None
    return Place(found, chosen["name"], chosen["context"].get("namespace") or "default")


def contexts(kubeconfig: Path | None) -> list[str]:
    """The names of the contexts that there are."""
    listed, _ = config.list_kube_config_contexts(_text(_file(kubeconfig, None)))  # type: ignore[no-untyped-call]
    return [each["name"] for each in listed]


def _file(kubeconfig: Path | None, context: str | None) -> Path | None:
    """None where $KUBECONFIG says it, which may name several, or where only a pod's own identity is left."""
    usual = Path.home() / ".kube" / "config"
    if kubeconfig is not None or os.environ.get("KUBECONFIG"):
        return kubeconfig
    in_pod = "KUBERNETES_SERVICE_HOST" in os.environ
    return None if in_pod and context is None and not usual.exists() else usual


def _text(path: Path | None) -> str | None:
    return str(path) if path else None


def _context(path: Path | None, name: str | None) -> Any:
    listed, current = config.list_kube_config_contexts(_text(path))  # type: ignore[no-untyped-call]
    if name is None:
        return current
    found = next((each for each in listed if each["name"] == name), None)
    if found is None:
        names = [each["name"] for each in listed]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names) or 'none'}"
        raise Problem(f"the kubeconfig has no context {name}; {hint}")
    return found
