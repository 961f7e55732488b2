"""Passwords: whose are set, that they log in, that nothing else changes, and that no log of the server has them."""

from __future__ import annotations

import json
import logging
import string
import sys

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import AuthenticationFailed, Refused, RightsReport, Unavailable, Users
from rotated_secrets.databases.mariadb.hashes import native_hash
from sandbox.mariadb import mariadb_server
from sandbox.mysqld import MysqldServer
from tests.integration.mariadb.conftest import ENGINE, Tenant, make_tenant

EVERY_SIGN = string.printable.strip() + " äß€\N{PILE OF POO} %s \\' \" ` ;--"


def ways(tenant: Tenant, user: str) -> list[tuple[str, str]]:
    """Plug-ins of an account, and what they keep."""
    row = json.loads(tenant.server.sql(f"SELECT Priv FROM mysql.global_priv WHERE User = '{user}'")[0][0])
    found = [each or row for each in row.get("auth_or", [{}])]
    return [(each["plugin"], each.get("authentication_string", "")) for each in found]


def test_a_clone_is_made_and_logs_in(tenant: Tenant) -> None:
    assert tenant.set_clone("first") == RightsReport()
    assert tenant.verify(tenant.clone, "first", "SELECT 1") == []
    assert tenant.verify(tenant.base, tenant.password) == []
    with pytest.raises(AuthenticationFailed):
        tenant.verify(tenant.clone, "other")


def test_setting_it_again_changes_nothing(tenant: Tenant) -> None:
    tenant.set_clone("first")
    before = ways(tenant, tenant.clone)
    assert tenant.set_clone("first") == RightsReport()
    assert ways(tenant, tenant.clone) == before


def test_a_password_of_every_sign_logs_in(tenant: Tenant) -> None:
    tenant.set_clone(EVERY_SIGN)
    assert tenant.verify(tenant.clone, EVERY_SIGN) == []


def test_no_log_has_a_password(mariadb: MysqldServer, tenant: Tenant, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    canaries = [f"canary-of-{step}-{tenant.schema}" for step in ("clone", "base", "kept", "own")]
    clone, base, kept, own = canaries
    tenant.set_clone(clone)
    tenant.set(tenant.base, base)
    tenant.set(tenant.base, kept, users=Users(tenant.base), keep=base)
    tenant.set(tenant.base, base, users=Users(tenant.base))
    tenant.set(tenant.base, own, users=Users(tenant.base), admin=tenant.credential(tenant.base, base))
    assert tenant.verify(tenant.base, own) == []
    log, binlog = mariadb.log(), mariadb.binlog()
    assert tenant.clone in log, "the log is on"
    assert tenant.clone.encode() in binlog
    for canary in (*canaries, tenant.password, tenant.admin.password.reveal()):
        assert canary not in log
        assert canary.encode() not in binlog
        assert canary not in caplog.text
        # Who has the half-way hash logs in with it.
        assert native_hash(canary.encode())[1:].lower() not in caplog.text.lower()


def test_replicas_get_every_change(mariadb: MysqldServer, tenant: Tenant) -> None:
    tenant.set_clone("first")
    assert native_hash(b"first").encode() in mariadb.binlog()


def test_single_user_by_an_admin_and_by_itself(tenant: Tenant) -> None:
    alone = Users(tenant.base)
    tenant.set(tenant.base, "by-admin", users=alone)
    tenant.set(tenant.base, "by-itself", users=alone, admin=tenant.credential(tenant.base, "by-admin"))
    assert tenant.verify(tenant.base, "by-itself") == []
    with pytest.raises(AuthenticationFailed):
        tenant.verify(tenant.base, "by-admin")


def test_nobody_elses_password_is_set(tenant: Tenant) -> None:
    with tenant.open() as session, pytest.raises(Refused, match="neither"):
        session.set_password(tenant.users, tenant.credential("somebody", "x"), Rights.ENFORCE)
    with tenant.open(tenant.current) as session, pytest.raises(Refused, match="GRANT CREATE USER"):
        session.set_password(tenant.users, tenant.credential(tenant.clone, "x"), Rights.ENFORCE)


def test_two_passwords_live_side_by_side_until_the_old_one_is_retired(tenant: Tenant) -> None:
    alone = Users(tenant.base)
    before = tenant.described(tenant.base)
    for _ in range(2):  # a crash may have come right after the first
        tenant.set(tenant.base, "new", users=alone, keep=tenant.password)
        assert tenant.verify(tenant.base, "new") == []
        assert tenant.verify(tenant.base, tenant.password) == []
    tenant.set(tenant.base, "third", users=alone, keep="new")
    with pytest.raises(AuthenticationFailed):
        tenant.verify(tenant.base, tenant.password)
    assert tenant.verify(tenant.base, "new") == []
    tenant.set(tenant.base, "third", users=alone)
    assert tenant.verify(tenant.base, "third") == []
    with pytest.raises(AuthenticationFailed):
        tenant.verify(tenant.base, "new")
    assert tenant.described(tenant.base) == before


def test_two_passwords_take_an_admin(tenant: Tenant) -> None:
    alone, current = Users(tenant.base), tenant.current
    with pytest.raises(Refused, match="adminSecretId"):
        tenant.set(tenant.base, "new", users=alone, keep=tenant.password, admin=current)
    tenant.set(tenant.base, "new", users=alone, keep=tenant.password)
    # One of the two would stay.
    with pytest.raises(Refused, match="more than one password"):
        tenant.set(tenant.base, "own", users=alone, admin=current)


def test_other_ways_to_log_in_are_kept(tenant: Tenant) -> None:
    native = f"mysql_native_password USING '{native_hash(b'old')}'"
    tenant.sql(f"ALTER USER {{base}} IDENTIFIED VIA unix_socket USING 'os' OR {native}")
    tenant.set(tenant.base, "new", users=Users(tenant.base))
    assert ways(tenant, tenant.base) == [("unix_socket", "os"), ("mysql_native_password", native_hash(b"new"))]
    assert tenant.verify(tenant.base, "new") == []
    tenant.set(tenant.base, "own", users=Users(tenant.base), admin=tenant.credential(tenant.base, "new"))
    assert ways(tenant, tenant.base) == [("unix_socket", "os"), ("mysql_native_password", native_hash(b"own"))]


def test_who_has_no_password_gets_none(tenant: Tenant) -> None:
    tenant.sql("ALTER USER {base} IDENTIFIED VIA unix_socket")
    with pytest.raises(Refused, match="unix_socket"):
        tenant.set_clone("first")


@pytest.mark.parametrize("way", ["clone", "base"])
def test_who_was_locked_out_is_let_in_again(tenant: Tenant, way: str) -> None:
    tenant.set_clone("first")
    user = getattr(tenant, way)
    with tenant.open() as session:
        session.disable_login(user)
    with pytest.raises(AuthenticationFailed, match="locked"):
        tenant.verify(user, "first" if user == tenant.clone else tenant.password)
    tenant.set(user, "second")
    assert tenant.verify(user, "second") == []


def test_an_expired_password_is_replaced(tenant: Tenant) -> None:
    tenant.sql("ALTER USER {base} PASSWORD EXPIRE")
    with pytest.raises(AuthenticationFailed, match=r"has expired .*ALTER USER"):
        tenant.verify(tenant.base, tenant.password)
    with pytest.raises(AuthenticationFailed, match="has expired"):
        tenant.open(tenant.current)
    tenant.set(tenant.base, "new")
    assert tenant.verify(tenant.base, "new") == []
    tenant.set_clone("first")
    assert tenant.verify(tenant.clone, "first") == []


def test_a_server_that_checks_passwords_and_takes_no_hashes_gets_no_password() -> None:
    with mariadb_server() as checking:
        other = make_tenant(checking)
        checking.sql("INSTALL SONAME 'simple_password_check'")
        with pytest.raises(Refused, match="SET GLOBAL strict_password_validation = OFF"):
            other.set_clone("first")
        with pytest.raises(Refused, match="strict_password_validation"):
            other.set(other.base, "x", users=Users(other.base), admin=other.current)
        checking.sql("SET GLOBAL strict_password_validation = OFF")
        other.set_clone("first")
        assert other.verify(other.clone, "first") == []


@pytest.fixture
def ed25519(tenant: Tenant) -> Tenant:
    """A tenant whose base user has another plug-in."""
    if tenant.server.sql("SELECT 1 FROM information_schema.plugins WHERE plugin_name = 'ed25519'") == []:
        tenant.sql("INSTALL SONAME 'auth_ed25519'")
    tenant.sql(f"ALTER USER {{base}} IDENTIFIED VIA ed25519 USING PASSWORD('{tenant.password}')", logged=False)
    return tenant


def test_the_plugin_stays_and_the_clone_has_it_too(ed25519: Tenant) -> None:
    pytest.importorskip("nacl")
    assert ed25519.verify(ed25519.base, ed25519.password) == []
    assert ed25519.set_clone("any length will do") == RightsReport()
    assert ed25519.set(ed25519.base, "new") == RightsReport()
    for user, password in ((ed25519.clone, "any length will do"), (ed25519.base, "new")):
        assert ed25519.verify(user, password) == []
        assert ways(ed25519, user)[0][0] == "ed25519"
        with pytest.raises(AuthenticationFailed):
            ed25519.verify(user, "other")
    alone = Users(ed25519.base)
    ed25519.set(ed25519.base, "own", users=alone, admin=ed25519.credential(ed25519.base, "new"))
    with pytest.raises(Refused, match="use AlternatingUsers"):
        ed25519.set(ed25519.base, "beside", users=alone, keep="own")
    assert ed25519.verify(ed25519.base, "own") == []


def test_a_plugin_that_takes_a_missing_library_is_refused_before_anything_is_changed(
    ed25519: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nacl.bindings", None)
    with pytest.raises(Refused, match="PyNaCl"):
        ed25519.set_clone("first")
    assert ed25519.sql(f"SELECT 1 FROM mysql.user WHERE User = '{ed25519.clone}'") == []


def test_a_login_that_takes_a_missing_library_is_no_wrong_password(
    ed25519: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pymysql._auth._nacl_bindings", None)
    monkeypatch.setitem(sys.modules, "nacl", None)
    with pytest.raises(Unavailable, match="PyNaCl"):
        ed25519.verify(ed25519.base, ed25519.password)


def test_the_clone_follows_when_its_base_user_gets_another_plugin(ed25519: Tenant) -> None:
    pytest.importorskip("nacl")
    ed25519.set_clone("first")
    ed25519.sql(f"ALTER USER {{base}} IDENTIFIED VIA mysql_native_password USING '{native_hash(b'old')}'")
    report = ed25519.set(ed25519.base, "second")
    assert report.remaining == (
        f"{ed25519.clone} logs in by ed25519 instead of mysql_native_password until it is given a new password",
    )
    assert ed25519.verify(ed25519.clone, "first") == []
    assert ed25519.set_clone("third") == RightsReport()
    assert ways(ed25519, ed25519.clone)[0] == ("mysql_native_password", native_hash(b"third"))


@pytest.mark.parametrize(
    "name",
    ["x" * 81, "", "half\ud800", "ends with a space ", "mariadb.sys"],
    ids=["long", "none", "half", "space", "own"],
)
def test_names_that_the_server_would_not_take_are_refused_before_anything_is_asked(name: str) -> None:
    with pytest.raises(Refused):
        ENGINE.check_username(name)
