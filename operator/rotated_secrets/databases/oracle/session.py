"""One login to one Oracle database, with everything about the connection said explicitly.

Each session runs the driver on its own event loop, which connects to only one address, whatever a listener asks for,
checks the name in the certificate itself, and can be stopped at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import oracledb

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import Refused, Server
from rotated_secrets.databases.deadline import limited
from rotated_secrets.databases.failures import no_login
from rotated_secrets.databases.oracle.errors import failed_login, failed_statement
from rotated_secrets.values import Credential

T = TypeVar("T")
Row = tuple[Any, ...]

APPLICATION_NAME = "rotated-secrets"
CONNECT_SECONDS = 5.0
LOGIN_SECONDS = 10.0
STATEMENT_SECONDS = 15.0
CLOSE_SECONDS = 2.0
ADDRESSES_TRIED = 4

# It is written into a connect descriptor, which has its own grammar.
_SERVICE = re.compile(r"[A-Za-z0-9_$#.-]{1,128}\Z")


class Session:
    """An open connection. For one thread at a time."""

    def __init__(self, loop: OneAddressLoop, connection: oracledb.AsyncConnection, server: Server) -> None:
        self._loop = loop
        self._connection = connection
        self._server = server

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._loop.run(self._connection.close(), CLOSE_SECONDS)
        self._loop.end()

    def ask(
        self, doing: str, statement: str, *, first: bool = False, seconds: float = STATEMENT_SECONDS, **binds: object
    ) -> list[Row]:
        """Run one statement; returns its rows, or only the ``first``. ``doing`` completes "could not …".

        Raises:
            Unavailable, Refused: see :func:`failed_statement`.
        """
        return self._run(doing, self._execute(statement, binds, first=first), seconds)

    def call(self, doing: str, function: str, **arguments: object) -> int:
        """Call a function that answers with a number."""
        return self._run(doing, self._call(function, arguments), STATEMENT_SECONDS)

    def change_own_password(self, doing: str, old: str, new: str) -> None:
        """Change it: the new password is in no statement, and is encrypted with the session's key."""
        self._run(doing, self._connection.changepassword(old, new), STATEMENT_SECONDS)

    def _run(self, doing: str, work: Coroutine[Any, Any, T], seconds: float) -> T:
        try:
            return self._loop.run(work, seconds)
        except Exception as error:  # noqa: BLE001 - what a server can make the driver raise has no common class
            raise failed_statement(error, self._server, doing) from None

    async def _execute(self, statement: str, binds: dict[str, object], *, first: bool) -> list[Row]:
        with self._connection.cursor() as cursor:
            if first:
                cursor.arraysize = cursor.prefetchrows = 1
            await cursor.execute(statement, binds or None)
            if cursor.description is None:
                return []
            if first:
                row = await cursor.fetchone()
                return [] if row is None else [row]
            return list(await cursor.fetchall())

    async def _call(self, function: str, arguments: dict[str, object]) -> int:
        with self._connection.cursor() as cursor:
            return int(await cursor.callfunc(function, int, keyword_parameters=arguments))


def open_session(server: Server, credential: Credential) -> Session:
    """Log in, once, at the first address that can be connected to.

    Raises:
        AuthenticationFailed, Unavailable, DatabaseClosed (the password was accepted).
        Refused: dbname is missing, or is not the name of a service.
    """
    service = credential.dbname
    if not service:
        raise Refused("the secret value lacks dbname; write the name of the database's service (or its DB name) there")
    if not _SERVICE.match(service):
        raise Refused("dbname in the secret value is not the name of an Oracle service")
    user = credential.username.upper()
    for address in server.addresses[:ADDRESSES_TRIED]:
        loop = OneAddressLoop(server, address)
        try:
            connection = loop.run(_connect(server, credential, address, service), LOGIN_SECONDS)
        except BaseException as error:
            loop.end()
            if not isinstance(error, Exception):
                raise
            if loop.connected:
                raise failed_login(error, server, user) from None
            continue
        return Session(loop, connection, server)
    raise no_login(user, server, "the server cannot be reached")


async def _connect(server: Server, credential: Credential, address: str, service: str) -> oracledb.AsyncConnection:
    plain = server.tls.mode is TlsMode.DISABLE
    connection: oracledb.AsyncConnection = await oracledb.connect_async(
        user=credential.username.upper(),
        password=credential.password.reveal(),
        host=address,
        port=server.port,
        protocol="tcp" if plain else "tcps",
        service_name=service,
        # The loop decides what is trusted, and for which name.
        ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        ssl_server_dn_match=False,
        tcp_connect_timeout=CONNECT_SECONDS,
        retry_count=0,
        expire_time=1,
        stmtcachesize=0,
        disable_oob=True,
        program=APPLICATION_NAME,
        machine=APPLICATION_NAME,
        terminal=APPLICATION_NAME,
        osuser=APPLICATION_NAME,
    )
    return connection


class OneAddressLoop(asyncio.SelectorEventLoop):
    """An event loop for one connection: to this address, for this name, and nowhere else."""

    def __init__(self, server: Server, address: str) -> None:
        super().__init__()
        self._for_server = server
        self._only_address = address
        self._kept: list[asyncio.BaseTransport] = []
        self.connected = False

    def run(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """Run this to its end.

        Raises:
            TimeoutError: it took longer, and its connection was cut.
        """
        if self.is_closed():
            work.close()
            raise ConnectionError("closed")
        try:
            return self.run_until_complete(self._in_time(work, seconds))
        except TimeoutError:
            # The driver cannot continue what was interrupted.
            self.end()
            raise

    async def _in_time(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        task = asyncio.ensure_future(work)
        await asyncio.wait({task}, timeout=limited(seconds))
        if task.done():
            return task.result()
        # Not cancelled: the driver would ask the server to stop, and wait until it says that it has.
        self._cut()
        await asyncio.wait({asyncio.gather(task, return_exceptions=True)}, timeout=CLOSE_SECONDS)
        raise TimeoutError

    def _cut(self) -> None:
        for transport in self._kept:
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()

    def end(self) -> None:
        """Leave nothing open."""
        self._cut()
        if not self.is_closed():
            self.run_until_complete(asyncio.sleep(0))
            self.close()

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **more: Any) -> Any:
        if (host, port) != (self._only_address, self._for_server.port):
            raise ConnectionRefusedError("the listener sends on to another host or port, which is not followed")
        async with asyncio.timeout(CONNECT_SECONDS):
            made = await super().create_connection(protocol_factory, host, port, **more)
        self._kept.append(made[0])
        self.connected = True
        return made

    async def start_tls(self, transport: Any, protocol: Any, sslcontext: Any, **more: Any) -> Any:
        del sslcontext  # the driver's would look at no name
        more = {**more, "server_hostname": self._for_server.host, "ssl_handshake_timeout": CONNECT_SECONDS}
        secured = await super().start_tls(transport, protocol, _context(self._for_server), **more)
        if secured is not None:
            self._kept.append(secured)
        return secured


def _context(server: Server) -> ssl.SSLContext:
    """Built by hand: Python's default context obeys SSLKEYLOGFILE, SSL_CERT_FILE and SSL_CERT_DIR."""
    tls = server.tls
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = tls.mode is TlsMode.VERIFY_FULL
    if tls.ca_bundle is not None:
        context.load_verify_locations(cadata=tls.ca_bundle)
    elif tls.mode is TlsMode.REQUIRE:
        context.verify_mode = ssl.CERT_NONE
    else:
        paths = ssl.get_default_verify_paths()
        file, folder = Path(paths.openssl_cafile), Path(paths.openssl_capath)
        if file.is_file():
            context.load_verify_locations(cafile=file)
        if folder.is_dir():
            context.load_verify_locations(capath=folder)
    return context
