"""Applications at a MariaDB server."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Iterator

from sandbox.applications.base import Account, ServerMissing
from sandbox.applications.mysqld import MysqldSide, settings_for, user_name
from sandbox.applications.versions import INSTALLED, Version
from sandbox.mariadb import mariadb_program, mariadb_server
from sandbox.servers import ServerStartError
from sandbox.tls import CertificateAuthority


class MariaDbSide(MysqldSide):
    """Where a user may have several ways to log in, each written down as it is."""

    def users(self, prefix: str) -> set[str]:
        found = self.look("SELECT user FROM mysql.user WHERE user LIKE %s AND is_role = 'N'", f"{prefix}%")
        return {name for (name,) in found}

    def spoil(self, account: Account) -> None:
        ((shown,),) = self.look(f"SHOW CREATE USER {user_name(account)}")
        other = str(shown).replace(_hash_of(account.password), _hash_of(secrets.token_urlsafe()))
        self.do(other.replace("CREATE USER", "ALTER USER", 1))


@contextlib.contextmanager
def running(authority: CertificateAuthority | None = None, version: Version = INSTALLED) -> Iterator[MysqldSide]:
    """A server for applications. Raises: ServerMissing."""
    try:
        program = mariadb_program(version.release)
    except ServerStartError as error:
        raise ServerMissing(str(error)) from None
    with (
        mariadb_server(program, authority=authority, settings=settings_for(version)) as server,
        contextlib.closing(MariaDbSide("mariadb", 80, server, keeps_two_itself=False)) as side,
    ):
        yield side


def _hash_of(password: str) -> str:
    return f"*{hashlib.sha1(hashlib.sha1(password.encode()).digest()).hexdigest().upper()}"
