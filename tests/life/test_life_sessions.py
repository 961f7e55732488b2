"""The admin's session, the same for five engines: its lock, the sessions that it counts, and an outage."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import AuthenticationFailed, Engine, SessionCount, Unavailable
from rotated_secrets.databases.mariadb import MariaDbEngine
from rotated_secrets.databases.mysql import MySqlEngine
from rotated_secrets.databases.postgres import PostgresEngine
from rotated_secrets.databases.redis import RedisEngine
from sandbox.applications.engines import ENGINES
from sandbox.waiting import eventually
from tests.life.conftest import for_engine
from tests.support.database_tenant import Tenant


@pytest.mark.parametrize(
    ("engine", "second"),
    [
        *((engine, "admin") for engine in ENGINES),
        # Redis' lock is one of sessions of the same admin.
        *((engine, "owner") for engine in ENGINES if engine != "redis"),
    ],
)
def test_a_lock_is_one_base_users_and_one_sessions(tenant: Tenant, engine: str, second: str) -> None:
    other = tenant.side.owner if second == "owner" else tenant.admin
    with tenant.open(other) as refused, tenant.open(other) as waiting:
        with tenant.open() as holder:
            assert holder.try_lock(tenant.base)
            for _ in range(2):
                assert not refused.try_lock(tenant.base)
                assert not waiting.try_lock(tenant.base)
                assert holder.try_lock(tenant.base)
            assert refused.try_lock(f"{tenant.base}_other")
        if engine in ("postgres", "mysql", "mariadb"):
            eventually(lambda: waiting.try_lock(tenant.base), "the server has noticed the end of the session")
        else:
            assert waiting.try_lock(tenant.base)


@for_engine(*ENGINES)
def test_a_lock_is_free_for_the_next_session_when_its_own_has_ended(tenant: Tenant, engine: str) -> None:
    for _ in range(3):
        with tenant.open() as session:
            if engine == "mariadb":
                eventually(lambda: session.try_lock(tenant.base), "the server has noticed the end of the session")
            else:
                assert session.try_lock(tenant.base)


# MySQL and MariaDB count whole seconds. In Redis the session that wants the lock ends the idle one.
@pytest.mark.parametrize(
    ("engine", "impatient"),
    [
        ("postgres", PostgresEngine(idle_seconds=0.3)),
        ("mysql", MySqlEngine(idle_seconds=1)),
        ("mariadb", MariaDbEngine(idle_seconds=1)),
        ("redis", RedisEngine(idle_seconds=0)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_lock_of_a_frozen_holder_is_freed_and_its_late_statements_fail(
    tenant: Tenant, engine: str, impatient: Engine
) -> None:
    late = tenant.with_password("late-Password-1")
    with tenant.open(engine=impatient) as frozen, tenant.open(engine=impatient) as next_one:
        assert frozen.try_lock(tenant.base)
        if engine != "redis":
            assert not next_one.try_lock(tenant.base)
        eventually(lambda: next_one.try_lock(tenant.base), "the lock is free")
        with pytest.raises(Unavailable):
            frozen.set_password(tenant.users, tenant.credential(late), Rights.ENFORCE)
        with pytest.raises(Unavailable):
            frozen.check_users(tenant.users)
        with pytest.raises(Unavailable):
            frozen.try_lock(tenant.base)
        assert next_one.try_lock(tenant.base)
    assert tenant.verify() == []
    with pytest.raises(AuthenticationFailed):
        tenant.verify(late)


THREADS = "GRANT SELECT ON performance_schema.threads TO {admin}"
PROCESS = "GRANT PROCESS ON *.* TO {admin}"
MONITOR = '{"grantRolesToUser": "{admin}", "roles": ["clusterMonitor"], "$db": "admin"}'
ELSEWHERE = {"postgres": "postgres", "mysql": "", "mariadb": "", "redis": "3"}
"""Another database than the tenant's own, or none. MongoDB counts by the database that a user belongs to."""
LET_REDIS_SELECT = "ACL SETUSER {base} +select"


@pytest.mark.parametrize(
    ("engine", "who", "right", "client"),
    [
        ("postgres", "owner", None, "127.0.0.1"),
        ("postgres", "admin", None, "unknown"),
        ("mysql", "admin", THREADS, "127.0.0.1"),
        ("mysql", "admin", PROCESS, "127.0.0.1"),
        ("mariadb", "admin", PROCESS, "127.0.0.1"),
        ("mongo", "admin", MONITOR, "127.0.0.1"),
        ("redis", "admin", LET_REDIS_SELECT, "127.0.0.1"),
    ],
)
def test_sessions_are_counted_by_client_and_database(
    tenant: Tenant, engine: str, who: str, right: str | None, client: str
) -> None:
    if right is not None:
        tenant.run(right)
    own = "0" if engine == "redis" else tenant.account.database
    counting = tenant.side.owner if who == "owner" else tenant.admin
    with ExitStack() as applications, tenant.open(counting) as session:
        tenant.set_clone(session)
        assert session.sessions_of(tenant.clone.user) == ()
        expected = [SessionCount(client, own, 2)]
        for _ in range(2):
            applications.enter_context(tenant.connected(tenant.clone))
        if engine in ELSEWHERE:
            expected.append(SessionCount(client, ELSEWHERE[engine], 1))
            applications.enter_context(tenant.connected(tenant.clone, ELSEWHERE[engine]))
        expected.sort(key=lambda count: count.database)
        assert session.sessions_of(tenant.clone.user) == tuple(expected)
        assert session.sessions_of(tenant.base) == ()


@pytest.mark.parametrize(
    ("engine", "taken"),
    [("mysql", None), ("mariadb", None), ("mongo", None), ("redis", "ACL SETUSER {admin} -client|list")],
)
def test_sessions_are_unknown_where_the_admin_may_not_see_them(tenant: Tenant, taken: str | None) -> None:
    with tenant.open() as session:
        tenant.set_clone(session)
        if taken is not None:
            tenant.run(taken)
        with tenant.connected(tenant.clone):
            for user in (tenant.clone.user, tenant.base, "nobody"):
                assert session.sessions_of(user) is None


@pytest.mark.parametrize(
    ("engine", "right"),
    [
        ("postgres", None),
        ("mysql", THREADS),
        ("mariadb", PROCESS),
        ("redis", None),
    ],
)
def test_a_session_does_not_count_itself(tenant: Tenant, right: str | None) -> None:
    if right is not None:
        tenant.run(right)
    with tenant.open() as session:
        assert session.sessions_of(tenant.admin.user) == ()


@pytest.mark.parametrize("engine", ["postgres", "redis"])
def test_the_session_of_a_user_that_changes_itself_is_not_counted(tenant: Tenant) -> None:
    tenant.side.let_change_itself(tenant.account)
    with tenant.open(tenant.account) as session:
        assert session.sessions_of(tenant.base) == ()


@for_engine(*ENGINES)
def test_an_outage_in_the_middle_is_unavailable_and_over_when_the_server_is_back(tenant: Tenant) -> None:
    with tenant.open() as session:
        tenant.set_clone(session)
        tenant.side.kill()
        try:
            with pytest.raises(Unavailable):
                session.check_users(tenant.users)
            with pytest.raises(Unavailable):
                session.try_lock(tenant.base)
            with pytest.raises(Unavailable, match="cannot be reached"):
                tenant.verify()
            with pytest.raises(Unavailable, match="cannot be reached"):
                tenant.open()
        finally:
            tenant.side.start()
    assert tenant.verify() == []
    assert tenant.verify(tenant.clone) == []
