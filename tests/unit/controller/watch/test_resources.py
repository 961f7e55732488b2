"""RotatedSecrets at the API server: read, listed, and their status written on conditions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rotated_secrets.api.key import Key
from rotated_secrets.api.names import API_VERSION
from rotated_secrets.api.resource import InvalidSpec
from rotated_secrets.cluster import Conflict, Forbidden, NotFound, ObjectTooLarge
from rotated_secrets.controller.namespaces import EVERYWHERE, ServedNamespaces
from rotated_secrets.controller.watch.resources import Resources
from rotated_secrets.controller.watch.transform import LARGEST
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_operator import KEY, SPEC, path_of


@pytest.fixture
def cluster() -> FakeCluster:
    found = FakeCluster()
    found.put(path_of(KEY), {"apiVersion": API_VERSION, "spec": SPEC})
    return found


def resources_of(cluster: FakeCluster, *namespaces: str, served: ServedNamespaces | None = None) -> Resources:
    typed: Any = cluster
    return Resources(typed, namespaces, served)


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


def test_fields_that_are_skipped_are_told_once(cluster: FakeCluster, caplog: pytest.LogCaptureFixture) -> None:
    other = Key(KEY.namespace, "bills")
    for key, fields in ((KEY, ("fresh",)), (other, ("fresh", "later"))):
        cluster.put(path_of(key), {"apiVersion": API_VERSION, "spec": {**SPEC, **dict.fromkeys(fields, "Default")}})
    resources = resources_of(cluster)
    for key in (KEY, KEY, other, other):
        found = resources.read(key)
        assert found is not None and found.spec.source.secret_id == "shop/orders"
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2, told
    assert "shop/orders: this version of the operator does not know spec.fresh and skips it" in told[0]
    assert "shop/bills: this version of the operator does not know spec.later and skips it" in told[1]
    assert all("upgrade the operator" in line for line in told)


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


@pytest.mark.parametrize("refused", [f"/apis/{API_VERSION}/namespaces/billing", "/api/v1/namespaces/billing"])
def test_namespace_that_is_refused_is_set_aside_and_the_others_are_served(refused: str, cluster: FakeCluster) -> None:
    cluster.forbidden = {("GET", refused)}
    served = ServedNamespaces()
    resources = resources_of(cluster, "shop", "billing", served=served)
    resources.check_access()
    assert (served.is_set_aside("shop"), served.is_set_aside("billing")) == (False, True)
    assert [obj["metadata"]["name"] for page in resources.pages() for obj in page] == [KEY.name]


def test_namespace_that_is_refused_after_the_check_is_left_out_of_the_list(cluster: FakeCluster) -> None:
    served = ServedNamespaces()
    resources = resources_of(cluster, "billing", "shop", served=served)
    resources.check_access()
    cluster.forbidden = {("GET", f"/apis/{API_VERSION}/namespaces/billing")}
    assert [obj["metadata"]["name"] for page in resources.pages() for obj in page] == [KEY.name]
    assert served.is_set_aside("billing")


@pytest.mark.parametrize("namespaces", [(), ("shop",), ("shop", "billing")])
def test_where_every_namespace_is_refused_there_is_nothing_to_serve(
    namespaces: tuple[str, ...], cluster: FakeCluster
) -> None:
    cluster.forbidden = {("GET", "/apis/"), ("GET", "/api/")}
    served = ServedNamespaces()
    with pytest.raises(Forbidden):
        resources_of(cluster, *namespaces, served=served).check_access()
    assert not served.is_set_aside("shop"), "it is not set aside, but waited for"


def test_write_in_a_namespace_that_is_set_aside_is_not_waited_for(cluster: FakeCluster) -> None:
    """The watch cannot show it, and a new process could not watch it either."""
    served = ServedNamespaces()
    resources = resources_of(cluster, "shop", "billing", served=served)
    read = resources.read(KEY)
    assert read is not None
    served.refused("shop", "rotatedsecrets", "403")
    resources.write_status(read, {"engine": "postgres"})
    assert resources.unseen_write_age() == 0.0
    served.answered("shop", "rotatedsecrets")
    assert resources.unseen_write_age() > 0.0


def test_of_lists_only_what_the_index_needs_is_kept(cluster: FakeCluster) -> None:
    cluster.put(path_of(KEY), {"apiVersion": API_VERSION, "spec": SPEC, "metadata": {"labels": {"a": "x" * 100_000}}})
    resources = resources_of(cluster)
    for pages in (resources.pages(), resources.metadata_pages(EVERYWHERE)):
        ((obj,),) = pages
        assert obj["metadata"]["name"] == KEY.name
        assert len(json.dumps(obj)) < 1000


def test_resource_that_is_too_large_is_read_as_far_as_it_can_be_reported(cluster: FakeCluster) -> None:
    resources, labels = resources_of(cluster), {"a": "x" * LARGEST}
    cluster.put(path_of(KEY), {"spec": SPEC, "status": {"engine": "postgres"}, "metadata": {"labels": labels}})
    for read in (resources.read, resources.read_object):
        with pytest.raises(ObjectTooLarge):
            read(KEY)
    large, seen = resources.read_large(KEY), resources.see(KEY)
    assert large is not None
    metadata = large.seen["metadata"]
    assert (metadata["uid"], metadata["generation"], large.status.engine) == ("uid-of-orders", 1, "postgres")
    assert seen is not None
    assert ("spec" in seen, seen["metadata"]["uid"]) == (False, "uid-of-orders")
    with pytest.raises(ObjectTooLarge):
        version = metadata["resourceVersion"]
        resources.write_status_of(KEY, uid=metadata["uid"], resource_version=version, patch={"engine": "x"})
    cluster.objects.clear()
    assert (resources.read_large(KEY), resources.see(KEY)) == (None, None)


def test_what_is_seen_of_a_resource_is_what_a_list_shows(cluster: FakeCluster) -> None:
    resources = resources_of(cluster)
    (page,) = resources.pages()
    assert resources.see(KEY) == page[0]


def test_only_one_large_resource_is_read_at_a_time(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    resources, request, alone = resources_of(cluster), cluster.request, []

    def noted(*arguments: Any, **options: Any) -> Any:
        alone.append(resources._reading_large.locked())
        return request(*arguments, **options)

    monkeypatch.setattr(cluster, "request", noted)
    assert resources.read_large(KEY) is not None
    assert alone == [True]
