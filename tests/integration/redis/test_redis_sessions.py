"""The admin's session as far as it is Redis' own: the name that is its lock; tests/life has what engines share."""

from __future__ import annotations

import hashlib

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import Unavailable
from sandbox.redis import redis_server
from tests.integration.redis.conftest import Tenant, make_tenant


def test_two_that_try_at_once_never_both_succeed(tenant: Tenant) -> None:
    with tenant.open() as one, tenant.open() as two:
        taken = [session.try_lock(tenant.base) for session in (one, two, one, two)]
    assert taken == [True, False, True, False]


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
