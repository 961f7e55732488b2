"""Setting passwords: who may, what the server learns of them, and what keeps logging in meanwhile."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import RedisError

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import AuthenticationFailed, Refused, RightsReport, Users
from rotated_secrets.databases.redis import RedisEngine
from rotated_secrets.databases.redis.node import RULES
from rotated_secrets.values import Credential, SecretText
from sandbox.redis import RedisServer, UsersKept, digest, redis_server
from tests.integration.redis.conftest import ENGINE, Tenant, make_tenant, reach, saying

CANARY = "Kanarienvogel-7!'\\\"%s ü"


@pytest.mark.parametrize("password", ["second", CANARY, "x" * 512, "#>~&*+-@()", " "])
def test_a_password_is_replaced_and_the_old_one_ends(tenant: Tenant, password: str) -> None:
    assert tenant.set(tenant.base, password) == RightsReport()
    assert tenant.verify(tenant.base, password, "GET app:health") == []
    with pytest.raises(AuthenticationFailed):
        tenant.verify(tenant.base, tenant.password)


def test_two_passwords_log_in_until_the_old_one_retires(tenant: Tenant) -> None:
    for _ in range(2):  # a crash may have happened right after the first
        tenant.set(tenant.base, "second", keep=tenant.password)
    assert tenant.verify(tenant.base, "second") == tenant.verify(tenant.base, tenant.password) == []
    tenant.set(tenant.base, "second")
    assert tenant.verify(tenant.base, "second") == []
    with pytest.raises(AuthenticationFailed):
        tenant.verify(tenant.base, tenant.password)


def test_a_third_password_ends_when_a_second_is_set(tenant: Tenant) -> None:
    tenant.server.command("ACL", "SETUSER", tenant.base, f"#{digest('third')}")
    tenant.set(tenant.base, "second", keep=tenant.password)
    with pytest.raises(AuthenticationFailed):
        tenant.verify(tenant.base, "third")


def test_a_roll_back_makes_the_kept_password_the_only_one(tenant: Tenant) -> None:
    tenant.set(tenant.base, "second", keep=tenant.password)
    tenant.set(tenant.base, tenant.password)
    assert tenant.verify(tenant.base, tenant.password) == []
    with pytest.raises(AuthenticationFailed):
        tenant.verify(tenant.base, "second")


def test_a_kept_password_is_refused_at_no_instant(redis: RedisServer) -> None:
    tenant = make_tenant(redis, rights=("+ping",))
    refused: list[Exception] = []
    tried = [0]
    done = threading.Event()

    def log_in_all_the_time() -> None:
        while not done.is_set():
            try:
                tenant.server.command("PING", user=tenant.base, password=tenant.password)
            except RedisError as error:
                refused.append(error)
            tried[0] += 1

    threads = [threading.Thread(target=log_in_all_the_time) for _ in range(2)]
    for thread in threads:
        thread.start()
    with tenant.open() as session:
        turn = 0
        while tried[0] < 200:
            turn += 1
            pending = tenant.credential(tenant.base, f"turn-{turn}")
            session.set_password(tenant.alone, pending, Rights.ENFORCE, tenant.current)
            session.set_password(tenant.alone, tenant.current, Rights.ENFORCE)
    done.set()
    for thread in threads:
        thread.join()
    assert turn > 10
    assert refused == []


def test_connections_outlive_a_change_of_their_password(tenant: Tenant) -> None:
    with tenant.server.client(tenant.base, tenant.password) as client:
        connection = client.connection_pool.get_connection()
        tenant.set(tenant.base, "second")
        connection.send_command("GET", "app:health")
        assert connection.read_response() is None
        client.connection_pool.release(connection)


def test_a_single_user_changes_its_own_password_without_an_admin(redis: RedisServer) -> None:
    tenant = make_tenant(redis, rights=("~*", "&*", "+@all"))
    with tenant.open(tenant.current) as session:
        assert session.try_lock(tenant.base)
        session.check_users(tenant.alone)
        session.set_password(tenant.alone, tenant.credential(tenant.base, "second"), Rights.ENFORCE)
    assert tenant.verify(tenant.base, "second") == []


@contextmanager
def monitored(server: RedisServer) -> Iterator[list[str]]:
    """Everything that MONITOR shows meanwhile."""
    shown: list[str] = []
    with server.client() as client, client.monitor() as monitor:
        yield shown
        end = secrets.token_hex(8)
        server.command("ECHO", end)
        for each in monitor.listen():
            shown.append(str(each))
            if end in str(each):
                return


def test_no_password_reaches_anything_that_the_server_shows_or_writes() -> None:
    with redis_server(users_kept=UsersKept.CONFIG_FILE) as server:
        tenant = make_tenant(server)
        with monitored(server) as shown:
            tenant.set(tenant.base, f"{CANARY} 1", keep=tenant.password)
            tenant.set(tenant.clone, f"{CANARY} 2")
            tenant.verify(tenant.base, f"{CANARY} 1", "GET app:health")
            tenant.verify(tenant.clone, f"{CANARY} 2")
            with pytest.raises(AuthenticationFailed):
                tenant.verify(tenant.clone, f"{CANARY} 3")
            server.command("SET", "written", "down", user=server.admin_user, password=server.admin_password)
        everything = "\n".join(
            [
                *shown,
                server.written(),
                *(str(server.command(*words)) for words in (("SLOWLOG", "GET", "-1"), ("ACL", "LOG"), ("ACL", "LIST"))),
            ]
        )
    assert "Kanarienvogel" not in everything
    assert tenant.password not in everything
    assert tenant.admin.password.reveal() not in everything
    # What was looked through has what it should have: else the absence would prove nothing.
    assert digest(f"{CANARY} 1") in everything
    for sign in (
        "AUTH (redacted)",
        "'SETUSER', '(redacted)'",
        "'auth'",
        "acl|whoami",
        "written",
        "appendonly",
        "GET app:health",
    ):
        assert sign in everything, sign


def test_a_user_without_a_password_is_refused(redis: RedisServer) -> None:
    tenant = make_tenant(redis, rights=("nopass", "~*", "+@all"))
    with tenant.open() as session:
        with pytest.raises(Refused, match="nopass"):
            session.check_users(tenant.alone)
        with pytest.raises(Refused, match="nopass"):
            session.set_password(tenant.alone, tenant.credential(tenant.base, "second"), Rights.ENFORCE)
    assert "nopass" in (tenant.user(tenant.base) or {})["flags"]


def test_what_is_told_of_a_user_without_a_password_lets_the_next_rotation_work(redis: RedisServer) -> None:
    tenant = make_tenant(redis, rights=("nopass", "~*", "+@all"))
    with tenant.open() as session, pytest.raises(Refused) as told:
        session.check_users(tenant.alone)
    command = str(told.value).rpartition("give it the one in the secret value: ")[2]
    tenant.server.command(*command.replace("…", tenant.password).split())
    assert tenant.verify(tenant.base, tenant.password) == []
    tenant.set(tenant.base, "second")
    assert tenant.verify(tenant.base, "second") == []


def test_a_missing_base_user_is_refused_and_not_made(tenant: Tenant) -> None:
    nobody = Users("nobody_here", "nobody_here_clone")
    with tenant.open() as session:
        for users in (nobody, Users("nobody_here")):
            with pytest.raises(Refused, match="does not exist"):
                session.check_users(users)
            with pytest.raises(Refused, match="does not exist"):
                session.set_password(users, tenant.credential("nobody_here", "x"), Rights.ENFORCE)
        session.disable_login("nobody_here")
    assert tenant.user("nobody_here") is None


def test_a_credential_of_a_third_user_is_refused(tenant: Tenant) -> None:
    with tenant.open() as session:
        stolen = tenant.credential(tenant.server.admin_user, "stolen")
        with pytest.raises(Refused, match="neither"):
            session.set_password(tenant.users, stolen, Rights.ENFORCE)
        with pytest.raises(Refused, match="cannot be kept"):
            session.set_password(tenant.alone, tenant.current, Rights.ENFORCE, keep=stolen)
    assert tenant.server.command("PING") == "PONG"


@pytest.mark.parametrize("lacking", [rule.removeprefix("+") for rule in RULES if rule != "+config|rewrite"])
def test_an_admin_without_a_privilege_is_told_what_to_run(tenant: Tenant, lacking: str) -> None:
    tenant.server.command("ACL", "SETUSER", tenant.admin.username, f"-{lacking}")
    needed = f"ACL SETUSER {tenant.admin.username} {' '.join(RULES)}"
    at_once = RedisEngine(idle_seconds=0)
    with (
        tenant.open() as holder,
        tenant.open(engine=at_once) as session,
        pytest.raises(Refused, match=re.escape(needed)),
    ):
        if lacking == "client|kill":
            holder.try_lock(tenant.base)
        session.try_lock(tenant.base)
        session.check_users(tenant.users)
        session.set_password(tenant.alone, tenant.current, Rights.ENFORCE)


@pytest.mark.parametrize("name", ["two words", 'quo"te', "quo'te", "back\\slash", "line\nbreak", "", "\x7f"])
def test_a_name_that_the_server_could_not_keep_is_refused(tenant: Tenant, name: str) -> None:
    with pytest.raises(Refused, match="user name"):
        ENGINE.check_username(name)
    with tenant.open() as session, pytest.raises(Refused, match="user name"):
        session.check_users(Users(name))


@pytest.mark.parametrize("kept", [UsersKept.ACL_FILE, UsersKept.CONFIG_FILE])
def test_odd_names_are_names_and_survive_a_restart(kept: UsersKept) -> None:
    names = ["Ünï", "a.b@c", "#hash", ">greater", "(paren)", "per%cent", "*", "default2"]
    with redis_server(tls=False, users_kept=kept) as server:
        tenants = [make_tenant(server, base=name) for name in names]
        for tenant in tenants:
            assert tenant.set(tenant.clone, "first") == tenant.set(tenant.clone, "second") == RightsReport()
        server.stop()
        server.start()
        for tenant in tenants:
            assert tenant.verify(tenant.clone, "second") == []
            assert tenant.set(tenant.clone, "third") == RightsReport()


@pytest.mark.parametrize("kept", [UsersKept.ACL_FILE, UsersKept.CONFIG_FILE])
def test_a_new_password_outlasts_a_crash(kept: UsersKept) -> None:
    with redis_server(tls=False, users_kept=kept) as server:
        tenant = make_tenant(server)
        tenant.set(tenant.base, "second", keep=tenant.password)
        tenant.set(tenant.clone, "first")
        server.kill()
        server.start()
        assert tenant.verify(tenant.base, "second") == tenant.verify(tenant.base, tenant.password) == []
        assert tenant.verify(tenant.clone, "first") == []
        with tenant.open() as session:
            session.disable_login(tenant.clone)
        server.kill()
        server.start()
        with pytest.raises(AuthenticationFailed):
            tenant.verify(tenant.clone, "first")


def test_a_server_that_would_forget_is_refused_before_anything_changes_unless_someone_else_remembers() -> None:
    with redis_server(tls=False, users_kept=UsersKept.NOWHERE) as server:
        tenant = make_tenant(server)
        before = server.command("ACL", "LIST")
        with tenant.open() as session, pytest.raises(Refused, match="neither an aclfile nor a configuration file"):
            session.check_users(tenant.users)
        assert server.command("ACL", "LIST") == before
        with tenant.open(saying(tenant.admin, acl_persistence="external")) as session:
            session.check_users(tenant.users)
            session.set_password(tenant.users, tenant.credential(tenant.clone, "first"), Rights.ENFORCE)
        assert tenant.verify(tenant.clone, "first") == []


@pytest.mark.parametrize("kept", [UsersKept.ACL_FILE, UsersKept.CONFIG_FILE])
def test_a_server_that_cannot_write_its_files_is_refused_before_anything_changes(kept: UsersKept) -> None:
    with redis_server(tls=False, users_kept=kept) as server:
        tenant = make_tenant(server)
        name = "users.acl" if kept is UsersKept.ACL_FILE else "redis.conf"
        (server.data / name).unlink()
        (server.data / name).mkdir()  # even root cannot write a file there
        with tenant.open() as session, pytest.raises(Refused, match="cannot write its"):
            session.check_users(tenant.users)


def test_the_default_user_of_a_server_with_one_password_has_two_meanwhile() -> None:
    """As with `requirepass`: there is no other user, and this one may do everything."""
    settings = {"requirepass": "first"}
    with redis_server(users_kept=UsersKept.CONFIG_FILE, default_user=(), settings=settings) as one:
        alone, tls = Users("default"), reach(one)
        credentials = [make_default("first"), make_default("second")]
        with ENGINE.open_admin(tls, credentials[0]) as session:
            assert session.try_lock("default")
            session.check_users(alone)
            session.set_password(alone, credentials[1], Rights.ENFORCE, credentials[0])
        for _ in range(2):
            assert [ENGINE.verify(tls, each, alone) for each in credentials] == [[], []]
            one.kill()
            one.start()
        with ENGINE.open_admin(tls, credentials[1]) as session:
            session.set_password(alone, credentials[1], Rights.ENFORCE)
        one.kill()
        one.start()
        assert ENGINE.verify(tls, credentials[1], alone) == []
        with pytest.raises(AuthenticationFailed):
            ENGINE.verify(tls, credentials[0], alone)


def make_default(password: str) -> Credential:
    return Credential("redis", "localhost", "default", SecretText(password))


def test_the_documented_command_makes_an_admin(tenant: Tenant) -> None:
    page = Path(__file__).parents[3].joinpath("docs", "redis.md").read_text()
    [command] = [line for line in page.splitlines() if line.startswith("ACL SETUSER rotator ")]
    words = command.replace("rotator", f"{tenant.admin.username}2").replace("PASSWORD", "documented").split()
    assert words[6:] == list(RULES)
    tenant.server.command(*words)
    admin = tenant.credential(f"{tenant.admin.username}2", "documented")
    with tenant.open(admin) as session:
        assert session.try_lock(tenant.base)
        session.check_users(tenant.users)
        session.set_password(tenant.users, tenant.credential(tenant.clone, "first"), Rights.ENFORCE)
        assert session.sessions_of(tenant.clone) == ()
    assert tenant.verify(tenant.clone, "first") == []
