"""The lease that is MongoDB's lock, and what its verify queries may do; tests/life has what engines share."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import AuthenticationFailed, Refused, Unavailable
from rotated_secrets.databases.mongo import MongoEngine, engine
from rotated_secrets.databases.mongo.engine import LEASE_SECONDS
from rotated_secrets.databases.mongo.login import Login
from sandbox.mongo import Document, MongoServer
from sandbox.waiting import eventually
from tests.integration.mongo.conftest import Tenant, make_tenant, make_user
from tests.support.mongo_shell import run_shell


@pytest.fixture
def stocked(tenant: Tenant) -> Tenant:
    documents = [{"_id": number, "price": number % 7, "note": "x" * 1000} for number in range(2000)]
    with tenant.server.client() as client:
        client[tenant.database]["prices"].insert_many(documents)
    return tenant


# ---- the lock


def test_the_lock_is_free_at_once_when_its_session_ends_and_leaves_nothing(tenant: Tenant) -> None:
    for _ in range(3):
        with tenant.open() as session:
            assert session.try_lock(tenant.base)
    found = tenant.as_admin({"find": "locks", "filter": {"_id": tenant.base}}, "rotated_secrets")
    assert found["cursor"]["firstBatch"] == []


def test_the_lock_of_a_frozen_holder_goes_to_the_next_who_asks(tenant: Tenant) -> None:
    quick = dataclasses.replace(tenant, engine=MongoEngine(lease_seconds=0.3))
    with quick.open() as frozen, quick.open() as other:
        assert frozen.try_lock(tenant.base)
        eventually(lambda: other.try_lock(tenant.base), "the lock is taken over")
        with pytest.raises(Unavailable, match="was lost"):
            frozen.set_password(tenant.users, tenant.credential(tenant.clone, "late"), Rights.ENFORCE)
        assert not frozen.try_lock(tenant.base)
        assert not tenant.exists(tenant.clone)


def test_a_lock_that_nobody_took_meanwhile_is_still_held(tenant: Tenant) -> None:
    quick = dataclasses.replace(tenant, engine=MongoEngine(lease_seconds=0.05))
    with quick.open() as slow:
        assert slow.try_lock(tenant.base)
        before = _renewed(tenant)
        eventually(lambda: _now(tenant) > before + 200, "its time is over")
        assert slow.try_lock(tenant.base)


def test_a_lock_that_another_had_and_gave_back_is_lost(tenant: Tenant) -> None:
    quick = dataclasses.replace(tenant, engine=MongoEngine(lease_seconds=0.1))
    with quick.open() as frozen:
        assert frozen.try_lock(tenant.base)
        with quick.open() as other:
            eventually(lambda: other.try_lock(tenant.base), "the lock is taken over")
        assert not frozen.try_lock(tenant.base)


def test_a_holder_that_was_frozen_after_its_renewal_writes_no_password(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant.set_clone("first")
    times = iter(range(0, 10_000, 100))
    monkeypatch.setattr("rotated_secrets.databases.mongo.lease._clock", lambda: float(next(times)))
    with pytest.raises(Unavailable, match="about to be lost"):
        tenant.set_clone("late")
    assert tenant.verify(tenant.clone, "first") == []


def test_a_lock_counts_from_when_its_renewal_was_sent(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may have written it then, however late its answer comes."""
    tenant.set_clone("first")
    now = [0.0]
    monkeypatch.setattr("rotated_secrets.databases.mongo.lease._clock", lambda: now[0])
    real = Login.command

    def slow(login: Login, database: str, command: Document, *more: Any, **named: Any) -> Document:
        answer = real(login, database, command, *more, **named)
        now[0] += LEASE_SECONDS if "findAndModify" in command else 0
        return answer

    monkeypatch.setattr(Login, "command", slow)
    with pytest.raises(Unavailable, match="about to be lost"):
        tenant.set_clone("late")
    assert tenant.verify(tenant.clone, "first") == []


def test_an_admin_without_the_locks_collection_is_refused_with_the_commands_that_help(mongo: MongoServer) -> None:
    tenant = make_tenant(mongo)
    plain = make_user(mongo, f"plain_{tenant.base}", "admin", ["userAdminAnyDatabase"])
    with tenant.open(plain) as session, pytest.raises(Refused, match="may not keep the lock") as raised:
        session.try_lock(tenant.base)
    assert run_shell(mongo, str(raised.value)) == 2
    with tenant.open(plain) as session:
        assert session.try_lock(tenant.base)


def _renewed(tenant: Tenant) -> float:
    found = tenant.as_admin({"find": "locks", "filter": {"_id": tenant.base}}, "rotated_secrets")
    return float(found["cursor"]["firstBatch"][0]["renewed"].timestamp() * 1000)


def _now(tenant: Tenant) -> float:
    return float(tenant.as_admin({"hello": 1})["localTime"].timestamp() * 1000)


# ---- verify queries


@pytest.mark.parametrize(
    "query",
    [
        '{"ping": 1}',
        '{"find": "prices"}',
        '{"find": "prices", "filter": {"price": {"$gt": 3}}, "sort": {"_id": -1}, "projection": {"note": 1}}',
        '{"find": "prices", "filter": {"at": {"$gt": {"$date": "2026-01-01T00:00:00Z"}}}}',
        '{"count": "prices", "query": {"price": 3}}',
        '{"aggregate": "prices", "pipeline": [{"$group": {"_id": "$price", "all": {"$push": "$note"}}}]}',
        '{"aggregate": "prices", "pipeline": []}',
        '{"find": "not_there"}',
    ],
)
def test_what_reads_is_run(stocked: Tenant, query: str) -> None:
    assert stocked.verify(stocked.base, stocked.password, query, query) == []


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("SELECT 1", "a JSON object"),
        ("[]", "a JSON object"),
        ("{}", "a JSON object"),
        ('{"insert": "prices", "documents": [{}]}', "begin with one of"),
        ('{"drop": "prices"}', "begin with one of"),
        ('{"find": 1}', "name a collection"),
        ('{"find": "prices", "maxTimeMS": 0}', "may have only"),
        ('{"find": "prices", "tailable": true}', "may have only"),
        ('{"find": "prices", "$db": "admin"}', "may have only"),
        ('{"find": "prices", "lsid": {}}', "may have only"),
        ('{"find": "prices", "filter": {"$where": "sleep(1)"}}', "JavaScript"),
        ('{"aggregate": "prices", "pipeline": [{"$out": "copy"}]}', "writes"),
        ('{"aggregate": "prices", "pipeline": [{"$facet": {"a": [{"$merge": "copy"}]}}]}', "writes"),
        ('{"aggregate": "prices", "pipeline": [{"$changeStream": {}}]}', "waits"),
        ('{"aggregate": "prices"}', "list of stages"),
        ('{"find": "people"}', r"failed: code 13 \(Unauthorized\)"),
        ('{"find": "prices", "filter": {"$nope": 1}}', r"failed: code 2 \(BadValue\)"),
        ('{"find": "prices", "filter": {"secret-literal": {"$nope": 1}}}', "failed: code 2"),
    ],
)
def test_what_does_more_than_read_or_does_not_run_is_a_failed_check(mongo: MongoServer, query: str, why: str) -> None:
    tenant = make_tenant(mongo, roles=[])
    privileges: list[Document] = [{"resource": {"db": tenant.database, "collection": "prices"}, "actions": ["find"]}]
    tenant.as_admin({"createRole": "narrow", "privileges": privileges, "roles": []})
    tenant.as_admin({"grantRolesToUser": tenant.base, "roles": ["narrow"]})
    failed = tenant.verify(tenant.base, tenant.password, '{"find": "prices"}', query)
    assert len(failed) == 1
    assert re.search(f"verify query 2 .*{why}", failed[0])
    assert "secret-literal" not in failed[0]


def test_queries_take_five_seconds_together_at_most(stocked: Tenant) -> None:
    impatient = dataclasses.replace(stocked, engine=MongoEngine(verify_seconds=0.2))
    stages = [{"$lookup": {"from": "prices", "pipeline": [{"$sort": {"note": 1}}], "as": "x"}}] * 3
    slow = json.dumps({"aggregate": "prices", "pipeline": [*stages, {"$sort": {"x": 1}}]})
    failed = impatient.verify(stocked.base, stocked.password, '{"find": "prices"}', slow, '{"find": "prices"}')
    assert failed == ["verify queries took longer than 0.2 s together (at query 2); make them cheaper"]


def test_a_session_of_somebody_else_is_no_login(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_authenticated", lambda _: [("pooled", "admin")])
    with pytest.raises(AuthenticationFailed, match="the session does not belong to that user"):
        tenant.verify(tenant.base, tenant.password)
