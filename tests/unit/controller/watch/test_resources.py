"""RotatedSecrets at the API server: read, listed, and their status written on conditions."""

from __future__ import annotations

from typing import Any

import pytest

from rotated_secrets.api.names import API_VERSION
from rotated_secrets.api.resource import InvalidSpec
from rotated_secrets.cluster import Conflict, Forbidden, NotFound
from rotated_secrets.controller.watch.resources import Resources
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_operator import KEY, SPEC, path_of


@pytest.fixture
def cluster() -> FakeCluster:
    found = FakeCluster()
    found.put(path_of(KEY), {"apiVersion": API_VERSION, "spec": SPEC})
    return found


def resources_of(cluster: FakeCluster, *namespaces: str) -> Resources:
    typed: Any = cluster
    return Resources(typed, namespaces)


def test_resource_is_read_and_one_that_is_not_there_is_none(cluster: FakeCluster) -> None:
    found = resources_of(cluster).read(KEY)
    assert found is not None
    assert found.key == KEY
    assert found.spec.source.secret_id == "shop/orders"
    cluster.objects.clear()
    assert resources_of(cluster).read(KEY) is None


def test_resource_that_does_not_parse_can_be_read_as_an_object(cluster: FakeCluster) -> None:
    cluster.put(path_of(KEY), {"apiVersion": API_VERSION, "spec": {}})
    with pytest.raises(InvalidSpec):
        resources_of(cluster).read(KEY)
    assert resources_of(cluster).read_object(KEY) is not None


def test_status_is_written_where_nobody_wrote_since_it_was_read(cluster: FakeCluster) -> None:
    resources = resources_of(cluster)
    read = resources.read(KEY)
    assert read is not None
    written = resources.write_status(read, {"engine": "postgres"})
    assert written.status.engine == "postgres"
    with pytest.raises(Conflict):
        resources.write_status(read, {"engine": "mysql"})
    assert resources.write_status(written, {"engine": "mysql"}).status.engine == "mysql"


def test_status_is_not_written_on_another_object_of_the_same_name(cluster: FakeCluster) -> None:
    resources = resources_of(cluster)
    read = resources.read(KEY)
    assert read is not None
    cluster.put(path_of(KEY), {"apiVersion": API_VERSION, "spec": SPEC, "metadata": {"uid": "again"}})
    with pytest.raises(Conflict):
        resources.write_status(read, {"engine": "postgres"})
    cluster.objects.clear()
    with pytest.raises(NotFound):
        resources.write_status(read, {"engine": "postgres"})


def test_status_that_the_watch_has_not_shown_yet_ages(cluster: FakeCluster) -> None:
    resources = resources_of(cluster)
    read = resources.read(KEY)
    assert read is not None
    assert resources.unseen_write_age() == 0.0
    resources.write_status(read, {"engine": "postgres"})
    assert resources.unseen_write_age() > 0.0
    resources.watch_delivered()
    assert resources.unseen_write_age() == 0.0


def test_write_that_changes_nothing_is_not_waited_for(cluster: FakeCluster) -> None:
    """The API server sends no event for it."""
    resources = resources_of(cluster)
    read = resources.read(KEY)
    assert read is not None
    written = resources.write_status(read, {"engine": "postgres"})
    resources.watch_delivered()
    resources.write_status(written, {"engine": "postgres"})
    assert resources.unseen_write_age() == 0.0


def test_namespaces_that_are_served_are_listed_each_by_itself(cluster: FakeCluster) -> None:
    cluster.forbidden = {("GET", f"/apis/{API_VERSION}/rotatedsecrets"), ("GET", "/api/v1/secrets")}
    with pytest.raises(Forbidden):
        resources_of(cluster).check_access()
    list(resources_of(cluster, "shop", "billing").pages())
    listed = [path for _, path in cluster.requests[1:]]
    assert listed == [f"/apis/{API_VERSION}/namespaces/{name}/rotatedsecrets" for name in ("shop", "billing")]


def test_access_is_checked_to_resources_and_to_labelled_secrets(cluster: FakeCluster) -> None:
    resources_of(cluster, "shop").check_access()
    assert {path for _, path in cluster.requests} == {
        f"/apis/{API_VERSION}/namespaces/shop/rotatedsecrets",
        "/api/v1/namespaces/shop/secrets",
    }
    cluster.forbidden = {("GET", "/api/v1/namespaces/shop/secrets")}
    with pytest.raises(Forbidden):
        resources_of(cluster, "shop").check_access()
