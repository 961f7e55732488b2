"""One application's user at a real server of any engine, the admin that may change it, and the server's owner.

Drives one engine of the product without the rest of it: no store, no plan. What differs between servers is here and in
:mod:`sandbox.applications`; what a test does with a tenant is the same for all.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rotated_secrets.api.rotation import Rights
from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import AdminSession, Engine, Server, Tls, Users
from rotated_secrets.databases.registry import engine_named
from rotated_secrets.values import Credential, SecretValue
from sandbox.applications.base import Account, DatabaseSide
from sandbox.applications.mongo import MongoSide
from sandbox.applications.mysqld import HOST, MysqldSide
from sandbox.applications.postgres import PostgresSide
from sandbox.applications.redis import RedisSide


@dataclass(frozen=True)
class Tenant:
    """A base user with a database of its own, and an admin with the documented privileges."""

    side: DatabaseSide
    account: Account
    admin: Account

    @property
    def engine(self) -> Engine:
        return engine_named(self.side.engine)

    @property
    def base(self) -> str:
        return self.account.user

    @property
    def users(self) -> Users:
        return Users(self.base, f"{self.base}_clone")

    @property
    def reach(self) -> Server:
        """Where the engine connects to: verified TLS wherever the server has it."""
        ca = self.side.ca_pem
        tls = Tls(TlsMode.VERIFY_FULL, ca) if ca else Tls(TlsMode.DISABLE)
        return Server("localhost", ("127.0.0.1",), self.side.port, tls)

    @property
    def clone(self) -> Account:
        """The clone with the password that :meth:`set_clone` gives it."""
        return Account(f"{self.base}_clone", "clone-Password-1", self.account.database)

    def with_password(self, password: str) -> Account:
        return Account(self.base, password, self.account.database)

    def credential(self, account: Account) -> Credential:
        where = {"host": "localhost", "port": self.side.port}
        return Credential.of(SecretValue.parse(json.dumps({**where, **self.side.value(account)})))

    # ---- the product's engine

    def verify(
        self, account: Account | None = None, queries: Sequence[str] = (), engine: Engine | None = None
    ) -> list[str]:
        """As the base user unless another account is given."""
        credential = self.credential(account or self.account)
        return (engine or self.engine).verify(self.reach, credential, self.users, queries)

    def open(self, account: Account | None = None, engine: Engine | None = None) -> AdminSession:
        """As the admin unless another account is given."""
        return (engine or self.engine).open_admin(self.reach, self.credential(account or self.admin))

    def set_clone(self, session: AdminSession) -> None:
        """As a rotation does: lock, check, set."""
        assert session.try_lock(self.base)
        session.check_users(self.users)
        session.set_password(self.users, self.credential(self.clone), Rights.ENFORCE)

    # ---- the server's owner and the application

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Statements of the server's owner in the tenant's database; the last one's rows where the engine has rows.

        ``{base}``, ``{clone}`` and ``{admin}`` stand for users, ``{database}`` for the database.
        """
        rows: list[tuple[Any, ...]] = []
        for statement in map(self._named, statements):
            rows = _run(self.side, statement, self.account.database)
        return rows

    @contextlib.contextmanager
    def connected(self, account: Account, database: str | None = None) -> Iterator[Any]:
        """The driver's connection of an application, in its own database unless another is given."""
        with contextlib.closing(_connect(self.side, account, database)) as connection:
            yield connection

    def _named(self, statement: str) -> str:
        for name, user in (("base", self.base), ("clone", self.clone.user), ("admin", self.admin.user)):
            written = f"`{user}`@'{HOST}'" if isinstance(self.side, MysqldSide) else user
            statement = statement.replace(f"{{{name}}}", written)
        return statement.replace("{database}", self.account.database)


@contextlib.contextmanager
def tenant_at(side: DatabaseSide) -> Iterator[Tenant]:
    """A tenant with names that no other has; its database is dropped at the end."""
    mark = secrets.token_hex(4)
    account = Account(f"app_{mark}", secrets.token_urlsafe(12), f"shop_{mark}")
    tenant = Tenant(side, account, Account(f"admin_{mark}", secrets.token_urlsafe(12)))
    side.create_user(account)
    side.create_admin(tenant.admin, account.user)
    if isinstance(side, MysqldSide):
        tenant.run("GRANT ALL ON {database}.* TO {base}")
    yield tenant
    if isinstance(side, PostgresSide):
        side.server.sql(f"DROP DATABASE {account.database} WITH (FORCE)")
    elif isinstance(side, MysqldSide):
        tenant.run("DROP DATABASE {database}")
    elif isinstance(side, MongoSide):
        tenant.run('{"dropDatabase": 1}')


def _run(side: DatabaseSide, statement: str, database: str) -> list[tuple[Any, ...]]:
    if isinstance(side, PostgresSide):
        return side.server.sql(statement, dbname=database, logged=False)
    if isinstance(side, MysqldSide):
        return side.server.sql(statement, dbname=database, logged=False)
    if isinstance(side, MongoSide):
        command = json.loads(statement)
        side.server.command(command, command.pop("$db", database))
        return []
    assert isinstance(side, RedisSide)
    side.server.command(*statement.split())
    return []


def _connect(side: DatabaseSide, account: Account, database: str | None) -> Any:
    within = account.database if database is None else database
    if isinstance(side, PostgresSide):
        return side.server.connect(account.user, account.password, within)
    if isinstance(side, MysqldSide):
        return side.server.connect(account.user, account.password, within or None)
    if isinstance(side, MongoSide):
        mongo = side.server.client(account.user, account.password, account.database)
        mongo.admin.command("ping")
        return mongo
    assert isinstance(side, RedisSide)
    redis = side.server.client(account.user, account.password, db=int(database or 0))
    redis.ping()
    return redis
