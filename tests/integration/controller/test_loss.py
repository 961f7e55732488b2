"""The API server is taken away while the operator leads: it ends, soon, and says why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from sandbox.kubernetes.provider import Choice, Cluster, running_cluster
from sandbox.prefork import Prefork
from tests.integration.controller.conftest import ROOT, Objects, Process, operators

SHORT = {"lease_duration": 3, "renew_deadline": 2, "retry_period": 0.5}


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def own_cluster(running: ExitStack) -> Cluster:
    """A Kubernetes of this test's own, to be broken; it is gone when ``running`` is closed."""
    cluster = running.enter_context(running_cluster(Choice.make("embedded")))
    cluster.kubectl("apply", "-f", str(ROOT / "crds" / "rotatedsecrets.yaml"))
    return cluster


@pytest.fixture
def operator(own_cluster: Cluster, interpreter: Prefork) -> Iterator[Process]:
    with operators(own_cluster, "default", interpreter) as start:
        Objects(own_cluster.api(), "default").make("orders")
        process = start(**SHORT, watch_timeout=2)
        process.wait_for("looked default/orders there")
        yield process


def test_a_leader_whose_api_server_is_gone_ends(operator: Process, running: ExitStack) -> None:
    running.close()
    assert operator.wait() == 1
    assert operator.find("could not renew the Lease rotated-secrets in time")
    assert "Traceback" not in operator.text
