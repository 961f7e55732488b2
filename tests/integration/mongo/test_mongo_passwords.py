"""Passwords of MongoDB's users: set, tested, taken back, and seen by nobody."""

from __future__ import annotations

import dataclasses
import json
import logging
import string
from collections.abc import Iterator

import pytest
from pymongo.errors import OperationFailure

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import AuthenticationFailed, Refused, RightsReport, Unavailable, Users
from rotated_secrets.databases.mongo import MongoEngine
from rotated_secrets.databases.mongo.login import Greeting
from rotated_secrets.values import Credential, SecretValue
from sandbox.mongo import MongoServer, mongo_server
from sandbox.waiting import eventually
from tests.integration.mongo.conftest import LOCKS, Tenant, make_tenant, make_user
from tests.support.mongo_shell import run_shell

EVERY_SIGN = string.ascii_letters + string.digits + string.punctuation + " "


@pytest.fixture(scope="module")
def replicated() -> Iterator[MongoServer]:
    """The primary of a replica set, which can be told to fail."""
    with mongo_server(replica_set=True, arguments=("--setParameter", "enableTestCommands=1")) as server:
        server.command({"createRole": "keepsLocks", "privileges": [LOCKS], "roles": []})
        yield server


@pytest.fixture
def member(replicated: MongoServer) -> Iterator[Tenant]:
    """A tenant of the replica set."""
    made = make_tenant(replicated)
    yield dataclasses.replace(made, engine=MongoEngine(lease_seconds=1.0))
    replicated.command({"configureFailPoint": "failCommand", "mode": "off"})


def fail(server: MongoServer, command: str, times: int = 1, **how: object) -> None:
    data = {"failCommands": [command], "appName": "rotated-secrets", **how}
    server.command({"configureFailPoint": "failCommand", "mode": {"times": times}, "data": data})


def test_a_clone_is_made_that_logs_in(tenant: Tenant) -> None:
    assert tenant.set_clone("first") == RightsReport()
    assert tenant.verify(tenant.clone, "first", '{"find": "prices"}') == []
    assert tenant.verify(tenant.base, tenant.password) == []


def test_the_two_users_take_turns(tenant: Tenant) -> None:
    for turn in range(1, 6):
        user = tenant.clone if turn % 2 else tenant.base
        assert tenant.set(user, f"turn-{turn}") == RightsReport()
        assert tenant.verify(user, f"turn-{turn}") == []
        if turn > 1:
            assert tenant.verify(tenant.users.alternate(user), f"turn-{turn - 1}") == []


def test_setting_a_password_twice_is_setting_it_once(tenant: Tenant) -> None:
    assert tenant.set_clone("same") == tenant.set_clone("same") == RightsReport()
    assert tenant.verify(tenant.clone, "same") == []


def test_every_sign_may_be_in_a_password(tenant: Tenant) -> None:
    tenant.set_clone(EVERY_SIGN)
    assert tenant.verify(tenant.clone, EVERY_SIGN) == []


def test_a_wrong_password_and_a_user_that_is_not_there_are_certain(tenant: Tenant) -> None:
    for user, password in ((tenant.base, "wr0ng"), ("nobody", tenant.password)):
        with pytest.raises(AuthenticationFailed, match="does not log in") as raised:
            tenant.verify(user, password)
        assert password not in str(raised.value)


def test_a_password_that_no_hash_takes_is_a_wrong_one(tenant: Tenant) -> None:
    with pytest.raises(AuthenticationFailed, match="a character that MongoDB does not allow"):
        tenant.verify(tenant.base, "control\x07sign")


def test_a_user_sets_its_own_password_where_it_may(tenant: Tenant) -> None:
    alone = Users(tenant.base)
    with tenant.open(tenant.current) as session:
        with pytest.raises(Refused, match=r"rotated_secrets\.locks"):
            session.try_lock(tenant.base)
        with pytest.raises(
            Refused, match=f"{tenant.base} lacks changeOwnPassword on database {tenant.database}"
        ) as raised:
            session.check_users(alone)
    assert run_shell(tenant.server, str(raised.value)) == 2
    with tenant.open(tenant.current) as session:
        assert session.try_lock(tenant.base)
        session.check_users(alone)
        session.set_password(alone, tenant.credential(tenant.base, "second"), Rights.ENFORCE)
        # The session that changed it goes on, as a roll-back needs it to.
        session.set_password(alone, tenant.credential(tenant.base, "third"), Rights.ENFORCE)
    assert tenant.engine.verify(tenant.reach, tenant.credential(tenant.base, "third"), alone) == []


def test_a_locked_out_user_is_let_in_again_by_a_password_with_all_that_it_had(tenant: Tenant) -> None:
    tenant.set_clone("first")
    before = tenant.shown(tenant.clone)
    with tenant.open() as session:
        assert session.try_lock(tenant.base)
        session.check_users(tenant.users)
        session.disable_login(tenant.clone)
    with pytest.raises(AuthenticationFailed):
        tenant.verify(tenant.clone, "first")
    assert tenant.shown(tenant.clone) == before
    assert tenant.set_clone("second") == RightsReport()
    assert tenant.verify(tenant.clone, "second") == []


def test_two_passwords_and_users_of_other_names_are_refused(tenant: Tenant) -> None:
    clone = tenant.credential(tenant.clone, "first")
    with tenant.open() as session:
        with pytest.raises(Refused, match="one password a user"):
            session.set_password(tenant.users, clone, Rights.ENFORCE, tenant.current)
        with pytest.raises(Refused, match="neither"):
            session.set_password(Users("other", "other_clone"), clone, Rights.ENFORCE)
    assert not tenant.exists(tenant.clone)


@pytest.mark.parametrize("may", [[], ["viewUser"], ["viewUser", "changePassword"]], ids=str)
def test_an_admin_that_may_not_is_refused_with_the_commands_that_help(tenant: Tenant, may: list[str]) -> None:
    role = f"weak_{tenant.base}"
    privileges = [{"resource": {"db": tenant.database, "collection": ""}, "actions": may}] if may else []
    tenant.as_admin({"createRole": role, "privileges": privileges, "roles": []}, "admin")
    weak = make_user(tenant.server, role, "admin", [role, "keepsLocks"])
    for _ in range(3):
        with tenant.open(weak) as session:
            try:
                session.check_users(tenant.users)
                break
            except Refused as error:
                assert run_shell(tenant.server, str(error)) == 1
    assert not tenant.exists(tenant.clone)
    assert tenant.set_clone("first", admin=weak) == RightsReport()


def test_an_admin_of_one_database_is_enough(mongo: MongoServer) -> None:
    tenant = make_tenant(mongo)
    owner = make_user(mongo, f"owner_{tenant.base}", tenant.database, ["userAdmin"])
    keeps_locks = [{"role": "keepsLocks", "db": "admin"}]
    tenant.as_admin({"grantRolesToUser": owner.username, "roles": keeps_locks})
    assert tenant.set_clone("first", admin=owner) == RightsReport()
    tenant.as_admin({"grantRolesToUser": tenant.base, "roles": ["dbAdmin"]})
    tenant.as_admin({"revokeRolesFromUser": tenant.base, "roles": ["readWrite"]})
    assert len(tenant.set_clone("second", admin=owner).repaired) == 2
    assert tenant.shown(tenant.clone) == tenant.shown(tenant.base)
    assert tenant.verify(tenant.clone, "second") == []


# ---- the database that a user belongs to


def test_users_belong_to_authsource_else_to_dbname_else_to_admin(tenant: Tenant) -> None:
    def value(**fields: str) -> Credential:
        where = {"engine": "mongo", "host": "localhost", "username": tenant.base, "password": tenant.password}
        return Credential.of(SecretValue.parse(json.dumps(where | fields)))

    for right in (value(authSource=tenant.database, dbname="elsewhere"), value(dbname=tenant.database)):
        assert tenant.engine.verify(tenant.reach, right, tenant.users) == []
    with pytest.raises(AuthenticationFailed, match=r"of database admin .* add authSource"):
        tenant.engine.verify(tenant.reach, value(), tenant.users)
    for wrong in ("$external", "a.b", "local", "a b"):
        with pytest.raises(Refused):
            tenant.engine.verify(tenant.reach, value(authSource=wrong), tenant.users)


def test_a_user_of_the_same_name_in_another_database_is_a_stranger(tenant: Tenant) -> None:
    other = make_tenant(tenant.server)
    password = make_user(tenant.server, tenant.clone, other.database, ["read"]).password.reveal()
    make_user(tenant.server, tenant.base, other.database, ["read"])
    assert tenant.set_clone("first") == RightsReport()
    stranger = other.credential(tenant.clone, password)
    assert tenant.engine.verify(tenant.reach, stranger, Users(tenant.clone)) == []
    with tenant.open() as session:
        session.check_users(tenant.users)
        with pytest.raises(Refused, match="in 2 databases"):
            session.disable_login(tenant.clone)
    assert tenant.engine.verify(tenant.reach, stranger, Users(tenant.clone)) == []


def test_where_a_credential_proves_which_user_is_meant_its_clone_is_locked_out_and_no_stranger(tenant: Tenant) -> None:
    """As after a restart: the session that rolls back has set no password itself."""
    other = make_tenant(tenant.server)
    stranger = other.credential(
        tenant.clone, make_user(tenant.server, tenant.clone, other.database, ["read"]).password.reveal()
    )
    elsewhere = make_user(tenant.server, tenant.base, other.database, ["read"])
    assert tenant.set_clone("first") == RightsReport()
    with tenant.engine.open_admin_for(tenant.reach, tenant.admin, tenant.reach, tenant.current) as session:
        assert session.try_lock(tenant.base)
        session.check_users(tenant.users)
        with pytest.raises(Refused, match="not the one that AWSCURRENT logs in as"):
            session.set_password(tenant.users, other.credential(tenant.base, "stolen"), Rights.ENFORCE)
        session.disable_login(tenant.clone)
    with pytest.raises(AuthenticationFailed):
        tenant.verify(tenant.clone, "first")
    for alive in (stranger, other.credential(tenant.base, elsewhere.password.reveal())):
        assert tenant.engine.verify(tenant.reach, alive, Users(alive.username)) == []


def test_only_who_was_proven_is_locked_out(tenant: Tenant) -> None:
    """Not a stranger of the clone's name, though the name's users in another database are what they should be."""
    stranger = make_user(tenant.server, tenant.clone, tenant.database, ["dbOwner"])
    elsewhere = f"other_{tenant.database}"
    make_user(tenant.server, tenant.base, elsewhere, ["read"])
    pending = tenant.credential(tenant.clone, "pending")
    with tenant.open() as session:
        session.check_users(tenant.users)
        with pytest.raises(Refused, match="not provably"):
            session.set_password(tenant.users, pending, Rights.ENFORCE)
        with pytest.raises(Refused, match="not locked out"):
            session.disable_login(tenant.clone)
    with tenant.open() as session, pytest.raises(Refused):
        session.disable_login("sandbox_admin")
    assert tenant.engine.verify(tenant.reach, stranger, Users(tenant.clone)) == []


# ---- what is never seen


def test_no_log_of_the_server_or_ours_has_the_password(member: Tenant, caplog: pytest.LogCaptureFixture) -> None:
    """Nor has the profiler, or the log of operations that replicas follow."""
    server, canaries = member.server, ["canary-clone", "canary-again", "canary-base", "canary-refused"]
    caplog.set_level(logging.DEBUG)
    member.as_admin({"create": "prices"})
    for database in (member.database, "admin"):
        member.as_admin({"profile": 2}, database)
    member.set_clone(canaries[0])
    member.set_clone(canaries[1])
    member.set(member.base, canaries[2])
    assert member.verify(member.clone, canaries[1], '{"find": "prices"}') == []
    with pytest.raises(AuthenticationFailed) as rejected:
        member.verify(member.clone, canaries[3])
    fail(server, "updateUser", errorCode=13)
    with pytest.raises(Refused) as refused:
        member.set_clone(canaries[3])
    for database in (member.database, "admin"):
        member.as_admin({"profile": 0}, database)
    with server.client() as client:
        profiles = [str(list(client[name]["system.profile"].find())) for name in (member.database, "admin")]
        operations = str(list(client["local"]["oplog.rs"].find()))
        kept = str(list(client["admin"]["system.users"].find()))
    assert "prices" in profiles[0]
    assert "storedKey" in profiles[1]
    assert "storedKey" in operations
    log = server.log()
    assert log.count("updateUser") > 3
    everything = "\n".join([log, caplog.text, str(rejected.value), str(refused.value), *profiles, operations, kept])
    for canary in canaries:
        assert canary not in everything


def test_a_password_on_its_way_is_hidden_from_who_may_not_see_all_operations(tenant: Tenant) -> None:
    """MongoDB shows running commands whole, to a monitor of the cluster."""
    every = {"aggregate": 1, "pipeline": [{"$currentOp": {"allUsers": True, "idleConnections": True}}], "cursor": {}}
    with (
        tenant.server.client(tenant.base, tenant.password, tenant.database) as client,
        pytest.raises(OperationFailure, match="not authorized"),
    ):
        client.admin.command(every)


# ---- outages and a replica set


def test_a_rotation_of_a_replica_set(member: Tenant) -> None:
    assert member.set_clone("first") == RightsReport()
    assert member.verify(member.clone, "first", '{"count": "prices"}') == []


def test_a_crash_inside_set_is_set_again(member: Tenant) -> None:
    member.set_clone("first")
    member.as_admin({"grantRolesToUser": member.base, "roles": ["dbAdmin"]})
    fail(member.server, "updateUser", closeConnection=True)
    with pytest.raises(Unavailable):
        member.set_clone("second")
    assert member.verify(member.clone, "first") == []
    # The lock of a session that died is free once its time is over.
    eventually(lambda: _lock_is_free(member), "the lock is free", seconds=10)
    assert member.set_clone("second").remaining == ()
    assert member.verify(member.clone, "second") == []
    assert member.shown(member.clone) == member.shown(member.base)


def _lock_is_free(tenant: Tenant) -> bool:
    with tenant.open() as session:
        return session.try_lock(tenant.base)


def test_a_primary_that_steps_down_in_the_middle_is_no_refusal(member: Tenant) -> None:
    for code in (10107, 189, 11602, 64, 91, 50):
        fail(member.server, "createUser", errorCode=code)
        with pytest.raises(Unavailable, match="tried again"):
            member.set_clone("first")
    assert not member.exists(member.clone)


def test_a_secondary_takes_no_passwords_and_proves_none_wrong(member: Tenant) -> None:
    server = member.server
    server.command({"replSetStepDown": 60, "force": True})
    try:
        with pytest.raises(Unavailable, match="secondary of its replica set"):
            member.open()
        assert member.verify(member.base, member.password, '{"find": "prices"}') == []
        with pytest.raises(Unavailable, match="may not know its newest password"):
            member.verify(member.base, "wrong")
    finally:
        server.command({"replSetFreeze": 0})
        server.until_primary()
    assert member.set_clone("first") == RightsReport()


def test_an_address_that_does_not_answer_is_passed_over(member: Tenant) -> None:
    nobody_there = dataclasses.replace(member.reach, addresses=("127.0.0.9", "127.0.0.1"))
    with member.engine.open_admin(nobody_there, member.admin) as session:
        session.check_users(member.users)


def test_a_server_that_was_killed_is_unavailable_and_then_as_before(member: Tenant) -> None:
    member.set_clone("first")
    with member.open() as session:
        assert session.try_lock(member.base)
        member.server.kill()
        with pytest.raises(Unavailable):
            session.set_password(member.users, member.credential(member.clone, "second"), Rights.ENFORCE)
    with pytest.raises(Unavailable):
        member.verify(member.clone, "first")
    member.server.start()
    member.server.until_primary()
    assert member.verify(member.clone, "first") == []


def test_a_router_that_does_not_know_the_newest_password_yet_proves_nothing(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant.set_clone("first")
    # No router is to be had here, and nothing but its word for it tells a client.
    monkeypatch.setattr(
        "rotated_secrets.databases.mongo.login.Greeting", lambda writable, _: Greeting(writable, sharded=True)
    )
    with pytest.raises(Unavailable, match="may not know its newest password"):
        tenant.verify(tenant.clone, "stale")
    with pytest.raises(AuthenticationFailed):
        dataclasses.replace(tenant, engine=MongoEngine()).verify(tenant.clone, "stale")
