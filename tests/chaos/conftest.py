"""One stack, one namespace and one operator for all the kills of a worker; each kill has an application of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.kubernetes.client import StatusError
from sandbox.kubernetes.provider import Cluster
from sandbox.operatorprocess import OperatorProcess
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


class MortalOperator(OperatorProcess):
    """An operator that is killed and started again."""

    def __init__(self, stack: Stack, namespace: str) -> None:
        kubeconfig = stack.cluster.operator_kubeconfig(OPERATOR_RULES, namespace)
        flags = ["--namespaces", namespace, "--lease-namespace", namespace, "--lease-name", LEASE]
        flags += ["--retry-period", "0.2s", "--backoff-base", "0.2s", "--backoff-cap", "1s", "--poll-interval", "1h"]
        super().__init__(stack, kubeconfig, stack.directory / f"{namespace}.log", *flags)
        self._api = stack.api
        self._lease = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{LEASE}"

    def start_again(self) -> None:
        """Without waiting until the Lease of the dead one has expired: that would only pass time."""
        try:
            self._api.delete(self._lease)
        except StatusError as error:
            if error.code != 404:
                raise
        self.start()


@pytest.fixture(scope="session")
def mortal_operator(chaos_stack: Stack, chaos_namespace: str) -> Iterator[MortalOperator]:
    with MortalOperator(chaos_stack, chaos_namespace) as process:
        yield process
