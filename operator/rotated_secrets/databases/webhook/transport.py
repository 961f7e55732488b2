"""Send one POST over verified TLS to an address that was resolved before, within a fixed time.

Follows no redirect, keeps no cookie, uses no proxy, and passes on no message of other libraries: they quote requests.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from urllib3 import HTTPResponse
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import HTTPError, InvalidHeader
from urllib3.util import Retry

from rotated_secrets.databases.base import Server, Tls, Unavailable
from rotated_secrets.databases.deadline import cut_after
from rotated_secrets.databases.webhook.answers import Reply, TryAgain
from rotated_secrets.databases.webhook.receiver import Receiver

CONNECT_SECONDS = 5.0
ADDRESSES = 4
MOST_BYTES = 64 * 1024
"""Of an answer's body."""

_FAILURES = (OSError, HTTPError, http.client.HTTPException, ValueError)
# X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH (openssl/x509_vfy.h).
_ANOTHER_NAME = (62, 64)


def post(
    server: Server, receiver: Receiver, body: bytes, signed: Callable[[], Mapping[str, str]], *, until: float
) -> Reply:
    """Send it once. ``until`` is on the monotonic clock; ``signed`` makes the headers when the connection stands.

    Raises:
        Unavailable: the result is not known; TryAgain if the request may be sent again at once.
    """
    connection = _connected(server, until)
    cut = threading.Event()
    try:
        with _deadline(connection, until - time.monotonic(), cut):
            reply = _exchanged(connection, receiver, body, signed(), until)
        if not cut.is_set():
            return reply
        raise TimeoutError  # what was read is not all there was
    except _FAILURES:
        if cut.is_set() or time.monotonic() >= until:
            raise Unavailable(
                f"webhook {receiver} did not answer in time; it is not known whether it did anything"
            ) from None
        raise TryAgain(
            f"webhook {receiver} ended the connection, or does not answer as HTTP does; "
            "it is not known whether it did anything"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            connection.close()


def _exchanged(
    connection: HTTPSConnection, receiver: Receiver, body: bytes, signed: Mapping[str, str], until: float
) -> Reply:
    headers = {
        "Host": receiver.header,
        "User-Agent": "rotated-secrets",
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Connection": "close",
        **signed,
    }
    connection.timeout = max(until - time.monotonic(), 0.001)
    connection.request("POST", receiver.target, body, headers, preload_content=False, decode_content=False)
    answer = connection.getresponse()
    content = answer.read(MOST_BYTES + 1, decode_content=False)
    return Reply(answer.status, content[:MOST_BYTES], len(content) <= MOST_BYTES, _retry_after(answer))


def _connected(server: Server, until: float) -> HTTPSConnection:
    """A connection to the first address that answers, with the certificate verified against the name.

    Raises: Unavailable.
    """
    trust = _trust(server.tls)
    failure: Unavailable | None = None
    for address in server.addresses[:ADDRESSES]:
        left = min(CONNECT_SECONDS, until - time.monotonic())
        if left <= 0:
            break
        connection = HTTPSConnection(address, server.port, timeout=left, server_hostname=server.host, ssl_context=trust)
        try:
            connection.connect()
        except _FAILURES as error:
            connection.close()
            failure = _failed_connect(error, server)
        else:
            return connection
    raise failure or Unavailable(f"webhook {server} could not be reached in time")


def _trust(tls: Tls) -> ssl.SSLContext:
    """Verifies certificate and name, as a client's context does by itself, and logs no keys, whatever variables say."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.ca_bundle is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context
    try:
        context.load_verify_locations(cadata=tls.ca_bundle)
    except ssl.SSLError:
        raise Unavailable(
            "the CA certificates in database.webhook.caSecretName cannot be read; put PEM there"
        ) from None
    return context


def _failed_connect(error: Exception, server: Server) -> Unavailable:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _ANOTHER_NAME:
            return Unavailable(f"webhook {server}: its TLS certificate is for another name than the host in the URL")
        return Unavailable(
            f"webhook {server}: its TLS certificate is not signed by a trusted authority, or is out of date; "
            "check database.webhook.caSecretName"
        )
    if isinstance(error, ssl.SSLError):
        return Unavailable(f"webhook {server} does not answer as TLS 1.2 or later does")
    return TryAgain(f"webhook {server} cannot be reached")


@contextlib.contextmanager
def _deadline(connection: HTTPSConnection, seconds: float, cut: threading.Event) -> Iterator[None]:
    """Cut the connection when the block takes longer: a timeout of the socket starts again with every byte."""
    if connection.sock is None:
        raise OSError("not connected")
    with socket.socket(fileno=os.dup(connection.sock.fileno())) as wire, cut_after(wire, max(seconds, 0), cut):
        yield


def _retry_after(answer: HTTPResponse) -> float | None:
    """Source: RFC 9110, section 10.2.3: seconds, or a date."""
    try:
        return Retry().get_retry_after(answer)
    except (InvalidHeader, ValueError, OverflowError):
        return None
