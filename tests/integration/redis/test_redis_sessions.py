"""The admin's session: its lock, who ends a frozen one, and whose connections it sees."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from redis import Redis

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import AuthenticationFailed, SessionCount, Unavailable, Users
from rotated_secrets.databases.redis import RedisEngine
from rotated_secrets.values import SecretText
from sandbox.redis import RedisServer, redis_server
from tests.integration.redis.conftest import ENGINE, Tenant, make_tenant


def test_one_of_two_sessions_has_the_lock_until_it_ends(tenant: Tenant) -> None:
    with tenant.open() as other:
        with tenant.open() as session:
            assert session.try_lock(tenant.base)
            for _ in range(2):
                assert not other.try_lock(tenant.base)
                assert session.try_lock(tenant.base)
            assert other.try_lock(tenant.base + "2")
        assert other.try_lock(tenant.base)


def test_two_that_try_at_once_never_both_succeed(tenant: Tenant) -> None:
    with tenant.open() as one, tenant.open() as two:
        taken = [session.try_lock(tenant.base) for session in (one, two, one, two)]
    assert taken == [True, False, True, False]


def test_a_frozen_holder_is_ended_and_what_it_says_late_is_not_heard(tenant: Tenant) -> None:
    with tenant.open() as frozen, tenant.open(engine=RedisEngine(idle_seconds=0)) as session:
        assert frozen.try_lock(tenant.base)
        assert session.try_lock(tenant.base)
        late = tenant.credential(tenant.base, "late")
        with pytest.raises(Unavailable):
            frozen.set_password(tenant.alone, late, Rights.ENFORCE)
        with pytest.raises(Unavailable):
            frozen.try_lock(tenant.base)
        assert session.try_lock(tenant.base)
    assert tenant.verify(tenant.base, tenant.password) == []
    with pytest.raises(AuthenticationFailed):
        tenant.verify(tenant.base, "late")


def test_a_tenant_that_takes_the_locks_name_has_not_the_lock(tenant: Tenant) -> None:
    with tenant.open() as session, tenant.server.client(tenant.base, tenant.password) as client:
        assert session.try_lock(tenant.base)
        [name] = [
            line.split("name=")[1].split()[0]
            for line in tenant.server.command("CLIENT", "LIST").splitlines()
            if f"user={tenant.admin.username} " in line
        ]
        assert tenant.base not in name
        impostor = client.connection_pool.get_connection()
        impostor.send_command("CLIENT", "SETNAME", name)
        assert impostor.read_response() == "OK"
        assert session.try_lock(tenant.base)
        with tenant.open() as other:
            assert not other.try_lock(tenant.base)
        client.connection_pool.release(impostor)


def test_a_tenant_that_has_the_locks_name_first_does_not_hold_it(tenant: Tenant) -> None:
    name = f"rotated-secrets:{hashlib.sha256(tenant.base.encode()).hexdigest()[:32]}"
    with tenant.server.client(tenant.base, tenant.password) as client, tenant.open() as session:
        impostor = client.connection_pool.get_connection()
        impostor.send_command("CLIENT", "SETNAME", name)
        assert impostor.read_response() == "OK"
        assert session.try_lock(tenant.base)
        assert tenant.server.command("CLIENT", "LIST").count(f"name={name} ") == 2
        client.connection_pool.release(impostor)


def test_a_lost_session_does_not_come_back_as_somebody_else() -> None:
    """The user that a connection has before it logs in may be one that may do everything."""
    with redis_server(tls=False, default_user=("on", "nopass", "~*", "&*", "+@all")) as server:
        tenant = make_tenant(server)
        with tenant.open() as session:
            session.check_users(tenant.alone)
            server.stop()
            server.start()
            for _ in range(2):
                with pytest.raises(Unavailable):
                    session.set_password(tenant.alone, tenant.credential(tenant.base, "late"), Rights.ENFORCE)
        assert tenant.verify(tenant.base, tenant.password) == []


def test_an_admin_whose_password_is_wrong_is_told_apart(tenant: Tenant) -> None:
    with pytest.raises(AuthenticationFailed, match=tenant.admin.username):
        tenant.open(dataclasses.replace(tenant.admin, password=SecretText("wrong")))


def test_sessions_are_counted_by_where_they_come_from(tenant: Tenant) -> None:
    def connect(database: int) -> Redis:
        client = tenant.server.client(tenant.base, tenant.password, db=database)
        client.get("app:x")
        return client

    tenant.server.command("ACL", "SETUSER", tenant.base, "+select")
    with tenant.open() as session:
        assert session.sessions_of(tenant.base) == ()
        with connect(0), connect(0), connect(3):
            assert session.sessions_of(tenant.base) == (
                SessionCount("127.0.0.1", "0", 2),
                SessionCount("127.0.0.1", "3", 1),
            )
        tenant.server.command("ACL", "SETUSER", tenant.admin.username, "-client|list")
        assert session.sessions_of(tenant.base) is None


def test_a_session_does_not_count_itself(redis: RedisServer) -> None:
    tenant = make_tenant(redis, rights=("~*", "+@all"))
    with tenant.open(tenant.current) as session:
        assert session.sessions_of(tenant.base) == ()


def test_a_frozen_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rotated_secrets.databases.redis.engine.LOGIN_SECONDS", 0.5)
    with redis_server(tls=False) as server:
        tenant = make_tenant(server)
        server.freeze()
        try:
            with pytest.raises(Unavailable):
                ENGINE.verify(tenant.reach, tenant.current, Users(tenant.base))
        finally:
            server.thaw()
