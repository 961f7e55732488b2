"""One stack for all faults of a worker, and replicas of the operator on it; each fault has applications of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.installation import operator_rules
from sandbox.kubernetes.client import StatusError
from sandbox.kubernetes.provider import Cluster
from sandbox.operatorprocess import OperatorProcess
from sandbox.prefork import Forked, Prefork, prefork
from sandbox.stack import Stack, running_stack
from tests.chaos.crowd import Member, crowd
from tests.chaos.replicas import LEASE, Replicas, replicas


@pytest.fixture(scope="session")
def interpreter() -> Iterator[Prefork]:
    with prefork() as started:
        yield started


@pytest.fixture(scope="session")
def chaos_stack(interpreter: Prefork, cluster: Cluster) -> Iterator[Stack]:
    with running_stack(cluster) as running:
        yield running


def namespace(stack: Stack) -> str:
    made = stack.api.create("/api/v1/namespaces", {"metadata": {"generateName": "chaos-"}})
    name: str = made["metadata"]["name"]
    return name


@pytest.fixture(scope="session")
def deployment(chaos_stack: Stack, interpreter: Prefork) -> Iterator[Replicas]:
    """A leader and a stand-by; whoever ends one leaves the other as the next test's leader."""
    home = namespace(chaos_stack)
    kubeconfig = chaos_stack.cluster.operator_kubeconfig(operator_rules(), home)
    with replicas(chaos_stack, home, kubeconfig, interpreter, most=4) as started:
        started.start()
        started.start()
        yield started


@pytest.fixture(scope="session")
def members(deployment: Replicas) -> Iterator[list[Member]]:
    """Applications that go through one fault after the other."""
    with crowd(deployment.stack, deployment.namespace, 7) as delivered:
        yield delivered


class MortalOperator:
    """An operator that is killed and started again."""

    def __init__(self, stack: Stack, namespace: str, interpreter: Prefork) -> None:
        kubeconfig = stack.cluster.operator_kubeconfig(operator_rules(), namespace)
        flags = ["--namespaces", namespace, "--lease-namespace", namespace, "--lease-name", LEASE]
        flags += ["--retry-period", "0.2s", "--backoff-base", "0.2s", "--backoff-cap", "1s", "--poll-interval", "1h"]
        self._described = OperatorProcess(stack, kubeconfig, stack.directory / f"{namespace}.log", *flags)
        self._interpreter = interpreter
        self._living: Forked | None = None
        self._api = stack.api
        self._lease = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{LEASE}"

    @property
    def runs(self) -> bool:
        return self._living is not None and self._living.runs

    def kill(self) -> None:
        if self._living is not None:
            self._living.kill()

    def start(self) -> None:
        """Without waiting until the Lease of the dead one has expired: that would only pass time."""
        assert not self.runs
        try:
            self._api.delete(self._lease)
        except StatusError as error:
            if error.code != 404:
                raise
        described = self._described
        self._living = self._interpreter.start(described.arguments, described.environment, described.log_file)

    def log(self) -> str:
        """What it said in all its lives."""
        return self._described.log()


@pytest.fixture(scope="session")
def chaos_namespace(chaos_stack: Stack) -> str:
    return namespace(chaos_stack)


@pytest.fixture(scope="session")
def mortal_operator(chaos_stack: Stack, chaos_namespace: str, interpreter: Prefork) -> Iterator[MortalOperator]:
    operator = MortalOperator(chaos_stack, chaos_namespace, interpreter)
    yield operator
    operator.kill()
