"""Servers that speak other languages, in other encodings than UTF-8 too: what they say is known by codes alone."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg2.sql import SQL, Identifier

from rotated_secrets.api.rotation import Rights
from rotated_secrets.api.status import Outcome
from rotated_secrets.databases.base import AuthenticationFailed, NotAdmitted, Refused, Unavailable, Users
from rotated_secrets.rotation import actions
from rotated_secrets.values import SecretText, Stage
from sandbox import postgres as sandbox_postgres
from sandbox.packages import LOCALES
from sandbox.postgres import Installation, PostgresServer, installations, postgres_server
from tests.integration.postgres.conftest import ENGINE, LiveAt, Tenant, make_tenant

pytestmark = pytest.mark.parametrize("installation", installations()[:1], indirect=True, ids=str)

LANGUAGES = (("de_DE", "UTF-8"), ("ru_RU", "KOI8-R"), ("ja_JP", "EUC-JP"))
HBA = (
    "host all turned_away 127.0.0.1/32 reject",
    'hostssl all in_ldap 127.0.0.1/32 ldap ldapserver=127.0.0.1 ldapport=1 ldapprefix="cn=" ldapsuffix=""',
    "hostssl all all 127.0.0.1/32 scram-sha-256",
)


@pytest.fixture(scope="module", params=LANGUAGES, ids=".".join)
def server(request: pytest.FixtureRequest, installation: Installation) -> Iterator[PostgresServer]:
    """A server that speaks one of the languages from its first word on, before it knows who logs in."""
    language, encoding = request.param
    if not installation.tls or shutil.which("localedef") is None or not LOCALES.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Debian's packages postgresql and locales are needed")
    name = f"{language}.{encoding}"
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, pytest.MonkeyPatch.context() as patch:
        Path(folder).chmod(0o755)
        made = ["localedef", "--inputfile", language, "--charmap", encoding, f"{folder}/{name}"]
        subprocess.run(made, check=True, capture_output=True)
        spoken = {"LOCPATH": folder, "LC_ALL": "", "LC_CTYPE": name}
        usual = sandbox_postgres._environment
        patch.setattr(sandbox_postgres, "_environment", lambda: {**usual(), **spoken})
        with postgres_server(installation, settings={"lc_messages": name}, hba=HBA) as running:
            yield running


@pytest.fixture
def tenant(server: PostgresServer) -> Iterator[Tenant]:
    made = make_tenant(server)
    yield made
    server.sql(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(made.database)))


def verify(
    tenant: Tenant, user: str | None = None, password: str | None = None, dbname: str | None = None
) -> list[str]:
    credential = tenant.credential(user or tenant.base, password or tenant.password, dbname)
    return ENGINE.verify(tenant.reach, credential, tenant.users)


def test_a_wrong_password_is_one_in_every_language(tenant: Tenant) -> None:
    with pytest.raises(AuthenticationFailed, match="the password is wrong"):
        verify(tenant, password="wrong")
    with pytest.raises(AuthenticationFailed, match="the password is wrong"):
        ENGINE.open_admin(tenant.reach, dataclasses.replace(tenant.admin, password=SecretText("wrong")))
    assert "password authentication failed" not in tenant.server.log(), "it has to speak another language"
    assert verify(tenant) == []


def test_a_user_that_does_not_exist_is_rejected(tenant: Tenant) -> None:
    with pytest.raises(AuthenticationFailed, match="does not exist"):
        verify(tenant, "nobody_at_all")


def test_a_user_that_is_locked_is_rejected(tenant: Tenant) -> None:
    tenant.as_admin("ALTER ROLE {} NOLOGIN", tenant.base)
    with pytest.raises(AuthenticationFailed, match=f"ALTER ROLE {tenant.base} LOGIN"):
        verify(tenant)


def test_an_expired_password_is_rejected(tenant: Tenant) -> None:
    tenant.as_admin("ALTER ROLE {} VALID UNTIL '2001-01-01'", tenant.base)
    with pytest.raises(AuthenticationFailed, match=f"ALTER USER {tenant.base} VALID UNTIL 'infinity'"):
        verify(tenant)


def test_what_pg_hba_turns_away_has_proven_nothing(tenant: Tenant) -> None:
    tenant.as_admin("CREATE ROLE {} LOGIN", "turned_away")
    try:
        with pytest.raises(NotAdmitted, match="before the password was checked"):
            verify(tenant, "turned_away")
    finally:
        tenant.as_admin("DROP ROLE {}", "turned_away")


def test_a_password_that_another_service_checks_is_doubtful(tenant: Tenant) -> None:
    with pytest.raises(Unavailable, match="checked by another service"):
        verify(tenant, "in_ldap")


def test_a_database_that_does_not_exist_is_told(tenant: Tenant) -> None:
    (failed,) = verify(tenant, dbname="not_there")
    assert "check dbname in the secret value" in failed


def test_a_database_without_connect_is_told(tenant: Tenant) -> None:
    tenant.as_admin("ALTER DATABASE {} OWNER TO {}", tenant.database, tenant.superuser.username)
    tenant.as_admin("REVOKE CONNECT ON DATABASE {} FROM PUBLIC, {}", tenant.database, tenant.base)
    (failed,) = verify(tenant)
    assert f"GRANT CONNECT ON DATABASE … TO {tenant.base}" in failed
    tenant.as_admin("GRANT CONNECT ON DATABASE {} TO {}", tenant.database, tenant.base)
    assert verify(tenant) == []


def test_a_database_that_accepts_no_connections_is_told(tenant: Tenant) -> None:
    tenant.as_admin("ALTER DATABASE {} ALLOW_CONNECTIONS false", tenant.database)
    (failed,) = verify(tenant)
    assert "ALTER DATABASE … ALLOW_CONNECTIONS true" in failed
    tenant.as_admin("ALTER DATABASE {} ALLOW_CONNECTIONS true", tenant.database)
    assert verify(tenant) == []


def test_a_reached_limit_of_connections_is_told_with_whose_it_is(tenant: Tenant) -> None:
    tenant.as_admin("ALTER DATABASE {} CONNECTION LIMIT 0", tenant.database)
    with pytest.raises(Unavailable, match=r"ALTER DATABASE … CONNECTION LIMIT -1"):
        verify(tenant)
    tenant.as_admin("ALTER DATABASE {} CONNECTION LIMIT -1", tenant.database)
    tenant.as_admin("ALTER ROLE {} CONNECTION LIMIT 0", tenant.base)
    with pytest.raises(Unavailable, match=f"ALTER ROLE {tenant.base} CONNECTION LIMIT -1"):
        verify(tenant)
    tenant.as_admin("ALTER ROLE {} CONNECTION LIMIT -1", tenant.base)
    assert verify(tenant) == []


def test_a_statement_that_is_refused_is_told_in_its_words(tenant: Tenant) -> None:
    tenant.as_admin("ALTER ROLE {} NOCREATEROLE", tenant.admin.username)
    with tenant.open() as session, pytest.raises(Refused, match="CREATEROLE"):
        session.check_users(tenant.users)
    with tenant.open() as session, pytest.raises(Refused, match=f"could not lock user {tenant.base} out"):
        session.disable_login(tenant.base)
    failed = ENGINE.verify(tenant.reach, tenant.current, tenant.users, ["SELECT x FROM nowhere"])
    assert failed == ["verify query 1 failed: SQLSTATE 42P01 (UndefinedTable)"]


def test_a_database_without_an_encoding_sends_its_messages_as_they_are(tenant: Tenant) -> None:
    """From SQL_ASCII nothing is converted to UTF-8."""
    raw = f"{tenant.database}_raw"
    tenant.as_admin("CREATE DATABASE {} OWNER {} ENCODING 'SQL_ASCII' TEMPLATE template0", raw, tenant.base)
    credential = tenant.credential(tenant.base, tenant.password, raw)
    failed = ENGINE.verify(tenant.reach, credential, tenant.users, ["SELECT x FROM nowhere", "SELECT 1"])
    assert failed == ["verify query 1 failed: SQLSTATE 42P01 (UndefinedTable)"]
    tenant.as_admin("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
    tenant.as_admin("ALTER ROLE {} NOCREATEROLE", tenant.admin.username)
    admin = dataclasses.replace(tenant.admin, dbname=raw)
    try:
        with tenant.open(admin) as session, pytest.raises(Refused, match=f"could not lock user {tenant.base} out"):
            session.disable_login(tenant.base)
    finally:
        tenant.as_admin("GRANT CONNECT ON DATABASE postgres TO PUBLIC")
        tenant.as_admin("DROP DATABASE {} WITH (FORCE)", raw)


def test_users_take_turns(tenant: Tenant) -> None:
    tenant.set_clone("first")
    assert tenant.verify(tenant.clone, "first", "SELECT 1") == []
    with tenant.open() as session:
        session.set_password(tenant.users, tenant.credential(tenant.base, "second"), Rights.ENFORCE)
        session.disable_login(tenant.clone)
    assert tenant.verify(tenant.base, "second") == []
    with pytest.raises(AuthenticationFailed):
        tenant.verify(tenant.clone, "first")


def test_a_wrong_password_is_not_delivered(server: PostgresServer, live_at: LiveAt) -> None:
    life = live_at(server).deliver()
    held, value = life.held, life.place.store.get(life.secret_id).value
    wrong = json.dumps({**(value.fields or {}), "password": "wrong-Password-1"})
    life.place.client.put_secret_value(SecretId=str(life.secret_id), SecretString=wrong)
    life.ask().run()
    assert life.held == held
    assert "does not log in" in life.told[-1]


def test_a_rotation_that_fails_its_test_is_rolled_back(server: PostgresServer, live_at: LiveAt) -> None:
    life = live_at(server).deliver()

    def spoil() -> None:
        server.sql(SQL("ALTER ROLE {} PASSWORD 'other'").format(Identifier(life.clone)))

    life.ask().run({actions.TestPending: spoil})
    assert life.status.history[0].outcome is Outcome.ROLLED_BACK
    assert Stage.PENDING not in life.stages()
    life.rotate()


def test_a_server_that_shuts_down_is_not_ready(server: PostgresServer) -> None:
    tenant = make_tenant(server)
    (postmaster,) = [process.pid for process in server._processes]
    with contextlib.closing(server.connect()):
        os.kill(postmaster, signal.SIGTERM)  # waits for the session, and lets no other one in
        with pytest.raises(Unavailable, match="starting up, shutting down or recovering"):
            for _ in range(1000):
                ENGINE.verify(tenant.reach, tenant.current, Users(tenant.base))
    server.stop()
    server.start()
    assert verify(tenant) == []
