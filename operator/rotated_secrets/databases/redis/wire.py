"""One login to one Redis server, with everything about the connection said explicitly.

The only module that knows the driver, and it uses only its protocol: the driver's own connections would resolve names,
trust more certificates than asked for, and reconnect by themselves as another user. What the server sends is limited in
time and size, because the author of a secret may have chosen a hostile host.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from types import TracebackType
from typing import Any

from redis import RedisError, ResponseError
from redis._parsers import _RESP2Parser
from redis.connection import Connection

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import Refused, Server, Tls
from rotated_secrets.databases.deadline import cut_after, limited
from rotated_secrets.databases.failures import NOT_TRUSTED, OTHER_NAME
from rotated_secrets.databases.redis.errors import CannotConnect, ErrorReply, Lost, TooLong, failed_login
from rotated_secrets.values import Credential

CONNECT_SECONDS = 5.0
COMMAND_SECONDS = 15.0
ADDRESSES_TRIED = 4
MOST_BYTES = 64 << 20
"""Of one answer: a server may have a hundred thousand connections to list."""


def log_in(server: Server, credential: Credential, seconds: float = COMMAND_SECONDS) -> Wire:
    """Log in once, as a user and never as ``default`` by mistake; ``seconds`` bound the whole of it.

    Raises:
        AuthenticationFailed, Unavailable, Refused (an older server, or certificates that are none).
    """
    end = time.monotonic() + seconds
    try:
        wire = Wire(_Metered(_connected(server, end)))
    except CannotConnect as error:
        raise failed_login(error, server, credential.username) from None
    try:
        answer = wire.ask("AUTH", credential.username, credential.password.reveal(), seconds=end - time.monotonic())
        if answer != "OK":
            raise Lost("it does not answer as Redis does")
    except (ErrorReply, Lost, TooLong) as error:
        wire.close()
        raise failed_login(error, server, credential.username) from None
    except BaseException:
        wire.close()
        raise
    return wire


class Wire:
    """A connection that never reconnects: when it is lost, the caller has to log in again."""

    def __init__(self, metered: _Metered) -> None:
        self._metered = metered
        self._connection = _Once(metered)

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError, RedisError):
            self._connection.disconnect()  # type: ignore[no-untyped-call]
        self._metered.close()

    def ask(self, *words: str, seconds: float = COMMAND_SECONDS, most_bytes: int = MOST_BYTES) -> Any:
        """One command's answer: text, an integer, None, or a list of these.

        Raises:
            ErrorReply: the server said no.
            Lost, TooLong: the connection is gone.
        """
        self._metered.allow(seconds, most_bytes)
        try:
            self._connection.connect()  # type: ignore[no-untyped-call]
            self._connection.send_command(*words)  # type: ignore[no-untyped-call]
            return self._connection.read_response()
        except TooLong:
            raise
        # What is no protocol at all ends in all kinds of errors.
        except (RedisError, OSError, ValueError, RecursionError) as error:
            # The driver takes some replies for the end of the connection, and ends it.
            code = getattr(error, "status_code", None)
            if code or isinstance(error, ResponseError):
                raise ErrorReply(f"{code} {error}" if code else str(error)) from None
            raise Lost(late=time.monotonic() >= self._metered.end) from None


class _Metered:
    """A socket that takes no longer and receives no more than it was allowed to."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._bytes_left = 0
        self.end = 0.0

    def allow(self, seconds: float, most_bytes: int) -> None:
        self.end = time.monotonic() + limited(seconds)
        self._bytes_left = most_bytes

    def recv(self, size: int) -> bytes:
        self._hurry()
        received = self._wire.recv(size)
        self._bytes_left -= len(received)
        if self._bytes_left < 0:
            raise TooLong
        return received

    def sendall(self, data: bytes) -> None:
        self._hurry()
        self._wire.sendall(data)

    def shutdown(self, how: int) -> None:
        self._wire.shutdown(how)

    def close(self) -> None:
        self._wire.close()

    def _hurry(self) -> None:
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._wire.settimeout(left)


class _Once(Connection):
    """The driver's connection around a socket that is there already."""

    def __init__(self, metered: _Metered) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            protocol=2,
            parser_class=_RESP2Parser,
            driver_info=None,
            encoding="utf-8",
            # Patterns of keys may be any bytes, and go back as they came.
            encoding_errors="surrogateescape",
            decode_responses=True,
        )
        self._metered: _Metered | None = metered

    def _connect(self) -> _Metered:
        metered, self._metered = self._metered, None
        if metered is None:
            raise OSError("the connection was lost")
        return metered


def _connected(server: Server, end: float) -> socket.socket:
    context = _context(server.tls) if server.tls.mode is not TlsMode.DISABLE else None
    for address in server.addresses[:ADDRESSES_TRIED]:
        left = min(CONNECT_SECONDS, end - time.monotonic())
        if left <= 0:
            break
        try:
            plain = socket.create_connection((address, server.port), timeout=left)
        except OSError:
            continue
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return plain if context is None else _protected(plain, context, server.host)
    raise CannotConnect("it cannot be reached")


def _protected(plain: socket.socket, context: ssl.SSLContext, host: str) -> socket.socket:
    try:
        # The socket's own timeout is not looked at as long as there is something to read.
        with plain.dup() as wire, cut_after(wire, plain.gettimeout() or CONNECT_SECONDS):
            return context.wrap_socket(plain, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        plain.close()
        # OpenSSL's codes for a name and an address that don't match.
        if error.verify_code in (62, 64):
            raise CannotConnect(OTHER_NAME) from None
        raise CannotConnect(NOT_TRUSTED) from None
    except (OSError, ValueError):
        plain.close()
        raise CannotConnect(
            "no TLS connection could be made; check that this port speaks TLS and requires no client certificate "
            "(tls-auth-clients no), or choose another database.tls.mode"
        ) from None


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = tls.mode is TlsMode.VERIFY_FULL
    if tls.ca_bundle is not None:
        # As libpq does: if a CA is given it is used, even in mode Require.
        try:
            context.load_verify_locations(cadata=tls.ca_bundle)
        except (ssl.SSLError, ValueError):
            raise Refused("the CA certificates to trust are not PEM; correct them") from None
    elif tls.mode is TlsMode.REQUIRE:
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_default_certs()
    return context
