"""One login to one server of MySQL or MariaDB, with everything about the connection said explicitly.

Knows the driver. Nothing is left to the environment, to option files or to the server's defaults where they could
weaken a connection, and nothing that a server sends is trusted to be short, in time or of the protocol.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.constants import CLIENT

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import AuthenticationFailed, Server, Tls
from rotated_secrets.databases.deadline import cut_after, judged_in_time
from rotated_secrets.databases.failures import NO_TLS, no_login, white_space_around
from rotated_secrets.databases.mysql.accounts import SURROGATE, literal
from rotated_secrets.databases.mysql.errors import (
    UNKNOWN_TO_CLIENT,
    ConnectionLost,
    ServerError,
    failed_handshake,
    failed_login,
    failed_statement,
)
from rotated_secrets.values import Credential

APPLICATION_NAME = "rotated-secrets"
CONNECT_SECONDS = 5
STATEMENT_SECONDS = 15
LOCK_SECONDS = 5
IDLE_SECONDS = 60
ADDRESSES_TRIED = 4
WAYS_TRIED = 8
ANSWER_BYTES = 4 * 1024 * 1024
"""The most that the answer to one statement may take."""
ROW_BYTES = 64 * 1024
"""The most that is read of a verify query's rows."""

Row = tuple[Any, ...]
Settings = Mapping[str, str | float]

# What the server or its administrator may have set otherwise, and on which our statements and their answers depend:
# how strings and names are quoted, in which language the name of a missing privilege comes, and how long is waited.
PINNED: Settings = MappingProxyType(
    {
        "sql_mode": "STRICT_TRANS_TABLES",
        "sql_quote_show_create": 1,
        "lc_messages": "en_US",
        "sql_select_limit": 2**64 - 1,
        # max_join_size would forbid reading the catalog.
        "sql_big_selects": 1,
        "lock_wait_timeout": LOCK_SECONDS,
        "innodb_lock_wait_timeout": LOCK_SECONDS,
        "wait_timeout": IDLE_SECONDS,
    }
)
_VERSION = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})")
# The driver raises more than the two kinds of error that it documents, if the server is not a MySQL server.
_CLIENT_ERRORS = range(2000, 3000)


class TooMuch(ConnectionLost):
    """More came than was asked for; the connection was cut."""


class _Connection(Connection):
    """The driver's connection, which reads no more than it was asked to, and knows how far its login came.

    Reaches into what the driver keeps for itself: it has no other place for any of this.
    """

    _secure: bool
    _result: Any
    server_version: str
    server_capabilities: int
    budget = ANSWER_BYTES
    greeted = False

    def _read_bytes(self, num_bytes: int) -> bytes:
        self.budget -= num_bytes
        if self.budget < 0:
            raise TooMuch("more was sent than was asked for")
        return bytes(super()._read_bytes(num_bytes))  # type: ignore[misc]

    def _request_authentication(self) -> None:
        self.greeted = True
        super()._request_authentication()  # type: ignore[misc]

    def _process_auth(self, plugin_name: bytes, auth_packet: Any, handler: Any = None) -> Any:
        """Answer for one way to log in after the other: an account of MariaDB may have several."""
        for _ in range(WAYS_TRIED):
            try:
                answer = super()._process_auth(plugin_name, auth_packet, handler)  # type: ignore[misc]
            except RuntimeError:
                # The driver lacks a library that the plug-in takes.
                raise ServerError(UNKNOWN_TO_CLIENT) from None
            if not answer.is_auth_switch_request():
                return answer
            answer.read_uint8()
            plugin_name, auth_packet = answer.read_string(), answer
            handler = self._get_auth_plugin_handler(plugin_name)  # type: ignore[attr-defined]
        return answer

    def throw_away(self, query: str) -> None:
        """Run a query, and keep no more than one of its rows at a time."""
        self.query(query, unbuffered=True)
        result = self._result
        try:
            while result.unbuffered_active:
                result._read_rowdata_packet_unbuffered()
        finally:
            # Else it would go on reading when it is deleted.
            result.unbuffered_active = False

    @property
    def password_seen(self) -> bool:
        """Whether the server itself, and no one on the way, had a proof of the password before it answered."""
        return self.greeted and (self._secure or not self.ssl)


class Session:
    """An open connection. A context manager: leaving it ends the session, and frees its locks."""

    def __init__(self, connection: _Connection, wire: socket.socket, server: Server, user: str) -> None:
        self._connection = connection
        self._wire = wire
        self.server = server
        self.user = user
        greeting = connection.server_version
        self.is_mariadb = "mariadb" in greeting.lower()
        # MariaDB's greeting may begin with a version that old replicas understand.
        found = _VERSION.search(greeting.removeprefix("5.5.5-"))
        self.version: tuple[int, ...] = tuple(map(int, found.groups())) if found else (0, 0, 0)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session at once, without waiting."""
        with contextlib.suppress(Exception):
            self._connection.close()
        self._wire.close()

    def ask(self, statement: str, seconds: float = STATEMENT_SECONDS + CONNECT_SECONDS) -> tuple[Row, ...]:
        """Send one statement as it is, and return its rows.

        Raises:
            ServerError, ConnectionLost: see :meth:`doing`.
        """
        self._connection.budget = ANSWER_BYTES
        with cut_after(self._wire, seconds), _driver_errors():
            cursor = self._connection.cursor()
            # Without arguments the driver leaves `%` alone.
            cursor.execute(statement)
            return tuple(cursor.fetchall())

    def throw_away(self, query: str, seconds: float) -> None:
        """Run a query, and drop its rows. Raises: as :meth:`ask`, and TooMuch."""
        self._connection.budget = ROW_BYTES
        with cut_after(self._wire, seconds), _driver_errors():
            self._connection.throw_away(query)

    def use(self, database: str) -> None:
        """Make a database the one that unqualified names are looked up in. Raises: as :meth:`ask`."""
        with cut_after(self._wire, STATEMENT_SECONDS), _driver_errors():
            self._connection.select_db(database)

    def pin(self, settings: Settings) -> None:
        """Set variables of this session. Raises: as :meth:`ask`."""
        values = (f"{name} = {literal(to) if isinstance(to, str) else to}" for name, to in settings.items())
        self.ask("SET SESSION " + ", ".join(values))

    def statement_timeout(self, seconds: float) -> Settings:
        """The variable that ends statements that take longer; MySQL's is for SELECT alone."""
        if self.is_mariadb:
            return {"max_statement_time": round(seconds, 3)}
        return {"max_execution_time": max(1, int(seconds * 1000))}

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Turn errors of statements into those of the protocol; ``what`` completes "could not …"."""
        try:
            yield
        except (ServerError, ConnectionLost) as error:
            raise failed_statement(error, self.server, what) from None


def log_in(server: Server, credential: Credential, settings: Settings | None = None) -> Session:
    """Log in once, without a database, and pin :data:`PINNED` and ``settings``.

    Raises:
        AuthenticationFailed: certain; see :func:`~rotated_secrets.databases.mysql.errors.failed_login`.
        Unavailable: everything else.
    """
    username, password = credential.username, credential.password.reveal()
    if not username or not password:
        raise AuthenticationFailed(
            f"user {username!r} at {server} does not log in: the secret value lacks username or password"
        )
    if SURROGATE.search(username) or SURROGATE.search(password):
        raise AuthenticationFailed(
            f"user {username!r} at {server} does not log in: username or password in the secret value holds half a "
            f"surrogate pair, which is no character; correct it"
        )
    try:
        connection = _prepared(server, username, password)
        wire = _reach(server)
    except OSError as error:
        raise failed_handshake(error, server, username) from None
    cut = wire.dup()
    try:
        with cut_after(cut, 2 * CONNECT_SECONDS):
            _shake_hands(connection, wire, server, username, white_space_around(password))
        session = Session(connection, cut, server, username)
        with session.doing(f"open a session of {username}"), judged_in_time():
            session.pin({**PINNED, **session.statement_timeout(STATEMENT_SECONDS), **(settings or {})})
            # The server's transaction_read_only is for sessions that say nothing; its variable has several names.
            session.ask("SET SESSION TRANSACTION READ WRITE")
    except BaseException:
        with contextlib.suppress(Exception):
            connection.close()
        wire.close()
        cut.close()
        raise
    return session


def _prepared(server: Server, username: str, password: str) -> _Connection:
    context = _context(server.tls)
    return _Connection(
        # The name that the certificate is verified for: what is connected to is the socket that is handed over.
        host=server.host,
        port=server.port,
        user=username,
        # The driver would write text as Latin-1.
        password=password.encode(),
        ssl=context,
        # Without a context the driver would try TLS, and go on without.
        ssl_disabled=context is None,
        charset="utf8mb4",
        collation="utf8mb4_bin",
        autocommit=True,
        local_infile=False,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=STATEMENT_SECONDS + CONNECT_SECONDS,
        write_timeout=CONNECT_SECONDS,
        program_name=APPLICATION_NAME,
        auth_plugin_map=_NO_TEXT if server.tls.mode.strength < TlsMode.VERIFY_CA.strength else None,
        defer_connect=True,
    )


def _shake_hands(connection: _Connection, wire: socket.socket, server: Server, username: str, hint: str) -> None:
    try:
        with _driver_errors():
            connection.connect(wire)
    except ServerError as error:
        raise failed_login(error, server, username, certain=connection.password_seen, hint=hint) from None
    except _TextAsked:
        raise no_login(
            username,
            server,
            "the server asks for the password in a way that would show it; verify its certificate (VerifyFull), or "
            "give the user another authentication plug-in",
        ) from None
    except ConnectionLost as error:
        if connection.greeted and connection.ssl and not connection.server_capabilities & CLIENT.SSL:
            raise no_login(username, server, NO_TLS) from None
        raise failed_handshake(error.__cause__, server, username) from None


class _TextAsked(Exception):
    """The server asked for the password as text, and must not get it."""


def _refuse(_connection: Connection[Any]) -> Any:
    raise _TextAsked


# Two that send the password as it is.
_NO_TEXT: dict[str, Callable[[Connection[Any]], Any]] = {"mysql_clear_password": _refuse, "dialog": _refuse}


@contextlib.contextmanager
def _driver_errors() -> Iterator[None]:
    """Turn the driver's errors into ours. Their texts and causes are dropped: they may hold a statement."""
    try:
        yield
    except (_TextAsked, ConnectionLost, ServerError):
        raise
    except pymysql.MySQLError as error:
        code, text = (*error.args, 0, "")[:2]
        if not isinstance(code, int) or code <= 0 or code in _CLIENT_ERRORS:
            raise ConnectionLost("the connection was lost") from getattr(error, "original_exception", None)
        raise ServerError(code, str(text), getattr(error, "sqlstate", None)) from None
    except OSError as error:
        raise ConnectionLost("the connection was lost") from error
    except Exception:  # noqa: BLE001 - what is not of the protocol makes the driver raise anything
        raise ConnectionLost("what was sent is not of this protocol") from None


def _reach(server: Server) -> socket.socket:
    """Connect to the first address that accepts: a name is never resolved again."""
    failed: OSError = OSError("the host has no address")
    for address in server.addresses[:ADDRESSES_TRIED]:
        try:
            wire = socket.create_connection((address, server.port), CONNECT_SECONDS)
        except OSError as error:
            failed = error
            continue
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return wire
    raise failed


def _context(tls: Tls) -> ssl.SSLContext | None:
    """What the connection is protected by. Built by hand: the library's default context obeys SSLKEYLOGFILE."""
    if tls.mode is TlsMode.DISABLE:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = tls.mode is TlsMode.VERIFY_FULL
    if tls.mode.strength < TlsMode.VERIFY_CA.strength:
        context.verify_mode = ssl.CERT_NONE
    elif tls.ca_bundle is not None:
        try:
            context.load_verify_locations(cadata=tls.ca_bundle)
        except ValueError:
            raise ssl.SSLError("the CA bundle holds no certificate") from None
    else:
        context.load_default_certs()
    return context
