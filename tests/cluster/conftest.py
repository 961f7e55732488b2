"""The suite's own custom resource, installed once for a cluster."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from sandbox.kubernetes.client import Api
from sandbox.kubernetes.provider import Cluster
from tests.support.widgets import Widgets, crd, eventually, is_established, serves


@pytest.fixture(scope="session")
def widgets(api: Api) -> Iterator[Widgets]:
    here = Widgets(f"c{uuid.uuid4().hex[:8]}.example.com")
    at = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    api.create(at, crd(here.group))
    eventually(lambda: is_established(api.get(f"{at}/{here.crd}")))
    eventually(lambda: serves(api, f"/apis/{here.group}/v1/widgets"))
    yield here
    api.delete(f"{at}/{here.crd}")


@pytest.fixture
def collected(cluster: Cluster) -> None:
    """For tests of what the controller manager does."""
    if not cluster.has_garbage_collector:
        pytest.skip("a control plane without its controller manager neither collects garbage nor finishes namespaces")
