"""What people are told about a PostgreSQL that does not let a rotation through: they do it, and the next one works."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.status import Outcome
from rotated_secrets.rotation.actions import Hold, Sleep, Waiting
from rotated_secrets.values import Credential, SecretId, Stage
from sandbox.applications.postgres import PostgresSide
from sandbox.packages import program_path
from sandbox.postgres import ADMIN_USER, Installation, PostgresServer, postgres_server
from sandbox.servers import as_account, free_port, server_directory, unprivileged_account, write_file
from sandbox.waiting import eventually
from tests.integration.postgres.conftest import LiveAt
from tests.support.life import DATABASE, Life

ADMINS = "hostssl postgres all 127.0.0.1/32 scram-sha-256"
"""Admins log in to database `postgres`."""


def told(life: Life) -> str:
    """What a person reads at the end of the last run, and in the history."""
    return " ".join((life.told[-1], *(str(entry.message) for entry in life.status.history[:1])))


STATEMENTS = (
    r"ALTER (?:ROLE|USER) \S+ VALID UNTIL 'infinity'",
    r"ALTER (?:ROLE|DATABASE) \S+ CONNECTION LIMIT -1",
    r"ALTER DATABASE \S+ ALLOW_CONNECTIONS true",
    r"GRANT CONNECT ON DATABASE \S+ TO [\w*]+",
    r"REVOKE \w+ FROM \w+(?: GRANTED BY \w+)?",
    r"GRANT \w+ TO \w+(?: WITH ADMIN OPTION)?",
)


def follow(life: Life, text: str) -> None:
    """Run the statements in a message, as the person who knows which user and which database it is about."""
    found = [statement for kind in STATEMENTS for statement in dict.fromkeys(re.findall(kind, text))]
    assert found, text
    assert isinstance(life.side, PostgresSide)
    for statement in found:
        life.side.server.sql(statement.replace("***", life.user).replace("…", DATABASE))


def ask(life: Life) -> Waiting:
    return life.ask().run()


def test_an_expired_password(postgres: PostgresServer, live_at: LiveAt) -> None:
    life = live_at(postgres).deliver()
    postgres.sql(f"ALTER ROLE {life.user} VALID UNTIL '2001-01-01'")
    assert isinstance(ask(life), Hold)
    follow(life, told(life))
    life.finish()


@pytest.mark.parametrize("rights", ["Report", "Ignore"])
def test_an_expired_password_of_a_clone_that_is_not_repaired(
    postgres: PostgresServer, live_at: LiveAt, rights: str
) -> None:
    life = live_at(postgres, spec={"rights": rights}).deliver()
    life.rotate()
    life.rotate()
    postgres.sql(f"ALTER ROLE {life.clone} VALID UNTIL '2001-01-01'")
    ask(life)
    assert life.status.history[0].outcome is not Outcome.SUCCEEDED
    follow(life, told(life))
    ask(life)
    life.finish()


def test_an_expired_password_of_a_clone_is_repaired(postgres: PostgresServer, live_at: LiveAt) -> None:
    life = live_at(postgres).deliver()
    life.rotate()
    life.rotate()
    postgres.sql(f"ALTER ROLE {life.clone} VALID UNTIL '2001-01-01'")
    life.rotate()


@pytest.mark.parametrize(
    "closed",
    [
        "ALTER DATABASE {database} ALLOW_CONNECTIONS false",
        "ALTER DATABASE {database} OWNER TO {owner}; REVOKE CONNECT ON DATABASE {database} FROM PUBLIC",
        "ALTER DATABASE {database} CONNECTION LIMIT 0",
        "ALTER ROLE {user} CONNECTION LIMIT 0",
    ],
)
def test_a_database_that_refuses(installation: Installation, live_at: LiveAt, closed: str) -> None:
    with postgres_server(installation) as server:
        life = live_at(server).deliver()
        for statement in closed.format(database=DATABASE, user=life.user, owner=server.admin_user).split("; "):
            server.sql(statement)
        assert not isinstance(ask(life), Sleep)
        follow(life, told(life))
        life.finish()


FOR_OTHERS = {
    "none": (),
    "ldap": ("hostssl all all 127.0.0.1/32 ldap ldapserver=127.0.0.1 ldapport=1 ldapprefix=cn=",),
    "trust": ("hostssl all all 127.0.0.1/32 trust",),
    "reject": ("hostssl all all 127.0.0.1/32 reject",),
}


@pytest.mark.parametrize("for_others", FOR_OTHERS.values(), ids=FOR_OTHERS)
def test_pg_hba_that_names_one_user(installation: Installation, live_at: LiveAt, for_others: Sequence[str]) -> None:
    """The clone's name is not the base user's. A plus sign in pg_hba.conf is for a role and its members."""
    if not installation.tls:
        pytest.skip("this build has no TLS")
    user = f"orders_{secrets.token_hex(4)}"
    lines = ["host all {admin} 127.0.0.1/32 scram-sha-256", ADMINS, f"hostssl all {user} 127.0.0.1/32 scram-sha-256"]
    lines += for_others
    with postgres_server(installation, hba=hba(lines)) as server:
        life = live_at(server, user=user).deliver()
        ask(life)
        assert life.status.history[0].outcome is Outcome.ROLLED_BACK
        assert Stage.PENDING not in life.stages(), "it would be tried for ever"
        assert life.logs_in(life.held)
        (name,) = set(re.findall(r"names (\+\w+)", told(life)))
        write_hba(server, hba([line.replace(f" {user} ", f" {name} ") for line in lines]))
        life.rotate()
        life.rotate()


@pytest.mark.parametrize("code", ["", "USING ERRCODE = '28000'", "USING ERRCODE = '42501'"])
def test_a_login_trigger_that_names_one_user(installation: Installation, live_at: LiveAt, code: str) -> None:
    if installation.major < 17:
        pytest.skip("login triggers came with PostgreSQL 17")
    body = "BEGIN IF SESSION_USER NOT IN ({}) THEN RAISE 'not you' {}; END IF; END"
    made = "CREATE OR REPLACE FUNCTION only_some() RETURNS event_trigger LANGUAGE plpgsql AS $body$ {} $body$"
    with postgres_server(installation) as server:
        life = live_at(server).deliver()
        names = f"'{ADMIN_USER}', '{life.user}'"
        server.sql(made.format(body.format(names, code)), dbname=DATABASE)
        server.sql("CREATE EVENT TRIGGER watch_logins ON login EXECUTE FUNCTION only_some()", dbname=DATABASE)
        ask(life)
        assert life.status.history[0].outcome is Outcome.ROLLED_BACK
        assert Stage.PENDING not in life.stages(), "it would be tried for ever"
        assert life.logs_in(life.held)
        assert "event trigger on login" in told(life)
        assert f"have it admit {life.clone}" in told(life).replace("***", life.clone)
        server.sql(made.format(body.format(f"{names}, '{life.clone}'", code)), dbname=DATABASE)
        life.rotate()
        life.rotate()


def hba(lines: Sequence[str]) -> list[str]:
    return [line.format(admin=ADMIN_USER) for line in lines]


def write_hba(server: PostgresServer, lines: Sequence[str]) -> None:
    write_file(server.data / "pg_hba.conf", "".join(f"{line}\n" for line in lines), server._account)
    server.sql("SELECT pg_reload_conf()")
    eventually(lambda: server.sql("SELECT count(*) FROM pg_hba_file_rules")[0][0] == len(lines), "it is read again")


@pytest.mark.parametrize("between", [False, True], ids=["itself", "by a role between"])
def test_a_base_user_that_is_a_member_of_its_clone(postgres: PostgresServer, live_at: LiveAt, between: bool) -> None:
    life = live_at(postgres).deliver()
    postgres.sql(f"CREATE ROLE {life.clone} LOGIN")
    through = f"between_{life.user}" if between else life.user
    if between:
        postgres.sql(f"CREATE ROLE {through}", f"GRANT {through} TO {life.user}")
    postgres.sql(f"GRANT {life.clone} TO {through}")
    ask(life)
    assert life.status.history[0].outcome is not Outcome.SUCCEEDED
    follow(life, life.status.history[0].message or "")
    if postgres.major >= 16:  # there the admin also has to administer a clone that it has not made
        ask(life)
        follow(life, life.status.history[0].message or "")
    ask(life)
    life.finish()


def test_a_line_break_at_the_end_of_a_password(postgres: PostgresServer, live_at: LiveAt) -> None:
    life = live_at(postgres, strategy=Strategy.SINGLE_USER)
    value = life.place.store.get(life.secret_id).value
    password = Credential.of(value).password.reveal()
    write(life, {**(value.fields or {}), "password": f"{password}\n"})
    assert "in the secret value begins or ends with a space or line break" in str(ask(life)), told(life)
    write(life, value.fields)
    life.finish()


def write(life: Life, fields: Any, secret_id: str | None = None) -> None:
    life.place.client.put_secret_value(SecretId=secret_id or str(life.secret_id), SecretString=json.dumps(dict(fields)))


@contextlib.contextmanager
def pgbouncer(server: PostgresServer, **settings: str) -> Iterator[int]:
    """PgBouncer in front of a server, with its own list of everybody's passwords; its port."""
    program = program_path("pgbouncer")
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no pgbouncer here: apt-get install pgbouncer")
    account, port = unprivileged_account("postgres"), free_port()
    with server_directory("pgbouncer", account) as directory:
        lines = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(port),
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": str(directory / "users.txt"),
            "auth_query": "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1",
            "auth_user": server.admin_user,
            "client_tls_sslmode": "require",
            "client_tls_cert_file": str(server.data / "server.crt"),
            "client_tls_key_file": str(server.data / "server.key"),
            "server_tls_sslmode": "require",
            **settings,
        }
        ini = "".join(f"{name} = {value}\n" for name, value in lines.items())
        databases = f"[databases]\n* = host=127.0.0.1 port={server.port}\n[pgbouncer]\n"
        write_file(directory / "users.txt", f'"{server.admin_user}" "{server.admin_password}"\n', account)
        write_file(directory / "pgbouncer.ini", databases + ini, account)
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [program, directory / "pgbouncer.ini"], stdout=log, stderr=log, cwd=directory, **as_account(account)
            )
        try:
            eventually(lambda: listens(port), "PgBouncer listens")
            yield port
        finally:
            process.terminate()
            process.wait(10)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.mark.parametrize("settings", [{}, {"ignore_startup_parameters": "options"}], ids=["as it is", "lenient"])
@pytest.mark.parametrize("admin", ["documented", None], ids=["two users", "one user"])
def test_pgbouncer_in_front_of_the_server(
    tls_installation: Installation, live_at: LiveAt, settings: dict[str, str], admin: str | None
) -> None:
    strategy = Strategy.ALTERNATING_USERS if admin else Strategy.SINGLE_USER
    with postgres_server(tls_installation) as server, pgbouncer(server, **settings) as port:
        life = live_at(server, strategy=strategy, admin=admin, value_keys={"port": port})
        life.run()
        ask(life)
        assert "write the server's own host and port into the secret value" in told(life)
        own = {"port": life.place.proxy.port}
        for secret_id in (str(life.secret_id), *([f"life/admin/{life.user}"] if admin else [])):
            fields = life.place.store.get(SecretId(secret_id)).value.fields
            write(life, {**(fields or {}), **own}, secret_id)
        life.finish()
