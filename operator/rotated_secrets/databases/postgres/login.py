"""One login to one PostgreSQL server, with everything about the connection said explicitly.

Knows libpq. Nothing is left to its environment, to files in the home directory or to the server's defaults where they
could weaken a connection.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import AuthenticationFailed, Server, Tls, Unavailable
from rotated_secrets.databases.base_classes import database_shown
from rotated_secrets.databases.deadline import cut_after
from rotated_secrets.databases.postgres.errors import failed_login
from rotated_secrets.databases.postgres.libpq import Failure, NotConnected, connect
from rotated_secrets.databases.postgres.rights import SURROGATE
from rotated_secrets.values import Credential

APPLICATION_NAME = "rotated-secrets"
CONNECT_SECONDS = 5
STATEMENT_SECONDS = 15
LOCK_SECONDS = 5
ADDRESSES_TRIED = 4

TIMEOUTS: Mapping[str, str] = {
    "statement_timeout": str(STATEMENT_SECONDS * 1000),
    "lock_timeout": str(LOCK_SECONDS * 1000),
    "idle_in_transaction_session_timeout": str(STATEMENT_SECONDS * 1000),
}
_SSL_MODES = {
    TlsMode.DISABLE: "disable",
    TlsMode.REQUIRE: "require",
    TlsMode.VERIFY_CA: "verify-ca",
    TlsMode.VERIFY_FULL: "verify-full",
}


def log_in(
    server: Server, credential: Credential, database: str, settings: Mapping[str, str], *, says_28000: bool = False
) -> Connection:
    """Log in once. ``settings`` hold for the session from its start, whatever a database or user has set.

    ``says_28000``: see :func:`failed_login`.

    Raises:
        AuthenticationFailed, Unavailable, DatabaseClosed (the password was accepted), NotAdmitted.
    """
    if not server.addresses:
        raise Unavailable(f"host {server.host} has no address")
    if any(SURROGATE.search(text) for text in (credential.username, credential.password.reveal(), database)):
        raise AuthenticationFailed(
            f"user {credential.username!r} at {server} does not log in: username, password or dbname in the secret "
            f"value holds half a surrogate pair, which is no character; correct it"
        )
    verified = server.tls.mode.strength >= TlsMode.VERIFY_CA.strength
    failure = Failure()
    with _trusted(server.tls) as trust:
        for address in server.addresses[:ADDRESSES_TRIED]:
            try:
                return connect(
                    CONNECT_SECONDS,
                    # libpq verifies the certificate against `host` and connects to `hostaddr`: nothing is resolved.
                    host=server.host,
                    hostaddr=address,
                    port=server.port,
                    user=credential.username,
                    password=credential.password.reveal(),
                    dbname=database,
                    options=" ".join(f"-c {name}={value}" for name, value in settings.items()),
                    application_name=APPLICATION_NAME,
                    client_encoding="UTF8",
                    keepalives=1,
                    keepalives_idle=10,
                    keepalives_interval=3,
                    keepalives_count=3,
                    tcp_user_timeout=STATEMENT_SECONDS * 1000,
                    gssencmode="disable",
                    sslcertmode="disable",
                    target_session_attrs="any",
                    # A server that asks for nothing proves nothing, and one that isn't verified must not get the text.
                    require_auth="scram-sha-256,md5,password" if verified else "scram-sha-256,md5",
                    **trust,
                )
            except NotConnected as error:
                failure = error.failure
            if not failure.elsewhere:
                break
    shown = database_shown(database, credential)
    raise failed_login(failure, server, credential.username, shown, says_28000=says_28000)


@contextlib.contextmanager
def deadline(connection: Connection, seconds: float = STATEMENT_SECONDS + CONNECT_SECONDS) -> Iterator[None]:
    """Cut the connection when what happens inside takes longer.

    The server has its own timeouts, but it may be frozen, or hostile and never answer.
    """
    with socket.socket(fileno=os.dup(connection.fileno())) as wire, cut_after(wire, seconds):
        yield


@contextlib.contextmanager
def _trusted(tls: Tls) -> Iterator[dict[str, Any]]:
    """libpq's settings for this protection; the certificates to trust are a file as long as the block lasts."""
    mode = _SSL_MODES[tls.mode]
    if tls.mode is TlsMode.DISABLE:
        yield {"sslmode": mode}
    elif tls.ca_bundle is not None:
        # In memory: the process can write no file.
        with os.fdopen(os.memfd_create("ca.pem"), "w") as file:
            file.write(tls.ca_bundle)
            file.flush()
            yield {"sslmode": mode, "sslrootcert": f"/proc/self/fd/{file.fileno()}"}
    elif tls.mode is TlsMode.REQUIRE:
        yield {"sslmode": mode}
    else:
        # The driver's own OpenSSL may look in folders of the machine it was built on; Python's knows this one's.
        bundle = ssl.get_default_verify_paths().cafile
        # libpq takes "system" only where it also verifies the name.
        yield (
            {"sslmode": mode, "sslrootcert": bundle} if bundle else {"sslmode": "verify-full", "sslrootcert": "system"}
        )
