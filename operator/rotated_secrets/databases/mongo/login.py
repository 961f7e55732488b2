"""One login to one MongoDB server, with everything about the connection said explicitly.

Uses pymongo's connection, not its client: the client would look for other servers in its own threads, and follow them
to addresses that the operator has not checked.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from pymongo.auth_shared import _build_credentials_tuple
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.pool_options import PoolOptions
from pymongo.read_preferences import ReadPreference
from pymongo.saslprep import saslprep
from pymongo.synchronous.auth import authenticate
from pymongo.synchronous.pool import Connection, Pool

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import AuthenticationFailed, Refused, Server, Tls, Unavailable
from rotated_secrets.databases.deadline import cut_after
from rotated_secrets.databases.mongo.errors import failed_connection, failed_login
from rotated_secrets.values import Credential

APPLICATION_NAME = "rotated-secrets"
CONNECT_SECONDS = 5.0
STATEMENT_SECONDS = 15.0
LOGIN_SECONDS = 20.0
"""What all attempts of one login may take together."""
ADDRESSES_TRIED = 4
MOST_ITERATIONS = 1_000_000
"""Of the hash that a login computes. Servers ask for 15,000; a hostile server could ask for many more."""
LONGEST_ANSWER = 17 << 20
"""Bytes: the largest document, and what is around it."""

Document = dict[str, Any]

_DATABASE = re.compile(r'[^/\\. "$\x00]{1,63}\Z')


def authentication_database(credential: Credential, default: str | None) -> str:
    """The database that the user belongs to: ``authSource`` of the value, else ``default``, else admin.

    Raises:
        Refused: the users of that database have no passwords in MongoDB.
    """
    fields: Mapping[str, Any] = credential.value.fields or {} if credential.value else {}
    source = fields.get("authSource") or default or "admin"
    if source == "$external":
        raise Refused(
            f"user {credential.username} belongs to database $external: a certificate or directory knows it, "
            f"and MongoDB keeps no password that could be rotated"
        )
    if not isinstance(source, str) or not _DATABASE.match(source) or source == "local":
        raise Refused(f"authSource or dbname in the secret value of user {credential.username} is not a database name")
    return source


@dataclass(frozen=True)
class Greeting:
    """What a server says of itself before a login."""

    writable: bool
    sharded: bool
    """It routes to shards, and caches users for a while."""


class Login:
    """A connection that a user is logged in on."""

    def __init__(self, pool: Pool, connection: Connection, greeting: Greeting) -> None:
        # A connection knows its pool by a weak reference.
        self._pool = pool
        self._connection = connection
        self.greeting = greeting

    def command(self, database: str, command: Document, seconds: float = STATEMENT_SECONDS) -> Document:
        """The server's answer to one command.

        Raises:
            OperationFailure: the server's error.
            PyMongoError: there was no answer, or none that makes sense.
        """
        with _strange_bytes(), deadline(self._connection, seconds):
            return self._connection.command(
                database,
                command,
                read_preference=ReadPreference.PRIMARY if self.greeting.writable else ReadPreference.NEAREST,
                parse_write_concern_error=True,
                publish_events=False,
            )

    def server_time(self) -> datetime:
        """By the server's clock. Raises: see :meth:`command`."""
        now = self.command("admin", dict(self._connection.hello_cmd())).get("localTime")
        if not isinstance(now, datetime):
            raise PyMongoError("the server does not report its time")
        return now

    @property
    def connection_id(self) -> int | None:
        """Which of the server's connections this is."""
        return self._connection.server_connection_id

    def close(self) -> None:
        self._connection.close_conn(None)


def log_in(server: Server, credential: Credential, source: str, *, lagging: bool = False) -> Login:
    """Log in once, at an address that takes writes if there is one.

    ``lagging``: routers may not know the user's newest password yet.

    Raises:
        AuthenticationFailed, Unavailable
    """
    user = credential.username
    try:
        saslprep(credential.password.reveal())
    except ValueError:
        raise AuthenticationFailed(
            f"user {user} at {server} does not log in: the password in the secret value holds a character "
            f"that MongoDB does not allow; correct it"
        ) from None
    with contextlib.closing(_best(server, user)) as found:
        pool, connection = found.pool, found.connection
        greeting = found.greeting
        proof = _build_credentials_tuple("DEFAULT", source, user, credential.password.reveal(), {}, None)
        try:
            with _strange_bytes(), deadline(connection, LOGIN_SECONDS):
                authenticate(proof, cast(Connection, _Wary(connection)))
        except PyMongoError as error:
            certain = greeting.writable and not (greeting.sharded and lagging)
            raise failed_login(error, server, user, source, certain=certain) from None
        found.keep()
        return Login(pool, connection, greeting)


class _Found:
    """A connection before its login; closed unless it is kept."""

    def __init__(self, pool: Pool, connection: Connection, greeting: Greeting) -> None:
        self.pool, self.connection, self.greeting = pool, connection, greeting
        self._kept = False

    def keep(self) -> None:
        self._kept = True

    def close(self) -> None:
        if not self._kept:
            self.connection.close_conn(None)


def _best(server: Server, user: str) -> _Found:
    """A connection to the first address that takes writes, else to the first that answers."""
    end = time.monotonic() + LOGIN_SECONDS
    failure = Unavailable(f"host {server.host} has no address")
    standby: _Found | None = None
    for address in server.addresses[:ADDRESSES_TRIED]:
        if time.monotonic() > end:
            break
        try:
            with _strange_bytes():
                found = _connect(server, address)
        except PyMongoError as error:
            failure = failed_connection(error, server, user)
            continue
        if found.greeting.writable:
            if standby is not None:
                standby.close()
            return found
        if standby is None:
            standby = found
        else:
            found.close()
    if standby is None:
        raise failure from None
    return standby


def _connect(server: Server, address: str) -> _Found:
    options = PoolOptions(
        connect_timeout=CONNECT_SECONDS,
        socket_timeout=CONNECT_SECONDS,
        ssl_context=cast(Any, _context(server.tls, server.host)),
        tls_allow_invalid_hostnames=True,  # the context verifies the host's name, which pymongo does not know
        appname=APPLICATION_NAME,
    )
    pool = Pool((address, server.port), options)
    connection = pool.connect()
    try:
        # What it said it could send may be more than there is memory.
        connection.max_message_size = LONGEST_ANSWER
        connection.opts = PoolOptions(socket_timeout=STATEMENT_SECONDS)
        greeting = Greeting(bool(connection.is_writable), bool(connection.is_mongos))
    except BaseException:
        connection.close_conn(None)
        raise
    return _Found(pool, connection, greeting)


class _Wary:
    """A connection that limits how long the server can make the client compute."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.auth_ctx = None
        self.negotiated_mechs = None
        self.hello_cmd = connection.hello_cmd

    def command(self, database: str, command: Document, publish_events: bool = False) -> Document:
        answer = self._connection.command(database, command, publish_events=publish_events)
        for part in bytes(answer.get("payload", b"")).split(b","):
            if part.startswith(b"i=") and int(part[2:]) > MOST_ITERATIONS:
                raise OperationFailure("too many iterations")
        return answer


class _NamedContext(ssl.SSLContext):
    """Verifies the host's name, whatever the address is that was connected to."""

    name: str

    def wrap_socket(self, sock: socket.socket, *_: Any, **__: Any) -> ssl.SSLSocket:
        with deadline(sock, CONNECT_SECONDS):
            return super().wrap_socket(sock, server_hostname=self.name)


def _context(tls: Tls, host: str) -> ssl.SSLContext | None:
    if tls.mode is TlsMode.DISABLE:
        return None
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.name = host
    context.check_hostname = tls.mode is TlsMode.VERIFY_FULL
    if tls.ca_bundle is not None:
        # As libpq does: if a CA is given it is used, even in mode Require.
        context.load_verify_locations(cadata=tls.ca_bundle)
    elif tls.mode is TlsMode.REQUIRE:
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


@contextlib.contextmanager
def _strange_bytes() -> Iterator[None]:
    """Turn every other error into PyMongoError: a hostile server can make the driver fail in undocumented ways."""
    try:
        yield
    except PyMongoError:
        raise
    except Exception as error:
        raise PyMongoError("no answer that makes sense") from error


@contextlib.contextmanager
def deadline(connection: Connection | socket.socket, seconds: float) -> Iterator[None]:
    """Cut the connection when what happens inside takes longer.

    A server may be frozen, or hostile and send a byte now and then.
    """
    fileno = connection.fileno() if isinstance(connection, socket.socket) else connection.conn.sock.fileno()
    if fileno < 0:
        raise PyMongoError("the connection is closed")
    with socket.socket(fileno=os.dup(fileno)) as wire, cut_after(wire, seconds):
        yield
