"""The journal of unfinished rotations: one ConfigMap each, which stays when its RotatedSecret is deleted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from rotated_secrets.api.key import Key
from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.api.status import Claim, Trigger
from rotated_secrets.cluster import Forbidden, Rejected
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
NOTHING: Mapping[str, Any] = {}


def resource(uid: str = "uid-1", rotation: Mapping[str, Any] = NOTHING, **target: Any) -> RotatedSecret:
    spec: dict[str, Any] = {
        "source": {"secretId": "shop/orders", "region": "eu-west-1"},
        "database": {"tls": {"mode": "VerifyCA", "caSecretName": "ca"}},
        "rotation": {
            "strategy": "AlternatingUsers",
            "adminSecretId": "shop/admin",
            "cloneSuffix": "_b",
            "schedule": "rate(30 days)",
            "verifyQueries": ["SELECT 1"],
            **rotation,
        },
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
    was = resource().spec
    assert (found.spec.source, found.spec.database, found.spec.target) == (was.source, was.database, was.target)
    assert found.spec.rotation.strategy is was.rotation.strategy
    assert (found.spec.rotation.admin_secret_id, found.spec.rotation.clone_suffix) == ("shop/admin", "_b")
    assert found.spec.rollout.restart == (), "no workload is restarted for what is gone"
    assert found.spec.rotation.verify_queries == (), "a rotation that has to be completed waits for no query"
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


LONG: Mapping[str, Mapping[str, Any]] = {
    "template": {"template": {"KEY": '"' * 60000}},
    "of some KiB": {"template": {"KEY": "x" * LONGEST}},
    "annotations": {"annotations": {f"example.org/{number}": "x" * 500 for number in range(32)}},
    "labels": {"labels": {f"{'d' * 200}.org/{number}": "x" * 63 for number in range(32)}},
}


@pytest.mark.parametrize("target", LONG.values(), ids=LONG)
def test_target_that_is_too_long_is_left_out_and_this_is_logged_once_it_is_needed(
    target: Mapping[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A tenant chooses how long it is, and the operator's namespace has no quota for tenants."""
    cluster = FakeCluster()
    known = journal(cluster)
    known.open(resource(secretName="orders-db", **target), CLAIM)
    assert not caplog.records
    (found,) = known.left_by(KEY, None)
    assert not found.spec.target.is_delivered
    assert found.spec.rotation.strategy is resource().spec.rotation.strategy
    (entry,) = cluster.objects.values()
    assert len("".join(entry["data"].values())) <= LONGEST
    (line,) = caplog.messages
    assert "Secret orders-db is not written" in line and "shop/orders" in line


def test_usual_entry_keeps_its_target_and_is_short(caplog: pytest.LogCaptureFixture) -> None:
    cluster = FakeCluster()
    known = journal(cluster)
    known.open(resource(), CLAIM)
    (found,) = known.left_by(KEY, None)
    assert found.spec.target == resource().spec.target and not caplog.records
    (entry,) = cluster.objects.values()
    assert len(entry["data"]["rotatedSecret"]) <= LONGEST / 4


@pytest.mark.parametrize("target", [{}, {"template": {"KEY": "x" * 10_000}}])
def test_entry_that_is_too_long_without_its_target_is_refused(target: Mapping[str, Any]) -> None:
    cluster = FakeCluster()
    known = journal(cluster)
    long = resource(rotation={"adminSecretId": "a" * 2048}, **target)
    source = long.spec.source.model_copy(update={"secret_id": "s" * 2048})
    long = replace(long, spec=long.spec.model_copy(update={"source": source}))
    with pytest.raises(Rejected, match=rf"bytes, and may have {LONGEST}; shorten source, .*adminSecretId") as refused:
        known.open(long, CLAIM)
    assert refused.value.status == 413, "as the API server refuses a long object, so that it is told in the same way"
    assert cluster.objects == {} and not known.has(KEY)


def test_what_others_wrote_into_a_claim_makes_no_entry_longer() -> None:
    cluster = FakeCluster()
    claim = CLAIM.model_copy(update={"failure": "x" * 4096, "message": "y" * 4096, "request": "z" * 512})
    known = journal(cluster)
    known.open(resource(), claim)
    (entry,) = cluster.objects.values()
    assert len(entry["data"]["rotatedSecret"]) <= LONGEST / 2
    (found,) = known.left_by(KEY, None)
    assert found.spec.target.is_delivered
    assert found.status.rotation is not None and (found.status.rotation.failure or "").startswith("xx")


def test_entries_whose_object_is_gone_are_counted_by_namespace() -> None:
    known = journal(FakeCluster())
    for uid in ("uid-1", "uid-2", "uid-3"):
        known.open(resource(uid), CLAIM)
    known.open(replace(resource("uid-4"), namespace="other"), CLAIM)
    assert known.count_left("shop", lambda key: "uid-2" if key == KEY else None) == 2
    assert known.count_left("shop", lambda _: None) == 3
    assert known.count_left("other", lambda _: None) == 1
    known.close(KEY, "uid-1")
    assert known.count_left("shop", lambda _: None) == 2


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
