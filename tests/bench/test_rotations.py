"""What a rotation costs: rotations a second, CPU time for each, and memory, of the operator and its child processes.

On the embedded API and the sandbox's PostgreSQL, so that the numbers can be compared. Runs alone: it measures.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox.application import Application, create_application
from sandbox.installation import operator_rules
from sandbox.kubernetes.provider import Choice, Provider, running_cluster
from sandbox.operatorprocess import OperatorProcess
from sandbox.stack import Stack, running_stack
from sandbox.waiting import eventually

COUNT = 48
NAMESPACE = "bench"
TICKS = os.sysconf("SC_CLK_TCK")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_cluster(Choice.make(Provider.EMBEDDED)) as cluster, running_stack(cluster) as running:
        yield running


def family(root: int) -> list[int]:
    """The process and everything that descends from it."""
    parents: dict[int, int] = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                parents[int(each.name)] = int((each / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found, fresh = [root], [root]
    while fresh:
        fresh = [pid for pid, parent in parents.items() if parent in fresh]
        found += fresh
    return found


def cpu_seconds(root: int) -> float:
    """CPU time of a family, with that of its members that have ended."""
    total = 0
    for pid in family(root):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15]))
    return total / TICKS


def memory(root: int) -> int:
    """KiB, each shared page counted once."""
    total = 0
    for pid in family(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def succeeded(operator: OperatorProcess) -> int:
    lines = operator.get("/metrics").splitlines()
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in lines
        if line.startswith("rotatedsecrets_rotations_total{") and 'outcome="Succeeded"' in line
    )


def ready(operator: OperatorProcess) -> int:
    lines = operator.get("/metrics").splitlines()
    return sum(1 for line in lines if line.startswith("rotatedsecrets_ready{") and line.endswith(" 1.0"))


def test_many_rotations_at_once(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """Twice: time and CPU are measured where nothing looks at memory, which takes a part of the CPU itself."""
    stack.api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    applications = [create_application(stack, NAMESPACE, f"orders-{number:02}") for number in range(COUNT)]
    kubeconfig = stack.cluster.operator_kubeconfig(operator_rules(), NAMESPACE)
    where = ["--namespaces", NAMESPACE, "--lease-namespace", NAMESPACE, "--connections-per-host", "16"]

    def apply(application: Application) -> None:
        stack.api.create(
            f"/apis/rotatedsecrets.io/v1alpha1/namespaces/{NAMESPACE}/rotatedsecrets", application.manifest()
        )

    def ask(application: Application) -> None:
        path = f"/apis/rotatedsecrets.io/v1alpha1/namespaces/{NAMESPACE}/rotatedsecrets/{application.name}"
        stack.api.patch(path, {"metadata": {"annotations": {"rotatedsecrets.io/rotate": str(time.time())}}})

    with OperatorProcess(stack, kubeconfig, stack.directory / "operator.log", *where) as operator:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(apply, applications))
        eventually(lambda: ready(operator) == COUNT, "all are Ready", seconds=300, every=0.2)
        before, began = cpu_seconds(operator.pid), time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(ask, applications))
        eventually(lambda: succeeded(operator) >= COUNT, "all have rotated", seconds=300, every=0.1)
        seconds, cpu = time.monotonic() - began, cpu_seconds(operator.pid) - before
        most = 0
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(ask, applications))

        def rotated_again() -> bool:
            nonlocal most
            most = max(most, memory(operator.pid))
            return succeeded(operator) >= 2 * COUNT

        eventually(rotated_again, "all have rotated again", seconds=300, every=0.1)
    with capsys.disabled():
        print(
            f"\n{COUNT} rotations at once: {COUNT / seconds:.1f} a second, {cpu / COUNT * 1000:.0f} ms of CPU each, "
            f"{most / 1024:.0f} MiB at most"
        )
