"""Applications at a MySQL server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sandbox.applications.base import ServerMissing
from sandbox.applications.mysqld import MysqldSide, settings_for
from sandbox.applications.versions import INSTALLED, Version
from sandbox.mysql import mysql_program, mysql_server
from sandbox.servers import ServerStartError
from sandbox.tls import CertificateAuthority


@contextlib.contextmanager
def running(authority: CertificateAuthority | None = None, version: Version = INSTALLED) -> Iterator[MysqldSide]:
    """A server for applications. Raises: ServerMissing."""
    try:
        mysql_program()
    except ServerStartError as error:
        raise ServerMissing(str(error)) from None
    with (
        mysql_server(authority=authority, settings=settings_for(version)) as server,
        contextlib.closing(MysqldSide("mysql", 32, server, keeps_two_itself=True)) as side,
    ):
        yield side
