"""Every PostgreSQL that is installed here, and on it a tenant of each test's own."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from psycopg2.sql import SQL, Identifier, Literal

from rotated_secrets.api.rotation import Rights, Strategy
from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import AdminSession, RightsReport, Server, Tls, Users
from rotated_secrets.databases.postgres import PostgresEngine
from rotated_secrets.secretstores.aws import AwsSettings, AwsStores
from rotated_secrets.values import Credential, SecretText
from sandbox.applications.postgres import PostgresSide
from sandbox.database_proxy import database_proxy
from sandbox.postgres import Installation, PostgresServer, installations, postgres_server
from sandbox.secretsmanager import SecretsManager
from tests.support.life import Life, Place

ENGINE = PostgresEngine()
LiveAt = Callable[..., Life]


@pytest.fixture(scope="session", params=installations(), ids=str)
def installation(request: pytest.FixtureRequest) -> Installation:
    found: Installation = request.param
    return found


@pytest.fixture(scope="package")
def postgres(installation: Installation) -> Iterator[PostgresServer]:
    """One server of each version for the whole run; tests keep to users and databases of their own."""
    with postgres_server(installation) as server:
        yield server


@pytest.fixture(scope="package")
def tls_installation() -> Installation:
    for found in installations():
        if found.tls:
            return found
    pytest.skip("no PostgreSQL with TLS here")


def reach(server: PostgresServer, **changes: Any) -> Server:
    """Where the engine connects to: verified TLS wherever the build has it."""
    tls = Tls(TlsMode.VERIFY_FULL, server.ca_pem) if server.tls else Tls(TlsMode.DISABLE)
    return dataclasses.replace(Server("localhost", ("127.0.0.1",), server.port, tls), **changes)


@dataclass(frozen=True)
class Tenant:
    """A base user that owns a database, and an admin that is no superuser but may change that user."""

    server: PostgresServer
    users: Users
    password: str
    database: str
    admin: Credential
    superuser: Credential

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

    def credential(self, user: str, password: str, dbname: str | None = None) -> Credential:
        return Credential("postgres", "localhost", user, SecretText(password), dbname=dbname or self.database)

    @property
    def current(self) -> Credential:
        return self.credential(self.base, self.password)

    def open(self, admin: Credential | None = None) -> AdminSession:
        return ENGINE.open_admin(self.reach, admin or self.admin)

    def set_clone(
        self, password: str = "clone-1", rights: Rights = Rights.ENFORCE, admin: Credential | None = None
    ) -> RightsReport:
        with self.open(admin) as session:
            session.check_users(self.users)
            return session.set_password(self.users, self.credential(self.clone, password), rights)

    def verify(self, user: str, password: str, *queries: str) -> list[str]:
        return ENGINE.verify(self.reach, self.credential(user, password), self.users, queries)

    def as_admin(self, statement: str, *names: str, dbname: str | None = None) -> list[tuple[Any, ...]]:
        """A statement of the server's superuser; each {} is a name."""
        return self.server.sql(SQL(statement).format(*map(Identifier, names)), dbname=dbname or "postgres")

    def as_user(self, user: str, password: str, *statements: str | Any) -> list[tuple[Any, ...]]:
        return self.server.sql(*statements, user=user, password=password, dbname=self.database)

    def as_base(self, *statements: str | Any) -> list[tuple[Any, ...]]:
        return self.as_user(self.base, self.password, *statements)


def make_tenant(server: PostgresServer, *, base: str | None = None, database: str | None = None) -> Tenant:
    mark = secrets.token_hex(4)
    base, database, admin = base or f"app_{mark}", database or f"shop_{mark}", f"admin_{mark}"
    password, admin_password = secrets.token_urlsafe(12), secrets.token_urlsafe(12)
    statements = [
        SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(Identifier(base), Literal(password)),
        SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(Identifier(admin), Literal(admin_password)),
        # Copying files takes half the time of writing them to the log.
        SQL("CREATE DATABASE {} OWNER {}" + (" STRATEGY FILE_COPY" if server.major >= 15 else "")).format(
            Identifier(database), Identifier(base)
        ),
    ]
    if server.major >= 16:
        statements.append(SQL("GRANT {} TO {} WITH ADMIN OPTION").format(Identifier(base), Identifier(admin)))
    server.sql(*statements, logged=False)
    return Tenant(
        server,
        Users(base, base + "_clone"),
        password,
        database,
        Credential("postgres", "localhost", admin, SecretText(admin_password)),
        Credential("postgres", "localhost", server.admin_user, SecretText(server.admin_password)),
    )


@pytest.fixture
def tenant(postgres: PostgresServer) -> Iterator[Tenant]:
    made = make_tenant(postgres)
    yield made
    postgres.sql(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(made.database)))


@pytest.fixture
def live_at(running_store: SecretsManager) -> Iterator[LiveAt]:
    """Lives at a server of the test's own."""
    manager = running_store
    session = boto3.session.Session(manager.access_key_id, manager.secret_access_key, region_name=manager.region)
    settings = AwsSettings(manager.region, manager.endpoint_url, writes_per_second=1000)
    store = AwsStores(settings, session=session).at()
    with contextlib.ExitStack() as stack:

        def live(server: PostgresServer, strategy: Strategy = Strategy.ALTERNATING_USERS, **more: Any) -> Life:
            side = stack.enter_context(contextlib.closing(PostgresSide(server)))
            proxy = stack.enter_context(database_proxy(side.host, side.port))
            return Life(Place(side, proxy, store, manager.client()), strategy, **more)

        yield live
