"""One operator for all end-to-end tests of a worker; each test has an application of its own."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sandbox.application import create_application
from sandbox.applications.base import ServerMissing
from sandbox.installation import operator_rules
from sandbox.kubernetes.client import StatusError
from sandbox.kubernetes.provider import Cluster
from sandbox.operatorprocess import OperatorProcess
from sandbox.stack import Stack, with_database
from tests.support.applied import Applied

IMPATIENT = ("--backoff-base", "0.2s", "--backoff-cap", "1s", "--retry-period", "0.5s", "--poll-interval", "1s")
DATABASE = "shop"


@pytest.fixture(scope="package")
def home(stack: Stack) -> str:
    """The one namespace that these operators serve, and keep their Lease in."""
    made = stack.api.create("/api/v1/namespaces", {"metadata": {"generateName": "e2e-"}})
    name: str = made["metadata"]["name"]
    return name


@pytest.fixture(scope="package")
def operator_kubeconfig(cluster: Cluster, home: str) -> Path:
    """With the operator's own rights, where the cluster enforces any."""
    return cluster.operator_kubeconfig(operator_rules(), home)


StackOn = Callable[[str], Stack]


@pytest.fixture(scope="package")
def stack_on(stack: Stack) -> Iterator[StackOn]:
    """The same stack with another engine's database, started once: the one operator reaches them all."""
    found: dict[str, Stack | ServerMissing] = {stack.side.engine: stack}
    with ExitStack() as databases:

        def on(engine: str) -> Stack:
            if engine not in found:
                try:
                    found[engine] = databases.enter_context(with_database(stack, engine))
                except ServerMissing as error:
                    found[engine] = error
            there = found[engine]
            if isinstance(there, ServerMissing):
                (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{engine}: {there}")
            return there

        yield on


StartOperator = Callable[..., OperatorProcess]


@pytest.fixture(scope="package")
def make_operator(stack: Stack, home: str, operator_kubeconfig: Path) -> StartOperator:
    """An operator that is not started yet; flags come after the tests' own."""

    def make(name: str, *flags: str) -> OperatorProcess:
        where = ("--namespaces", home, "--lease-namespace", home)
        log = stack.directory / f"{name}.log"
        return OperatorProcess(stack, operator_kubeconfig, log, *where, *IMPATIENT, "--log-level", "DEBUG", *flags)

    return make


@pytest.fixture(scope="package")
def shared_operator(make_operator: StartOperator) -> Iterator[OperatorProcess]:
    with make_operator("operator") as process:
        yield process


@pytest.fixture
def operator(shared_operator: OperatorProcess) -> OperatorProcess:
    """Running and leading, also after a test that killed it."""
    if not shared_operator.runs:
        shared_operator.start()
    shared_operator.wait_until_it_leads()
    return shared_operator


MakeApplication = Callable[..., Applied]


@pytest.fixture
def make_application(stack: Stack, home: str) -> Iterator[MakeApplication]:
    """Applications of this test's own; their resources are gone afterwards, so that no operator goes on with them."""
    made: list[Applied] = []

    def make(on: Stack = stack, **settings: Any) -> Applied:
        name = f"orders-{secrets.token_hex(4)}"
        applied = Applied(create_application(on, home, name, **{"database": DATABASE, **settings}))
        made.append(applied)
        return applied

    yield make
    for applied in made:
        try:
            applied.delete()
        except StatusError as error:
            assert error.code == 404, error
    stack.store_proxy.clear()
    stack.database_proxy.clear()


@pytest.fixture
def orders(make_application: MakeApplication) -> Applied:
    """An application whose RotatedSecret is still to be applied."""
    return make_application()
