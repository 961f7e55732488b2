"""One login to one SQL Server, with everything about the connection said explicitly.

Uses the driver below its public interface, which would verify only a part of a certificate, and follow a server that
redirects it to any other host.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import uuid
from dataclasses import dataclass
from typing import Any

from pytds import lcid, row_strategies, tds_base
from pytds.connection import NonMarsConnection
from pytds.tds_socket import _TdsSocket

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import Refused, Server
from rotated_secrets.databases.base_classes import database_shown
from rotated_secrets.databases.deadline import cut_after, judged_in_time
from rotated_secrets.databases.failures import no_login
from rotated_secrets.databases.sqlserver.errors import failed_login, failed_statement
from rotated_secrets.databases.sqlserver.trust import context_for
from rotated_secrets.values import Credential

APPLICATION_NAME = "rotated-secrets"
CONNECT_SECONDS = 5.0
LOGIN_SECONDS = 10.0
STATEMENT_SECONDS = 15.0
ADDRESSES_TRIED = 4
DEFAULT_DATABASE = "master"
"""As in AWS's rotation template."""

# The driver logs the beginning of every statement, and with it passwords.
logging.getLogger("pytds").setLevel(logging.WARNING)

_KIND = "SELECT authenticating_database_id FROM sys.dm_exec_sessions WHERE session_id = @@SPID"
_MASTER_ID = 1

_PINNED = ("SET XACT_ABORT ON", "SET LOCK_TIMEOUT 5000", "SET QUOTED_IDENTIFIER ON", "SET NOCOUNT ON")


class Session:
    """An open connection. Every statement commits by itself unless a transaction is begun."""

    def __init__(self, connection: Any, wire: socket.socket, server: Server) -> None:
        self._connection = connection
        self._wire = wire
        self._server = server

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._connection.close()
        self._wire.close()

    def ask(
        self, doing: str, statement: str, *arguments: object, seconds: float = STATEMENT_SECONDS
    ) -> list[tuple[Any, ...]]:
        """Run one statement; returns its rows, if it has any. ``doing`` completes "could not …".

        Raises:
            Unavailable, Refused: see :func:`failed_statement`.
        """
        try:
            with cut_after(self._wire, seconds), self._connection.cursor() as cursor:
                cursor.execute(statement, arguments or None)
                return list(cursor.fetchall()) if cursor.description else []
        except Exception as error:  # noqa: BLE001 - what a server can make the driver raise has no common class
            raise failed_statement(_number(error), self._server, doing) from None


@dataclass(frozen=True)
class Proven:
    """Which kind of user has logged in: a login of the server, or the user of one contained database."""

    database: str | None
    """The contained database; None for a login of the server."""


def proven_by(session: Session, database: str) -> Proven:
    """Return whose password the server accepted, which only the session itself can show."""
    found = session.ask("look who has logged in", _KIND)
    return Proven(None if found == [(_MASTER_ID,)] else database)


def prove(server: Server, credential: Credential) -> Proven:
    """Log in, look, and leave.

    Raises:
        AuthenticationFailed, Unavailable, Refused: see :func:`open_session`.
    """
    database = credential.dbname or DEFAULT_DATABASE
    with contextlib.closing(open_session(server, credential, database)) as session:
        return proven_by(session, database)


def open_session(server: Server, credential: Credential, database: str) -> Session:
    """Log in, once, at the first address that can be connected to.

    Raises:
        AuthenticationFailed, Unavailable, DatabaseClosed (the password was accepted).
        Refused: the server sends on to another.
    """
    login = _login(server, credential, database)
    wire = _connect(server, credential.username)
    try:
        tds = _TdsSocket(sock=wire, login=login, row_strategy=row_strategies.tuple_row_strategy, autocommit=True)
        route = _log_in(tds, wire, server, credential.username, database_shown(database, credential))
        if route is not None:
            raise Refused(
                f"server {server} sends user {credential.username} to another server, which is not followed; write "
                f"that server's host into the secret value"
            )
        wire.settimeout(STATEMENT_SECONDS)
        session = Session(NonMarsConnection(pooling=False, key=None, tds_socket=tds), wire, server)
        with judged_in_time():
            for statement in _PINNED:
                session.ask("open the session", statement)
    except BaseException:
        wire.close()
        raise
    return session


def _log_in(tds: Any, wire: socket.socket, server: Server, user: str, database: str) -> Any:
    try:
        with cut_after(wire, LOGIN_SECONDS):
            return tds.login()
    except Exception:  # noqa: BLE001 - as above
        numbers = [message["msgno"] for message in tds.main_session.messages]
        raise failed_login(numbers, server, user, database) from None


def _login(server: Server, credential: Credential, database: str) -> Any:
    login = tds_base._TdsLogin()
    login.client_host_name = login.app_name = login.library = APPLICATION_NAME
    login.server_name = server.host
    login.user_name = credential.username
    login.password = credential.password.reveal()
    login.database = database
    login.client_lcid = lcid.LANGID_ENGLISH_US
    login.client_id = uuid.UUID(int=0).node
    login.option_flag2 = tds_base.TDS_ODBC_ON
    login.connect_timeout = LOGIN_SECONDS
    login.query_timeout = STATEMENT_SECONDS
    login.bytes_to_unicode = True
    # The context looks at the name itself.
    login.validate_host = False
    if server.tls.mode is TlsMode.DISABLE:
        login.enc_flag = tds_base.PreLoginEnc.ENCRYPT_NOT_SUP
    else:
        # The whole session: with less the driver would go back to plaintext after the login.
        login.enc_flag = tds_base.PreLoginEnc.ENCRYPT_ON
        login.tls_ctx = context_for(server)
    return login


def _connect(server: Server, user: str) -> socket.socket:
    for address in server.addresses[:ADDRESSES_TRIED]:
        try:
            wire = socket.create_connection((address, server.port), CONNECT_SECONDS)
        except OSError:
            continue
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        wire.settimeout(CONNECT_SECONDS)
        return wire
    raise no_login(user, server, "the server cannot be reached")


def _number(error: Exception) -> int:
    """The number of the error that the server sent; 0 where it sent none."""
    return int(getattr(error, "msg_no", 0) or 0)
