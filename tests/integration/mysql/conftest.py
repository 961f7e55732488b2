"""One MySQL for the whole run, and on it a tenant of each test's own."""

from __future__ import annotations

import dataclasses
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import AdminSession, RightsReport, Server, Tls, Users
from rotated_secrets.databases.mysql import MySqlEngine
from rotated_secrets.values import Credential, SecretText
from sandbox.mysql import mysql_server
from sandbox.mysqld import MysqldServer
from tests.support.documents import ROOT, blocks

ENGINE = MySqlEngine()
HOST = "127.%"
"""The host part of a tenant's users: AWS's template knows none but "%"."""
QUICK = {"caching-sha2-password-digest-rounds": "5000", "log-bin-trust-function-creators": "ON"}
ADMIN = "\n".join(blocks(ROOT / "docs" / "mysql.md", "sql")[:1])
"""What the page says an admin needs."""


@pytest.fixture(scope="package")
def mysql() -> Iterator[MysqldServer]:
    """Tests keep to users and schemas of their own."""
    with mysql_server(settings={**QUICK, "partial-revokes": "ON"}) as server:
        yield server


@pytest.fixture(scope="package")
def another() -> Iterator[MysqldServer]:
    """Whose settings may be changed, and put back; schemas in grants are patterns there."""
    with mysql_server(settings=QUICK) as server:
        yield server


@dataclass(frozen=True)
class Tenant:
    """A base user with a schema of its own, and an admin with the privileges that the page names."""

    server: MysqldServer
    users: Users
    password: str
    schema: str
    admin: Credential
    host: str = HOST

    @property
    def reach(self) -> Server:
        return reach(self.server)

    @property
    def base(self) -> str:
        return self.users.base

    @property
    def clone(self) -> str:
        assert self.users.clone is not None
        return self.users.clone

    @property
    def current(self) -> Credential:
        return self.credential(self.base, self.password)

    @property
    def superuser(self) -> Credential:
        return self.credential(self.server.admin_user, self.server.admin_password)

    def credential(self, user: str, password: str, **changes: Any) -> Credential:
        return dataclasses.replace(
            Credential("mysql", "localhost", user, SecretText(password), dbname=self.schema), **changes
        )

    def open(self, admin: Credential | None = None) -> AdminSession:
        return ENGINE.open_admin(self.reach, admin or self.admin)

    def set(
        self,
        user: str,
        password: str,
        rights: Rights = Rights.ENFORCE,
        *,
        admin: Credential | None = None,
        keep: str | None = None,
        alone: bool = False,
    ) -> RightsReport:
        users = Users(self.base) if alone or keep else self.users
        with self.open(admin) as session:
            session.check_users(users)
            kept = None if keep is None else self.credential(user, keep)
            return session.set_password(users, self.credential(user, password), rights, kept)

    def set_clone(
        self, password: str = "clone-1", rights: Rights = Rights.ENFORCE, admin: Credential | None = None
    ) -> RightsReport:
        return self.set(self.clone, password, rights, admin=admin)

    def verify(self, user: str, password: str, *queries: str) -> list[str]:
        return ENGINE.verify(self.reach, self.credential(user, password), self.users, queries)

    def sql(self, *statements: str, **options: Any) -> list[tuple[Any, ...]]:
        """Statements of the server's own admin, in which {base}, {clone}, {admin} and {schema} stand for names."""
        return self.server.sql(*map(self.named, statements), logged=False, **options)

    def named(self, statement: str) -> str:
        for name, user in (("base", self.base), ("clone", self.clone)):
            statement = statement.replace(f"{{{name}}}", f"{quoted(user)}@'{self.host}'")
        statement = statement.replace("{admin}", f"'{self.admin.username}'@'%'")
        return statement.replace("{schema}", "`" + self.schema.replace("`", "``") + "`")

    def as_base(self, *statements: str) -> list[tuple[Any, ...]]:
        named = map(self.named, statements)
        return self.server.sql(*named, user=self.base, password=self.password, dbname=self.schema)

    def described(self, user: str) -> list[str]:
        """All that the server says of an account but its name, its password and our mark on it."""
        lines = self.sql(f"SHOW GRANTS FOR {quoted(user)}@'{self.host}'")
        lines += self.sql(f"SHOW CREATE USER {quoted(user)}@'{self.host}'")
        return sorted(_anonymous(str(line), user) for (line,) in lines)


def _anonymous(line: str, user: str) -> str:
    line = re.sub(r" AS '(?:[^'\\]|''|\\.)*'", "", line, flags=re.DOTALL)
    # A limit that was taken away is shown as none.
    line = re.sub(r" MAX_\w+ 0\b", "", line).replace(" WITH PASSWORD ", " PASSWORD ")
    line = re.sub(r"""(?:, )?"rotated-secrets": \{"clone-of": "(?:[^"\\]|\\+.)*"\}""", "", line).replace(
        " ATTRIBUTE '{}'", ""
    )
    return line.replace("`" + user.replace("`", "``") + "`", "`…`")


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def heard(server: MysqldServer) -> str:
    """Every statement and login so far; unlike the whole of its logs, it only ever gets longer at its end."""
    return (server.directory / "general.log").read_text(errors="replace")


def reach(server: MysqldServer, **changes: Any) -> Server:
    tls = Tls(TlsMode.VERIFY_FULL, server.ca_pem) if server.tls else Tls(TlsMode.DISABLE)
    return dataclasses.replace(Server("localhost", ("127.0.0.1",), server.port, tls), **changes)


def make_tenant(
    server: MysqldServer, *, base: str | None = None, schema: str | None = None, plugin: str = "caching_sha2_password"
) -> Tenant:
    mark = secrets.token_hex(4)
    admin, admin_password, password = f"admin_{mark}", secrets.token_urlsafe(12), secrets.token_urlsafe(12)
    base, schema = base or f"app_{mark}", schema or f"shop_{mark}"
    tenant = Tenant(
        server,
        Users(base, base + "_clone"),
        password,
        schema,
        Credential("mysql", "localhost", admin, SecretText(admin_password)),
    )
    tenant.sql(
        "CREATE DATABASE {schema}",
        f"CREATE USER {{base}} IDENTIFIED WITH {plugin} BY '{password}'",
        "GRANT ALL ON {schema}.* TO {base}",
    )
    written = ADMIN.replace("rotator", "{admin}").replace("…", admin_password).replace("shop.", "{schema}.")
    if not server.tls:
        written = written.replace(" REQUIRE SSL", "")
    tenant.sql(*filter(str.strip, written.split(";\n")))
    return tenant


@pytest.fixture
def tenant(mysql: MysqldServer) -> Iterator[Tenant]:
    made = make_tenant(mysql)
    yield made
    made.sql("DROP DATABASE IF EXISTS {schema}")
