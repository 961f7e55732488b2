"""The journal of unfinished rotations: one ConfigMap each, which stays when its RotatedSecret is deleted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from rotated_secrets.api.key import Key
from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.status import Claim, Trigger
from rotated_secrets.cluster import Forbidden
from rotated_secrets.controller.journal import LONGEST, Journal
from rotated_secrets.values import VersionId
from tests.support.fake_cluster import FakeCluster

PATH = "/api/v1/namespaces/here/configmaps"
KEY = Key("shop", "orders")
CLAIM = Claim(
    trigger=Trigger.SCHEDULE,
    from_version_id=VersionId("one"),
    version_id=VersionId("two"),
    started_at=datetime(2026, 1, 2, tzinfo=UTC),
)


def resource(uid: str = "uid-1", **target: Any) -> RotatedSecret:
    spec = {
        "source": {"secretId": "shop/orders", "region": "eu-west-1"},
        "database": {"tls": {"mode": "VerifyCA", "caSecretName": "ca"}},
        "rotation": {"strategy": "AlternatingUsers", "adminSecretId": "shop/admin", "cloneSuffix": "_b"},
        "target": {"template": {"URL": "{{ password }}"}, "deletionPolicy": "Retain"} | target,
        "rollout": {"restart": [{"kind": "Deployment", "name": "api"}]},
    }
    metadata = {"namespace": "shop", "name": "orders", "uid": uid, "resourceVersion": "7", "generation": 3}
    return RotatedSecret.parse({"metadata": metadata | {"creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec})


def journal(cluster: FakeCluster, lease: str = "rotated-secrets") -> Journal:
    typed: Any = cluster
    return Journal(typed, namespace="here", lease=lease)


def test_another_replica_reads_what_was_deleted_as_it_was() -> None:
    cluster = FakeCluster()
    journal(cluster).open(resource(), CLAIM)
    other = journal(cluster)
    assert other.load() == [KEY]
    (found,) = other.left_by(KEY, None)
    assert found.spec.model_copy(update={"rollout": resource().spec.rollout}) == resource().spec
    assert found.spec.rollout.restart == (), "no workload is restarted for what is gone"
    assert (found.uid, found.created_at, found.generation) == ("uid-1", resource().created_at, 3)
    assert found.status.rotation == CLAIM
    assert found.deleting


def test_object_that_lives_is_not_left() -> None:
    cluster = FakeCluster()
    known = journal(cluster)
    known.open(resource("uid-1"), CLAIM)
    known.open(resource("uid-2"), CLAIM)
    assert [each.uid for each in known.left_by(KEY, "uid-2")] == ["uid-1"]
    assert known.left_by(Key("shop", "other"), None) == []


def test_entry_is_written_once_and_keeps_what_the_rotation_began_with() -> None:
    cluster = FakeCluster()
    known = journal(cluster)
    known.open(resource(), CLAIM)
    known.open(resource(template={}), CLAIM)
    journal(cluster).open(resource(template={}), CLAIM)  # a replica that does not know of it yet
    (found,) = known.left_by(KEY, None)
    assert found.spec.target.template == {"URL": "{{ password }}"}
    assert [method for method, _ in cluster.writes] == ["POST", "POST"]


def test_closed_entry_is_gone_and_closing_costs_nothing_where_there_is_none() -> None:
    cluster = FakeCluster()
    known = journal(cluster)
    known.close(KEY, "uid-1")
    assert cluster.requests == []
    known.open(resource(), CLAIM)
    known.close(KEY, "uid-1")
    assert cluster.objects == {}
    assert not known.has(KEY) and not known.has(KEY, "uid-1")
    assert known.left_by(KEY, None) == []


def test_entry_that_someone_removed_is_forgotten() -> None:
    cluster = FakeCluster()
    known = journal(cluster)
    known.open(resource("uid-1"), CLAIM)
    known.open(resource("uid-2"), CLAIM)
    cluster.objects.clear()
    known.close(KEY, "uid-1")
    assert known.left_by(KEY, None) == []
    assert not known.has(KEY)


def test_entry_that_could_not_be_removed_is_still_known() -> None:
    cluster = FakeCluster()
    known = journal(cluster)
    known.open(resource(), CLAIM)
    cluster.forbidden.add(("DELETE", PATH))
    with pytest.raises(Forbidden):
        known.close(KEY, "uid-1")
    assert known.has(KEY, "uid-1")


def test_entry_that_could_not_be_written_is_not_known() -> None:
    cluster = FakeCluster()
    known = journal(cluster)
    cluster.forbidden.add(("POST", PATH))
    with pytest.raises(Forbidden):
        known.open(resource(), CLAIM)
    assert not known.has(KEY)


def test_operators_that_share_a_namespace_do_not_see_each_other() -> None:
    cluster = FakeCluster()
    cluster.put(f"{PATH}/kube-root-ca.crt", {"data": {"ca.crt": "…"}})
    journal(cluster, "one").open(resource(), CLAIM)
    assert journal(cluster, "two").load() == []
    assert journal(cluster, "one").load() == [KEY]


def test_spec_that_is_too_long_is_kept_without_its_target() -> None:
    """A tenant chooses how long it is, and the operator's namespace has no quota for tenants."""
    cluster = FakeCluster()
    known = journal(cluster)
    known.open(resource(template={"KEY": '"' * 60000}), CLAIM)  # as JSON it is twice as long
    (found,) = known.left_by(KEY, None)
    assert not found.spec.target.is_delivered
    assert found.spec.rotation == resource().spec.rotation
    (entry,) = cluster.objects.values()
    assert len(entry["data"]["rotatedSecret"]) < LONGEST


def test_lease_with_a_long_name_has_a_journal() -> None:
    """A label has 63 characters at most, and ends with a letter or digit; the name of an object has 253."""
    cluster = FakeCluster()
    lease = "a" * 62 + "." + "b" * 180
    known = journal(cluster, lease)
    known.open(replace(resource(), uid="0" * 36), CLAIM)
    (entry,) = cluster.objects.values()
    (label,) = entry["metadata"]["labels"].values()
    assert label == "a" * 62
    assert len(entry["metadata"]["name"]) <= 253
    assert journal(cluster, lease).load() == [KEY]
