"""One stack, one namespace and one operator for all the kills of a worker; each kill has an application of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.kubernetes.client import StatusError
from sandbox.kubernetes.provider import Cluster
from sandbox.operatorprocess import OperatorProcess
from sandbox.prefork import Forked, Prefork, prefork
from sandbox.stack import OPERATOR_RULES, Stack, running_stack

LEASE = "rotated-secrets"


@pytest.fixture(scope="session")
def chaos_stack(cluster: Cluster) -> Iterator[Stack]:
    with running_stack(cluster) as running:
        yield running


@pytest.fixture(scope="session")
def chaos_namespace(chaos_stack: Stack) -> str:
    made = chaos_stack.api.create("/api/v1/namespaces", {"metadata": {"generateName": "chaos-"}})
    name: str = made["metadata"]["name"]
    return name


class MortalOperator:
    """An operator that is killed and started again."""

    def __init__(self, stack: Stack, namespace: str, interpreter: Prefork) -> None:
        kubeconfig = stack.cluster.operator_kubeconfig(OPERATOR_RULES, namespace)
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
def mortal_operator(chaos_stack: Stack, chaos_namespace: str) -> Iterator[MortalOperator]:
    with prefork() as interpreter:
        operator = MortalOperator(chaos_stack, chaos_namespace, interpreter)
        yield operator
        operator.kill()
