"""What errors of MySQL and MariaDB mean: wrong password, not now, or never.

Errors are identified by their number. A server's own words are never shown: they may quote a statement, or come from
another service whose port a secret's author wants to read. Only the name of a privilege is taken from them.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from types import MappingProxyType

from rotated_secrets.databases.base import AuthenticationFailed, DatabaseError, Server, Unavailable
from rotated_secrets.databases.base_classes import DatabaseClosed
from rotated_secrets.databases.failures import (
    LOST,
    MANY_CONNECTIONS,
    NOT_TRUSTED,
    OTHER_NAME,
    could_not,
    no_login,
)

HISTORY = frozenset({3638, 3639})
"""The account's PASSWORD HISTORY or PASSWORD REUSE INTERVAL forbids this password."""
CURRENT_PASSWORD_NEEDED = frozenset({3892, 13226})
POLICY = frozenset({1819})
"""A password validation component or plugin refuses this password."""
NO_SUCH_DATABASE = frozenset({1044, 1049})
NO_PRIVILEGE = frozenset({1044, 1045, 1142, 1143, 1227, 1370, 1403, 1410, 1698, 3619, 3879, 4009})
"""The session's user may not do this; some of them also say that there is no such user or object to it."""
GONE = frozenset({1049, 1054, 1146, 1305, 1356, 1449, 1959, 3523, 3929})
"""There is no such schema, column, table, routine, role or dynamic privilege (any more), as GRANT says it; or what a
view needs is gone: its tables, or its DEFINER."""
READ_ONLY_TRANSACTION = 1792
TOO_BIG = 1104
"""max_join_size forbids a SELECT."""
UNKNOWN_TO_CLIENT = 1251
TOOK_TOO_LONG = frozenset({3024, 1969, 1317})
"""max_execution_time, max_statement_time, and what became of a function that was waiting."""

# The server says these after it has checked the password (sql_authentication.cc, acl_authenticate).
_WRONG_PASSWORD = frozenset({1045, 1698})
_LOCKED = frozenset({3118, 4151})
_INIT_CONNECT = 1184
"""The answer to the first statement after a login, if init_connect failed (prepare_new_connection_state)."""
_EXPIRED = frozenset({1820, 1862})
"""MySQL says so instead of letting in, where it does; MariaDB lets in, and then takes nothing but a new password."""
_RENEWED = (
    "the password has expired (PASSWORD EXPIRE); a rotation with an admin secret sets another, or run: "
    "ALTER USER … IDENTIFIED BY '…'"
)

_NOT_NOW: Mapping[int, str] = MappingProxyType(
    {
        1040: MANY_CONNECTIONS,
        1203: "too many connections of this user; one has to be free",
        1226: "the user has used up one of its resource limits (MAX_CONNECTIONS_PER_HOUR and the like)",
        1129: "it blocks this host after failed connections; TRUNCATE performance_schema.host_cache, or FLUSH HOSTS",
        1130: "it lets no user in from this host; look at the users' host parts",
        1053: "it is shutting down",
        1152: "it ended the connection",
        _INIT_CONNECT: "it ended the connection; look at its init_connect",
        1205: "it waited too long for a lock",
        1213: "it had a deadlock",
        1158: "the connection was lost",
        1159: "the connection was lost",
        1160: "the connection was lost",
        1161: "the connection was lost",
        1021: "its disk is full",
        1037: "it is out of memory",
        1038: "it is out of memory",
        1041: "it is out of memory",
        1135: "it can't make a thread",
        1223: "a backup holds it (FLUSH TABLES WITH READ LOCK)",
        1290: (
            "it is read-only (a replica, or read_only and super_read_only are on), or runs with skip_grant_tables; "
            "name the writer"
        ),
        1317: "the statement was interrupted",
        1836: "it is read-only (a replica, or read_only and super_read_only are on); name the writer",
        1874: "it is read-only",
        1969: "it took too long",
        3024: "it took too long",
        1927: "the connection was killed",
        4031: "the session was idle for too long, and was ended",
        3032: "it is in offline mode",
        3100: "a plug-in of replication refuses the statement now",
        3101: "a plug-in of replication rolled the statement back",
        3159: "it wants TLS (require_secure_transport); check database.tls.mode",
        3168: "it is not available now",
        3572: "a lock is not available now",
        3955: "the user is locked for a while after failed logins (FAILED_LOGIN_ATTEMPTS)",
        1396: "a user was created or dropped meanwhile, or is not one that may be changed",
        1524: "the user's authentication plug-in is not loaded there",
        4150: (
            "it keeps the user out after wrong passwords (max_password_errors) until an administrator runs: "
            "FLUSH PRIVILEGES"
        ),
        UNKNOWN_TO_CLIENT: (
            "the user's authentication plug-in is one that this client does not know (MariaDB's ed25519 needs PyNaCl)"
        ),
    }
)
# SQLSTATE classes: connection, resources, system, and InnoDB's rollbacks.
_TEMPORARY_CLASSES = ("08", "53", "57", "58", "40")
_PRIVILEGE = re.compile(r"you need \(at least one of\) the ([A-Z_, ]{3,200}?) privilege", re.IGNORECASE)


class ServerError(Exception):
    """The server's answer to one statement. Its text is for :func:`reason` alone, and in no message."""

    def __init__(self, code: int, text: str = "", sqlstate: str | None = None) -> None:
        super().__init__(f"error {code}")
        self.code = code
        self.sqlstate = sqlstate
        self._text = text

    @property
    def privilege(self) -> str | None:
        """The privilege that the server says is missing, where it says so."""
        found = _PRIVILEGE.search(self._text)
        return found[1] if found else None


class ConnectionLost(Exception):
    """The connection ended, was cut, or carried something that is not of this protocol."""


def failed_login(error: ServerError, server: Server, user: str, *, certain: bool, hint: str = "") -> DatabaseError:
    """The meaning of an error that came instead of a login.

    ``certain``: the server had seen a proof of the password, on a connection that is as protected as it was to be.
    ``hint`` is what is odd about the password.
    """
    where = f"user {user} at {server}"
    if not certain and error.code not in _NOT_NOW:
        return no_login(
            user,
            server,
            f"turned away (error {error.code}) before the password was checked; "
            f"check database.tls.mode, and whether the server admits this host",
        )
    if certain and error.code == _INIT_CONNECT:
        return DatabaseClosed(
            f"{where} could not log in: the server's init_connect fails for this user; have it succeed, or leave it out"
        )
    if error.code in _LOCKED:
        return AuthenticationFailed(f"{where} does not log in: the user is locked (ACCOUNT LOCK)")
    if error.code in _EXPIRED:
        return AuthenticationFailed(f"{where} does not log in: {_RENEWED}")
    if error.code in _WRONG_PASSWORD:
        return AuthenticationFailed(
            f"{where} does not log in: the password is wrong, or there is no such user for this host, "
            f"or its REQUIRE asks for more TLS than database.tls.mode gives{hint}"
        )
    return no_login(user, server, _NOT_NOW.get(error.code, f"error {error.code}"))


def failed_handshake(error: BaseException | None, server: Server, user: str) -> Unavailable:
    """The meaning of a connection that failed before the login; ``error`` is the system's or the TLS library's."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if "match" in error.verify_message:
            return no_login(user, server, OTHER_NAME)
        if "expired" in error.verify_message:
            return no_login(user, server, "its TLS certificate has expired; renew it there")
        return no_login(user, server, NOT_TRUSTED)
    if isinstance(error, ssl.SSLError):
        return no_login(user, server, "TLS with it failed; check the CA certificates, and its TLS versions")
    return no_login(user, server, "the server cannot be reached, or does not answer as MySQL does")


def failed_statement(error: ServerError | ConnectionLost, server: Server, doing: str) -> DatabaseError:
    """The meaning of an error of a statement; ``doing`` completes "could not …"."""
    if isinstance(error, ConnectionLost):
        return could_not(doing, server, LOST, later=True)
    if error.code in _EXPIRED:
        return AuthenticationFailed(f"could not {doing} at {server}: {_RENEWED}")
    return could_not(doing, server, reason(error), later=is_temporary(error))


def reason(error: ServerError) -> str:
    """Describe the error of a statement, without any text of the statement."""
    if error.code in _NOT_NOW:
        return _NOT_NOW[error.code]
    if error.privilege:
        return f"it needs the privilege {error.privilege}"
    if error.code in NO_PRIVILEGE:
        return f"the admin lacks a privilege for it (error {error.code})"
    return condition(error)


def is_temporary(error: ServerError) -> bool:
    """Whether the same statement may succeed later."""
    return error.code in _NOT_NOW or (error.sqlstate or "").startswith(_TEMPORARY_CLASSES)


def condition(error: ServerError) -> str:
    """Number and SQLSTATE, which hold no value."""
    return f"error {error.code}" + (f" (SQLSTATE {error.sqlstate})" if error.sqlstate else "")
