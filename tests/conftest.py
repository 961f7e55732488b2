"""Which Kubernetes the tests run on, and a fresh namespace in it."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from sandbox.kubernetes.client import Api
from sandbox.kubernetes.provider import Choice, Cluster, running_cluster
from tests.support.examples import load_profile

if TYPE_CHECKING:
    from sandbox.prefork import Prefork
    from sandbox.secretsmanager import SecretsManager
    from sandbox.stack import Stack

# Tests start hundreds of interpreters, and two thirds of the time to import the operator is compiling it.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

load_profile()

_choice = pytest.StashKey[Choice]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kubernetes")
    group.addoption("--kube-context", metavar="NAME", help="run on the cluster of this context of the kubeconfig")
    parser.getgroup("databases").addoption(
        "--newer-servers", action="store_true", help="run tests/life with the servers that make test-versions unpacks"
    )
    group.addoption(
        "--kubernetes", choices=("embedded", "controlplane"), help="default: a control plane where its binaries are"
    )


def pytest_configure(config: pytest.Config) -> None:
    try:
        config.stash[_choice] = Choice.make(config.getoption("--kubernetes"), config.getoption("--kube-context"))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_report_header(config: pytest.Config) -> str:
    return f"kubernetes: {config.stash[_choice].description}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"kubernetes: {terminalreporter.config.stash[_choice].description}")


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """A running Kubernetes, one for each worker of pytest-xdist."""
    with running_cluster(pytestconfig.stash[_choice]) as running:
        yield running


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Api:
    """The cluster in plain JSON, as its administrator."""
    return cluster.api()


@pytest.fixture(scope="session")
def interpreter() -> Iterator[Prefork]:
    """What operators are forked from, so that each costs no second of importing."""
    from sandbox.prefork import prefork  # noqa: PLC0415  unit tests need none of what these import

    with prefork() as started:
        yield started


@pytest.fixture(scope="session")
def stack(interpreter: Prefork, cluster: Cluster) -> Iterator[Stack]:
    """Secrets Manager, a database and proxies beside the cluster, one of each for a worker."""
    from sandbox.stack import running_stack  # noqa: PLC0415

    with running_stack(cluster) as running:
        yield dataclasses.replace(running, interpreter=interpreter)


@pytest.fixture(scope="session")
def running_store() -> Iterator[SecretsManager]:
    """A Secrets Manager alone, one for a worker. Tests use accounts that are their own."""
    from sandbox.secretsmanager import secrets_manager  # noqa: PLC0415

    with secrets_manager() as running:
        yield running


@pytest.fixture
def namespace(api: Api) -> Iterator[str]:
    """The name of a namespace of this test's own; without a controller manager it stays, terminating."""
    name: str = api.create("/api/v1/namespaces", {"metadata": {"generateName": "test-"}})["metadata"]["name"]
    yield name
    api.delete(f"/api/v1/namespaces/{name}")
