"""Applications at a PostgreSQL server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg2
from psycopg2.sql import SQL, Composed, Identifier, Literal

from sandbox.applications.base import Account, LoginFailed, ServerMissing
from sandbox.applications.versions import INSTALLED, Version
from sandbox.postgres import LOCALE, PostgresServer, PostgresStartError, default_installation, postgres_server
from sandbox.postgres_installations import installation_of
from sandbox.tls import CertificateAuthority

SHARED = "stock"
"""A table in each database that is no application's; rights on it are given and taken."""

_USERS = "SELECT rolname FROM pg_roles WHERE starts_with(rolname, %(prefix)s)"
_ATTRIBUTES = """
SELECT 'super ' || rolsuper, 'creates roles ' || rolcreaterole, 'creates databases ' || rolcreatedb,
       'replicates ' || rolreplication, 'bypasses row security ' || rolbypassrls, 'logs in ' || rolcanlogin,
       'connections ' || rolconnlimit, 'valid until ' || COALESCE(rolvaliduntil::text, 'infinity')
FROM pg_roles WHERE rolname = %(user)s
"""
# Whoever has a role's rights owns what it owns: that is how a clone owns its base user's objects.
_RIGHTS = """
SELECT 'setting ' || setting || COALESCE(' in ' || d.datname, '')
FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase,
     unnest(s.setconfig) setting
WHERE r.rolname = %(user)s AND setting NOT LIKE 'role=%%'
UNION ALL
SELECT 'member of ' || rolname FROM pg_roles
WHERE pg_has_role(%(user)s, oid, 'USAGE') AND rolname <> ALL (%(alike)s)
UNION ALL
SELECT p || ' on ' || c.oid::regclass
FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p
WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND c.relnamespace NOT IN (
    'pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace)
  AND has_table_privilege(%(user)s, c.oid, p)
UNION ALL
SELECT 'owns ' || oid::regclass FROM pg_class
WHERE relkind IN ('r', 'v', 'm', 'p', 'f') AND pg_has_role(%(user)s, relowner, 'USAGE')
UNION ALL
SELECT p || ' on schema ' || nspname FROM pg_namespace, unnest(ARRAY['USAGE', 'CREATE']) p
WHERE has_schema_privilege(%(user)s, oid, p) AND nspname NOT LIKE 'pg\\_%%'
UNION ALL
SELECT p || ' on database ' || datname FROM pg_database, unnest(ARRAY['CONNECT', 'CREATE', 'TEMPORARY']) p
WHERE has_database_privilege(%(user)s, oid, p)
"""


class PostgresSide:
    """A :class:`~sandbox.applications.base.DatabaseSide`."""

    engine = "postgres"
    longest_name: int | None = 63
    lacking = "lacks CREATEROLE"
    keeps_two_itself = False
    query: str | None = f"SELECT count(*) FROM public.{SHARED}"

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._onlookers: dict[str, psycopg2.extensions.connection] = {}

    @property
    def product(self) -> str:
        return f"PostgreSQL {self.server.major}"

    @property
    def owner(self) -> Account:
        return Account(self.server.admin_user, self.server.admin_password)

    @property
    def host(self) -> str:
        return self.server.host

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def plain_port(self) -> int | None:
        return self.server.port

    @property
    def ca_pem(self) -> str | None:
        return self.server.ca_pem

    def value(self, account: Account) -> dict[str, Any]:
        database = {"dbname": account.database} if account.database else {}
        plain = {} if self.server.tls else {"ssl": False}
        return {"engine": self.engine, "username": account.user, "password": account.password, **database, **plain}

    def create_user(self, account: Account) -> None:
        self._create_role(account, "")
        if not self.server.sql("SELECT 1 FROM pg_database WHERE datname = %s", params=[account.database]):
            self.server.sql(_named("CREATE DATABASE {} OWNER {}", account.database, account.user))

    def create_object(self, account: Account) -> None:
        self.server.sql(
            _named("CREATE SCHEMA {} AUTHORIZATION {}", account.user, account.user),
            _named("CREATE TABLE {}.prices (price int)", account.user),
            _named("ALTER TABLE {}.prices OWNER TO {}", account.user, account.user),
            _named("CREATE TABLE IF NOT EXISTS public.{} ()", SHARED),
            dbname=account.database,
        )

    def create_admin(self, admin: Account, user: str) -> None:
        self._create_role(admin, "CREATEROLE")
        if self.server.major >= 16:
            options = "WITH ADMIN OPTION, INHERIT FALSE, SET FALSE"
            self.server.sql(_named(f"GRANT {{}} TO {{}} {options}", user, admin.user))

    def let_change_itself(self, account: Account) -> None:
        """Everybody may."""

    def create_bystander(self, account: Account) -> None:
        self._create_role(account, "")
        self.give(account)

    def give(self, account: Account) -> None:
        self.server.sql(
            _named("CREATE TABLE IF NOT EXISTS public.{} ()", SHARED),
            _named("GRANT SELECT ON public.{} TO {}", SHARED, account.user),
            dbname=account.database or "postgres",
        )

    def take(self, account: Account) -> None:
        self.server.sql(_named("REVOKE SELECT ON public.{} FROM {}", SHARED, account.user), dbname=account.database)

    def spoil(self, account: Account) -> None:
        self.server.sql(_named("ALTER ROLE {} PASSWORD NULL", account.user))

    def log_in(self, account: Account) -> None:
        with self._session(account) as cursor:
            cursor.execute("SELECT 1")

    def may(self, account: Account) -> bool:
        with self._session(account) as cursor:
            try:
                cursor.execute(_named("SELECT * FROM public.{}", SHARED))
            except psycopg2.errors.InsufficientPrivilege:
                return False
            return True

    def users(self, prefix: str) -> set[str]:
        rows = self._look(_USERS, {"prefix": prefix}, "postgres")
        return {name for (name,) in rows}

    def rights(self, account: Account) -> frozenset[str]:
        base = account.user.removesuffix("_clone")
        params = {"user": account.user, "alike": [base, f"{base}_clone"]}
        attributes = self._look(_ATTRIBUTES, params, account.database) or [("no such user",)]
        return frozenset((*attributes[0], *(right for (right,) in self._look(_RIGHTS, params, account.database))))

    def log(self) -> str:
        return self.server.log()

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()

    def expire_locks(self) -> None:
        """They end with their sessions."""

    def close(self) -> None:
        """End the onlooker's sessions."""
        while self._onlookers:
            self._onlookers.popitem()[1].close()

    def _look(self, query: str, params: Mapping[str, Any], database: str) -> list[tuple[Any, ...]]:
        """An onlooker looks often: its sessions stay, as long as the server does."""
        try:
            return self._ask(query, params, database)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            self.close()
            return self._ask(query, params, database)

    def _ask(self, query: str, params: Mapping[str, Any], database: str) -> list[tuple[Any, ...]]:
        if database not in self._onlookers:
            self._onlookers[database] = self.server.connect(dbname=database)
        with self._onlookers[database] as connection, connection.cursor() as cursor:
            cursor.execute(query, params)
            return cursor.fetchall()

    def _create_role(self, account: Account, attributes: str) -> None:
        self.server.sql(
            SQL(f"CREATE ROLE {{}} LOGIN {attributes} PASSWORD {{}}").format(
                Identifier(account.user), Literal(account.password)
            ),
            logged=False,
        )

    @contextlib.contextmanager
    def _session(self, account: Account) -> Iterator[psycopg2.extensions.cursor]:
        try:
            with (
                contextlib.closing(self.server.connect(account.user, account.password, account.database)) as connection,
                connection.cursor() as cursor,
            ):
                yield cursor
        except psycopg2.Error as error:
            raise LoginFailed(f"{account.user}: {error}".strip()) from None


@contextlib.contextmanager
def running(authority: CertificateAuthority | None = None, version: Version = INSTALLED) -> Iterator[PostgresSide]:
    """A server for applications. Raises: ServerMissing."""
    try:
        installation = installation_of(version.release) if version.release else default_installation()
    except PostgresStartError as error:
        raise ServerMissing(str(error)) from None
    with (
        postgres_server(installation, authority=authority, locale=version.language or LOCALE) as server,
        contextlib.closing(PostgresSide(server)) as side,
    ):
        yield side


def _named(statement: str, *names: str) -> Composed:
    """A statement with a name for each {}."""
    return SQL(statement).format(*map(Identifier, names))
