"""Helm, as the demo and the tests use it: with folders of its own, and no cluster unless one is named.

Knows where the chart is, and nothing of what is in it.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sandbox.helm_packages import helm_program
from sandbox.servers import cache_directory

CHART = Path(__file__).resolve().parents[1] / "charts" / "rotated-secrets"
Manifest = dict[str, Any]

PROMETHEUS_OPERATOR = ("monitoring.coreos.com/v1/ServiceMonitor", "monitoring.coreos.com/v1/PrometheusRule")
"""Kinds that a cluster has where the Prometheus operator is installed."""

_program = functools.cache(helm_program)


class HelmFailed(Exception):
    """Helm refused; the message is what it said."""


def helm(*arguments: str, environment: Mapping[str, str] | None = None, stdin: str | None = None) -> str:
    """What Helm prints. Which cluster it speaks to, ``environment`` says (KUBECONFIG) or the arguments; else none.

    Raises:
        HelmFailed: with Helm's words.
        NotInstalled: there is no Helm, and none can be had.
    """
    folders = cache_directory() / "helm-home"
    # Neither the plug-ins nor the clusters of whoever runs this.
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBERNETES_"))}
    ours |= {f"HELM_{kind}_HOME": str(folders / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    ours["KUBECONFIG"] = os.devnull
    done = subprocess.run(
        [_program(), *arguments],
        env={**ours, **(environment or {})},
        input=stdin or "",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise HelmFailed(f"{done.stdout}{done.stderr}".strip())
    return done.stdout


def rendered(
    values: Mapping[str, Any] | None = None,
    *,
    release: str = "rotated-secrets",
    namespace: str = "rotated-secrets",
    kinds: Sequence[str] = PROMETHEUS_OPERATOR,
) -> list[Manifest]:
    """The chart's manifests with these values over its own, those of its test included.

    For a cluster that has these ``kinds`` beside Kubernetes' own.

    Raises:
        HelmFailed: the values are refused; with Helm's words.
    """
    asked = ["--namespace", namespace, "--values", "-", *(f"--api-versions={kind}" for kind in kinds)]
    # Not as YAML: of what is a text, Python's and Go's libraries have different opinions.
    said = helm("template", release, str(CHART), *asked, stdin=json.dumps(dict(values or {})))
    return [manifest for manifest in yaml.load_all(said, Loader=_loader()) if manifest]


@functools.cache
def _loader() -> Any:
    # The one written in C, where it was built: the CRD is long.
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
