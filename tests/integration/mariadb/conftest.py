"""One MariaDB for the whole run, and on it a tenant of each test's own."""

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
from rotated_secrets.databases.mariadb import MariaDbEngine
from rotated_secrets.databases.mysql.accounts import Account
from rotated_secrets.values import Credential, SecretText
from sandbox.mariadb import mariadb_server
from sandbox.mysqld import MysqldServer
from tests.support.documents import ROOT, blocks

ENGINE = MariaDbEngine()
DOCUMENT = ROOT / "docs" / "mariadb.md"


def documented(admin: str, password: str, schema: str) -> list[str]:
    """The statements that make an admin, as a reader of the documentation copies them."""
    text = blocks(DOCUMENT, "sql")[0].replace("rotator", f"`{admin}`").replace("…", password)
    return [each.strip() for each in text.replace("shop.", f"`{schema}`.").split(";") if each.strip()]


@pytest.fixture(scope="package")
def mariadb() -> Iterator[MysqldServer]:
    """Tests keep to users and schemas of their own."""
    with mariadb_server() as server:
        yield server


@dataclass(frozen=True)
class Tenant:
    """A base user with a schema of its own, and an admin that may change users and pass rights on this schema on."""

    server: MysqldServer
    users: Users
    password: str
    schema: str
    admin: Credential
    host: str = "%"

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

    def credential(self, user: str, password: str, **changes: Any) -> Credential:
        return Credential("mariadb", "localhost", user, SecretText(password), dbname=self.schema, **changes)

    @property
    def current(self) -> Credential:
        return self.credential(self.base, self.password)

    @property
    def superuser(self) -> Credential:
        return self.credential(self.server.admin_user, self.server.admin_password)

    def open(self, admin: Credential | None = None) -> AdminSession:
        return ENGINE.open_admin(self.reach, admin or self.admin)

    def set(
        self,
        user: str,
        password: str,
        rights: Rights = Rights.ENFORCE,
        *,
        admin: Credential | None = None,
        users: Users | None = None,
        keep: str | None = None,
    ) -> RightsReport:
        users = users or self.users
        with self.open(admin) as session:
            session.check_users(users)
            kept = None if keep is None else self.credential(user, keep)
            return session.set_password(users, self.credential(user, password), rights, kept)

    def set_clone(self, password: str = "clone-1", rights: Rights = Rights.ENFORCE) -> RightsReport:
        return self.set(self.clone, password, rights)

    def verify(self, user: str, password: str, *queries: str) -> list[str]:
        return ENGINE.verify(self.reach, self.credential(user, password), self.users, queries)

    def sql(self, *statements: str, **options: Any) -> list[tuple[Any, ...]]:
        """Statements of the server's own admin, in which {base}, {clone}, {admin} and {schema} stand for names."""
        names = {
            "base": Account(self.base, self.host).sql,
            "clone": Account(self.clone, self.host).sql,
            "admin": Account(self.admin.username).sql,
            "schema": f"`{self.schema}`",
        }
        return self.server.sql(*(statement.format(**names) for statement in statements), **options)

    def described(self, user: str) -> list[str]:
        """Everything that the server says of an account but its name, its ways to log in."""
        account = Account(user, self.host).sql
        told = [str(row[0]) for row in self.server.sql(f"SHOW GRANTS FOR {account}")]
        told += [str(row[0]) for row in self.server.sql(f"SHOW CREATE USER {account}")]
        return sorted(_without_identity(line, user) for line in told)


def _without_identity(line: str, user: str) -> str:
    text = r"'(?:[^'\\]|''|\\.)*'"
    way = rf"\w+(?: USING {text})?"
    line = re.sub(rf" IDENTIFIED (?:BY PASSWORD {text}|VIA {way}(?: OR {way})*)", "", line)
    return line.replace("`" + user.replace("`", "``") + "`", "`…`")


def reach(server: MysqldServer, **changes: Any) -> Server:
    found = Server("localhost", ("127.0.0.1",), server.port, Tls(TlsMode.VERIFY_FULL, server.ca_pem))
    return dataclasses.replace(found, **changes)


def make_tenant(server: MysqldServer, *, base: str | None = None, host: str = "%", terms: str = "") -> Tenant:
    mark = secrets.token_hex(4)
    base, schema, admin = base or f"app_{mark}", f"shop_{mark}", f"admin_{mark}"
    password, admin_password = secrets.token_urlsafe(12), secrets.token_urlsafe(12)
    tenant = Tenant(
        server,
        Users(base, base + "_clone"),
        password,
        schema,
        Credential("mariadb", "localhost", admin, SecretText(admin_password)),
        host,
    )
    tenant.sql(
        f"CREATE USER {{base}} IDENTIFIED BY '{password}' {terms}",
        "CREATE DATABASE {schema}",
        "GRANT ALL ON {schema}.* TO {base}",
        *documented(admin, admin_password, schema),
        logged=False,
    )
    return tenant


@pytest.fixture
def tenant(mariadb: MysqldServer) -> Iterator[Tenant]:
    made = make_tenant(mariadb)
    yield made
    made.sql("DROP DATABASE IF EXISTS {schema}")
