"""Replicas of the operator on the stack, for all faults; each fault has applications of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.installation import operator_rules
from sandbox.kubernetes.client import StatusError
from sandbox.operatorprocess import OperatorProcess
from sandbox.stack import Stack
from tests.support.crowd import Member, crowd
from tests.support.replicas import LEASE, Replicas, replicas


def namespace(stack: Stack) -> str:
    made = stack.api.create("/api/v1/namespaces", {"metadata": {"generateName": "chaos-"}})
    name: str = made["metadata"]["name"]
    return name


@pytest.fixture(scope="package")
def deployment(stack: Stack) -> Iterator[Replicas]:
    """A leader and a stand-by; whoever ends one leaves the other as the next test's leader."""
    home = namespace(stack)
    kubeconfig = stack.cluster.operator_kubeconfig(operator_rules(), home)
    with replicas(stack, home, kubeconfig, most=4) as started:
        started.start()
        started.start()
        yield started


@pytest.fixture(scope="package")
def members(deployment: Replicas) -> Iterator[list[Member]]:
    """Applications that go through one fault after the other."""
    with crowd(deployment.stack, deployment.namespace, 7) as delivered:
        yield delivered


class MortalOperator:
    """An operator that is killed and started again."""

    def __init__(self, stack: Stack, namespace: str) -> None:
        kubeconfig = stack.cluster.operator_kubeconfig(operator_rules(), namespace)
        flags = ["--namespaces", namespace, "--lease-namespace", namespace, "--lease-name", LEASE]
        flags += ["--retry-period", "0.2s", "--backoff-base", "0.2s", "--backoff-cap", "1s", "--poll-interval", "1h"]
        self._process = OperatorProcess(stack, kubeconfig, stack.directory / f"{namespace}.log", *flags)
        self._api = stack.api
        self._lease = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{LEASE}"

    @property
    def runs(self) -> bool:
        return self._process.runs

    def kill(self) -> None:
        self._process.kill()

    def start(self) -> None:
        """Without waiting until the Lease of the dead one has expired: that would only pass time."""
        assert not self.runs
        try:
            self._api.delete(self._lease)
        except StatusError as error:
            if error.code != 404:
                raise
        self._process.start()

    def log(self) -> str:
        """What it said in all its lives."""
        return self._process.log()


@pytest.fixture(scope="package")
def chaos_namespace(stack: Stack) -> str:
    return namespace(stack)


@pytest.fixture(scope="package")
def mortal_operator(stack: Stack, chaos_namespace: str) -> Iterator[MortalOperator]:
    operator = MortalOperator(stack, chaos_namespace)
    yield operator
    operator.kill()
