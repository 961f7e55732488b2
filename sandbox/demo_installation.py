"""The demo's first scene: Helm installs the chart, and the operator begins as the chart's Deployment says.

No node runs a pod here, so a process of this machine is the Deployment's replica.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from sandbox.demo_screen import Screen
from sandbox.helm import CHART
from sandbox.installation import RELEASE, command, installed, merged, sandbox_values
from sandbox.operatorprocess import OperatorProcess
from sandbox.stack import CRD_NAME, ROOT, Stack

NAMESPACE = "rotated-secrets"
HURRY = {
    "replicas": 0,  # a named cluster has nodes, but no image
    "rotation": {"minimumInterval": "1m"},
    "aws": {"pollInterval": "10s"},
    "log": {"format": "text"},
}


@contextmanager
def installed_operator(stack: Stack, screen: Screen, folder: Path) -> Iterator[OperatorProcess]:
    """It leads. What Helm has made is gone at the end, but for a CRD: that is kept, as everywhere.

    Raises:
        HelmFailed: with Helm's words.
    """
    values = merged(HURRY, {"crds": {"install": not _has_crd(stack)}})
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(merged(sandbox_values(stack), values), sort_keys=False))
    screen.title("Installation")
    screen.command(f"helm {' '.join(command('install', RELEASE, NAMESPACE, str(short(CHART)), str(short(file))))}")
    with installed(stack, values=values, release=RELEASE, namespace=NAMESPACE) as installation:
        screen.output(installation.said.partition("\nNOTES:")[0])
        log = folder / "operator.log"
        log.write_text("")
        with installation.operator(log) as operator:
            with screen.waiting("starting the operator"):
                operator.wait_until_it_leads()
            account = f"ServiceAccount {NAMESPACE}/{installation.account}"
            screen.good(f"operator: process {operator.pid} with {account}, its log is {short(log)}")
            yield operator


def _has_crd(stack: Stack) -> bool:
    """On a named cluster it may be there, and somebody else's."""
    return stack.cluster.kubectl("get", "crd", CRD_NAME, "--ignore-not-found").stdout != ""


def short(path: Path) -> Path:
    """As a person in the project's folder would name it."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
