"""Several servers with users of their own: all are set and verified, or none is touched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import AuthenticationFailed, Refused, RightsReport, Unavailable
from rotated_secrets.values import Credential, SecretText
from sandbox.redis import RedisServer, redis_server
from sandbox.servers import free_port
from sandbox.waiting import eventually
from tests.integration.redis.conftest import ENGINE, Tenant, make_tenant, reach, saying

NOBODY = Credential("redis", "Redis-1.example.com", "app", SecretText("x"), port=7000)


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[RedisServer, RedisServer]]:
    with redis_server(tls=False) as one, redis_server(tls=False) as other:
        yield one, other


@pytest.fixture
def both(two: tuple[RedisServer, RedisServer]) -> Iterator[Tenant]:
    yield make_tenant(*two)
    for server in two:
        server.stop()
        server.start()


def test_passwords_and_clones_are_set_on_every_node(both: Tenant) -> None:
    assert both.set(both.base, "second", keep=both.password) == RightsReport()
    assert both.set(both.clone, "first") == RightsReport()
    for server in both.servers:
        for user, password in ((both.base, "second"), (both.base, both.password), (both.clone, "first")):
            assert ENGINE.verify(reach(server), both.credential(user, password), both.users) == []


def test_the_queries_of_all_nodes_share_the_time_of_one_look(both: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    class TwoSecondsEach:
        """A clock of which every look takes two seconds."""

        seconds = 0.0

        def monotonic(self) -> float:
            self.seconds += 2
            return self.seconds

    monkeypatch.setattr("rotated_secrets.databases.verify_queries.time", TwoSecondsEach())
    assert ENGINE.verify(reach(both.server), both.current, both.users, ["GET app:x"]) == []
    [sentence] = both.verify(both.base, both.password, "GET app:x")
    assert sentence.startswith("verify queries took longer than 5 s together")


def test_a_node_that_is_down_is_found_before_another_is_changed(both: Tenant) -> None:
    before = both.server.command("ACL", "LIST")
    both.servers[1].stop()
    with pytest.raises(Unavailable, match=f":{both.servers[1].port}"):
        both.set(both.base, "second", keep=both.password)
    with pytest.raises(Unavailable):
        both.verify(both.base, both.password)
    assert both.server.command("ACL", "LIST") == before
    assert both.server.command("CLIENT", "LIST").count(f"user={both.admin.username} ") == 0
    both.servers[1].start()


def test_a_node_that_goes_in_the_middle_leaves_the_kept_password_valid_everywhere(both: Tenant) -> None:
    pending = both.credential(both.base, "second")
    with both.open() as session:
        session.check_users(both.alone)
        both.servers[1].kill()
        with pytest.raises(Unavailable):
            session.set_password(both.alone, pending, Rights.ENFORCE, both.current)
    both.servers[1].start()
    assert both.verify(both.base, both.password) == []
    both.set(both.base, "second", keep=both.password)
    assert both.verify(both.base, "second") == both.verify(both.base, both.password) == []


def test_a_password_that_one_node_refuses_is_refused(both: Tenant) -> None:
    with ENGINE.open_admin(reach(both.server), both.admin) as session:
        session.set_password(both.alone, both.credential(both.base, "second"), Rights.ENFORCE)
    with pytest.raises(AuthenticationFailed, match=f":{both.servers[1].port}"):
        both.verify(both.base, "second")


def test_a_user_that_is_missing_or_no_clone_on_one_node_is_refused_before_another_is_changed(both: Tenant) -> None:
    before = both.server.command("ACL", "LIST")
    both.servers[1].make_user(both.clone, "somebody's", "+@all")
    with both.open() as session, pytest.raises(Refused, match=f"at localhost:{both.servers[1].port} is not provably"):
        session.set_password(both.users, both.credential(both.clone, "first"), Rights.ENFORCE)
    both.servers[1].command("ACL", "DELUSER", both.base)
    with both.open() as session, pytest.raises(Refused, match="does not exist"):
        session.set_password(both.alone, both.credential(both.base, "first"), Rights.ENFORCE)
    assert both.server.command("ACL", "LIST") == before


def test_what_is_repaired_on_some_nodes_says_on_how_many(both: Tenant) -> None:
    both.set(both.clone, "first")
    both.servers[1].command("ACL", "SETUSER", both.base, "+config|get")
    report = both.set(both.clone, "second")
    assert report.repaired == (f"commands of {both.clone}: lacks +config|get (on 1 of 2 nodes)",)


def test_the_lock_is_taken_on_all_nodes_or_left_on_all(both: Tenant) -> None:
    with ENGINE.open_admin(reach(both.servers[1]), both.admin) as holder, both.open() as session:
        assert holder.try_lock(both.base)
        assert not session.try_lock(both.base)
        with ENGINE.open_admin(reach(both.server), both.admin) as third:
            assert third.try_lock(both.base)


def test_replicas_that_the_secret_does_not_name_are_asked_for() -> None:
    with redis_server(tls=False) as primary:
        tenant = make_tenant(primary)
        primary.make_user("replication", "r", "+psync", "+replconf", "+ping")
        login = {"masteruser": "replication", "masterauth": "r"}
        with redis_server(tls=False, settings={"replicaof": f"127.0.0.1 {primary.port}", **login}) as replica:
            eventually(lambda: "state=online" in primary.command("INFO", "replication"), "the replica to be there")
            for name in (tenant.base, tenant.admin.username):
                user = tenant.user(name)
                assert user is not None
                replica.command(
                    "ACL", "SETUSER", name, "reset", "on", f"#{user['passwords'][0]}", *user["commands"].split()
                )
            with tenant.open() as session, pytest.raises(Refused, match="write the others into its key nodes"):
                session.check_users(tenant.alone)
            # Left out on purpose: a copy that nobody logs in to.
            with tenant.open(saying(tenant.admin, nodes=[])) as session:
                session.check_users(tenant.alone)
            with ENGINE.open_admin(reach(primary, replica), tenant.admin) as session:
                session.check_users(tenant.alone)
                session.set_password(tenant.alone, tenant.credential(tenant.base, "second"), Rights.ENFORCE)
            assert ENGINE.verify(reach(replica), tenant.credential(tenant.base, "second"), tenant.alone) == []


def test_a_user_that_replicas_log_in_as_is_refused() -> None:
    with redis_server(tls=False) as primary:
        tenant = make_tenant(primary, rights=("+@all", "~*", "&*"))
        login = {"masteruser": tenant.base, "masterauth": tenant.password}
        with redis_server(tls=False, settings={"replicaof": f"127.0.0.1 {primary.port}", **login}):
            eventually(lambda: "state=online" in primary.command("INFO", "replication"), "the replica to be there")
            with (
                tenant.open(saying(tenant.admin, nodes=[])) as session,
                pytest.raises(Refused, match="its own user"),
            ):
                session.check_users(tenant.alone)


def test_a_clusters_nodes_are_all_asked_for_and_keys_elsewhere_are_no_failure() -> None:
    # Left out, the nodes' own ports would be 10,000 above the others, where there may be none.
    buses = [str(free_port()) for _ in range(2)]
    first, second = ({"cluster-enabled": "yes", "cluster-port": bus} for bus in buses)
    with redis_server(tls=False, settings=first) as one, redis_server(tls=False, settings=second) as other:
        tenant = make_tenant(one, other)
        assert tenant.set(tenant.base, "second") == RightsReport()
        one.command("CLUSTER", "MEET", other.host, str(other.port), buses[1])
        eventually(lambda: "cluster_known_nodes:2" in one.command("CLUSTER", "INFO"), "the nodes to meet")
        one.command("CLUSTER", "ADDSLOTSRANGE", "0", "8191")
        other.command("CLUSTER", "ADDSLOTSRANGE", "8192", "16383")
        eventually(
            lambda: all("cluster_state:ok" in server.command("CLUSTER", "INFO") for server in (one, other)),
            "the cluster to have all slots",
        )
        alone = ENGINE.open_admin(reach(one), saying(tenant.admin, nodes=[]))
        with alone as session, pytest.raises(Refused, match="belongs to 2 servers"):
            session.check_users(tenant.alone)
        tenant.set(tenant.base, "third", keep="second")
        assert tenant.verify(tenant.base, "third", "GET app:1", "GET app:2", "GET app:3") == []
        assert len(tenant.verify(tenant.base, "third", "GET other:1")) == 2


@pytest.mark.parametrize(
    ("nodes", "hosts"),
    [
        (None, []),
        ([], []),
        ("", []),
        (["redis-2.example.com", "redis-3:6380"], [("redis-2.example.com", 7000), ("redis-3", 6380)]),
        ("redis-2 , redis-3:6380,", [("redis-2", 7000), ("redis-3", 6380)]),
        (["redis-1.example.com:7000", "redis-2", "REDIS-2:7000"], [("redis-2", 7000)]),
        (
            ["10.0.0.7:1", "[fd00::7]:2", "[fd00::8]", "fd00::9"],
            [("10.0.0.7", 1), ("fd00::7", 2), ("fd00::8", 7000), ("fd00::9", 7000)],
        ),
    ],
)
def test_nodes_are_read_as_people_write_them(nodes: object, hosts: list[tuple[str, int]]) -> None:
    assert ENGINE.hosts(saying(NOBODY, nodes=nodes)) == (("Redis-1.example.com", 7000), *hosts)


@pytest.mark.parametrize("nodes", [7, {"a": 1}, [7], ["redis:0"], ["redis:70000"], ["redis:x"], [""], ["a"] * 101])
def test_nodes_that_make_no_sense_are_refused(nodes: object) -> None:
    with pytest.raises(Refused, match="nodes in the secret value"):
        ENGINE.hosts(saying(NOBODY, nodes=nodes))


def test_a_credential_without_a_value_is_for_its_host_alone() -> None:
    assert ENGINE.hosts(Credential("redis", "h", "app", SecretText("x"))) == (("h", 6379),)
