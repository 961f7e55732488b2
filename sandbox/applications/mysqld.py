"""Applications at a server of the MySQL family: tables named after their users, in schemas that they share.

What :mod:`mysql` and :mod:`mariadb` have in common.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from sandbox.applications.base import Account, LoginFailed
from sandbox.applications.versions import Version
from sandbox.mysqld import MysqldServer

SHARED = "stock"
"""A table in each schema that is no application's; the right to read it is given and taken."""
HOST = "127.%"
"""The host part of the applications' users."""
# What a crash of the process leaves of a password that was set just before; a crash of the machine is not played.
DURABLE = {"innodb-flush-log-at-trx-commit": "2"}

_TABLE_ACCESS_DENIED = 1142
_KEPT = "plugin, ssl_type, max_questions, max_updates, max_connections, max_user_connections"
_WAY = r"\w+(?: USING '[^']*')?"
_IDENTITY = re.compile(rf" IDENTIFIED (?:BY PASSWORD '[^']*'|VIA {_WAY}(?: OR {_WAY})*)")


@dataclass
class MysqldSide:
    """A :class:`~sandbox.applications.base.DatabaseSide`."""

    engine: str
    longest_name: int | None
    server: MysqldServer
    keeps_two_itself: bool
    lacking: str = "GRANT CREATE USER ON *.*"
    query: str | None = f"SELECT COUNT(*) FROM {SHARED}"
    _sessions: list[Connection[Cursor]] = field(default_factory=list)

    @property
    def product(self) -> str:
        return f"{self.server.program.kind} {self.server.version}"

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
        return {"engine": self.engine, "username": account.user, "password": account.password, **database}

    def create_user(self, account: Account) -> None:
        own = _name(account.database, account.user)
        self.do(
            f"CREATE USER {user_name(account)} IDENTIFIED BY %s",
            f"CREATE DATABASE IF NOT EXISTS {_name(account.database)}",
            f"CREATE TABLE IF NOT EXISTS {_name(account.database, SHARED)} (id int)",
            f"CREATE TABLE {own} (price int)",
            f"GRANT SELECT, INSERT ON {own} TO {user_name(account)}",
            password=account.password,
        )

    def create_object(self, account: Account) -> None:
        self.do(f"INSERT INTO {_name(account.database, account.user)} VALUES (1)")

    def create_admin(self, admin: Account, user: str) -> None:
        """It passes on what the user has, so it needs that itself."""
        schemas = self.look("SELECT table_schema FROM information_schema.tables WHERE table_name = %s", user)
        self.do(
            f"CREATE USER {user_name(admin)} IDENTIFIED BY %s",
            f"GRANT CREATE USER ON *.* TO {user_name(admin)}",
            f"GRANT SELECT ON mysql.* TO {user_name(admin)}",
            *(f"GRANT ALL ON {_name(schema)}.* TO {user_name(admin)} WITH GRANT OPTION" for (schema,) in schemas),
            password=admin.password,
        )

    def let_change_itself(self, account: Account) -> None:
        if self.keeps_two_itself:
            self.do(f"GRANT APPLICATION_PASSWORD_ADMIN ON *.* TO {user_name(account)}")

    def create_bystander(self, account: Account) -> None:
        self.do(f"CREATE USER {user_name(account)} IDENTIFIED BY %s", password=account.password)
        if account.database:
            self.give(account)

    def give(self, account: Account) -> None:
        self.do(f"GRANT SELECT ON {_name(account.database, SHARED)} TO {user_name(account)}")

    def take(self, account: Account) -> None:
        self.do(f"REVOKE SELECT ON {_name(account.database, SHARED)} FROM {user_name(account)}")

    def spoil(self, account: Account) -> None:
        """The first password; one that was kept beside it stays."""
        self.do(f"ALTER USER {user_name(account)} IDENTIFIED BY %s", password=secrets.token_urlsafe())

    def log_in(self, account: Account) -> None:
        with self._session(account) as cursor:
            cursor.execute("SELECT 1")

    def may(self, account: Account) -> bool:
        with self._session(account) as cursor:
            try:
                cursor.execute(f"SELECT * FROM {_name(account.database, SHARED)}")
            except pymysql.OperationalError as error:
                if error.args[0] != _TABLE_ACCESS_DENIED:
                    raise
                return False
            return True

    def users(self, prefix: str) -> set[str]:
        return {name for (name,) in self.look("SELECT user FROM mysql.user WHERE user LIKE %s", f"{prefix}%")}

    def rights(self, account: Account) -> frozenset[str]:
        kept = self.look(f"SELECT {_KEPT} FROM mysql.user WHERE user = %s AND host = %s", account.user, HOST)
        granted = [str(line) for (line,) in self.look(f"SHOW GRANTS FOR {user_name(account)}")]
        anonymous = (_IDENTITY.sub("", line).replace(f"TO `{account.user}`@", "TO …@") for line in granted)
        return frozenset((*anonymous, f"{_KEPT}: {kept}"))

    def log(self) -> str:
        return self.server.log() + self.server.binlog().decode(errors="replace")

    def close(self) -> None:
        """End the onlooker's session."""
        while self._sessions:
            self._sessions.pop().close()

    def kill(self) -> None:
        self.close()
        self.server.kill()

    def start(self) -> None:
        self.server.start()

    def expire_locks(self) -> None:
        """They end with their sessions."""

    def do(self, *statements: str, password: str | None = None) -> None:
        """Statements of the owner, in no log; the one with a %s gets the password."""
        with contextlib.closing(self.server.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION sql_log_off = 1, SESSION sql_log_bin = 0")
            for statement in statements:
                # Without arguments the driver leaves `%` alone.
                if password is not None and "%s" in statement:
                    cursor.execute(statement.replace(f"'{HOST}'", f"'{HOST.replace('%', '%%')}'"), (password,))
                else:
                    cursor.execute(statement)

    def look(self, query: str, *params: str) -> tuple[tuple[Any, ...], ...]:
        """An onlooker looks often: its session stays, until :meth:`close`."""
        if not self._sessions:
            self._sessions.append(self.server.connect())
        with self._sessions[0].cursor() as cursor:
            cursor.execute(query, params or None)
            return cursor.fetchall()

    @contextlib.contextmanager
    def _session(self, account: Account) -> Iterator[Cursor]:
        try:
            with (
                contextlib.closing(
                    self.server.connect(account.user, account.password, account.database or None)
                ) as connection,
                connection.cursor() as cursor,
            ):
                yield cursor
        except pymysql.Error as error:
            raise LoginFailed(f"{account.user}: {error}") from None


def settings_for(version: Version) -> dict[str, str]:
    """The server's, for applications."""
    language = {"lc-messages": version.language.partition(".")[0]} if version.language else {}
    return {**DURABLE, **language}


def user_name(account: Account) -> str:
    return f"{_name(account.user)}@'{HOST}'"


def _name(*parts: str) -> str:
    return ".".join("`" + part.replace("`", "``") + "`" for part in parts)
