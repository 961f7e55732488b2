"""What MongoDB's and pymongo's errors mean: wrong password, not now, or never.

Only error codes are used. A server's texts are never shown: they quote commands, and the author of a secret could
otherwise read ports of other hosts.
"""

from __future__ import annotations

import re
import ssl

from pymongo.errors import OperationFailure

from rotated_secrets.databases.base import AuthenticationFailed, DatabaseError, Server, Unavailable
from rotated_secrets.databases.failures import LOST, NOT_TRUSTED, OTHER_NAME, could_not, no_login

# Source of the codes: src/mongo/base/error_codes.yml of MongoDB's server.
UNAUTHORIZED = 13
AUTHENTICATION_FAILED = 18
TOOK_TOO_LONG = 50
DUPLICATE_KEY = 11000
USER_EXISTS = 51003
USER_NOT_FOUND = 11

_NOT_NOW = frozenset(
    {
        6,  # HostUnreachable
        7,  # HostNotFound
        24,  # LockTimeout
        46,  # LockBusy
        TOOK_TOO_LONG,
        64,  # WriteConcernTimeout
        79,  # UnknownReplWriteConcern
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        100,  # UnsatisfiableWriteConcern
        112,  # WriteConflict
        133,  # FailedToSatisfyReadPreference
        189,  # PrimarySteppedDown
        202,  # NetworkInterfaceExceededTimeLimit
        262,  # ExceededTimeLimit
        290,  # TransactionExceededLifetimeLimitSeconds
        317,  # ConnectionPoolExpired
        365,  # TemporarilyUnavailable
        9001,  # SocketException
        10058,
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11602,  # InterruptedDueToReplStateChange
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
        # Another session created or dropped the user after it was looked for.
        USER_EXISTS,
        USER_NOT_FOUND,
    }
)
_NAME_MISMATCH = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL."""


def failed_connection(error: BaseException, server: Server, user: str) -> Unavailable:
    """The meaning of an error before the login began."""
    return no_login(user, server, _kind(error))


def failed_login(error: BaseException, server: Server, user: str, source: str, *, certain: bool) -> DatabaseError:
    """The meaning of what went wrong while the server looked at the password.

    ``certain`` is False where the server may know an older password than the one that was set last.
    """
    where = f"user {user} of database {source} at {server}"
    if isinstance(error, OperationFailure) and error.code == AUTHENTICATION_FAILED:
        if certain:
            return AuthenticationFailed(
                f"{where} does not log in: the password is wrong, the user does not exist, or its authentication "
                f"restrictions do not admit this host; if it belongs to another database, add authSource to the value"
            )
        return Unavailable(
            f"{where} does not log in, at a server that may not know its newest password yet; it is tried again"
        )
    answered = isinstance(error, OperationFailure) and error.code is not None
    return no_login(f"{user} of database {source}", server, condition(error) if answered else _kind(error))


def failed_command(error: BaseException, server: Server, doing: str, by_hand: str = "") -> DatabaseError:
    """The meaning of an error of a command; ``doing`` completes "could not …".

    ``by_hand`` is the command as a person runs it who may do more than the session.
    """
    told = f"; run: {by_hand}" if by_hand and is_unauthorized(error) else ""
    return could_not(doing, server, f"{condition(error)}{told}", later=is_temporary(error))


def is_temporary(error: BaseException) -> bool:
    """Whether the same command may succeed later, because nothing says that it can't."""
    return not isinstance(error, OperationFailure) or error.code is None or error.code in _NOT_NOW


def is_unauthorized(error: BaseException) -> bool:
    return isinstance(error, OperationFailure) and error.code == UNAUTHORIZED


def is_unknown(error: BaseException) -> bool:
    """Whether the server does not know the command or a field of it, as far as codes show it."""
    return isinstance(error, OperationFailure) and not is_temporary(error) and not is_unauthorized(error)


def condition(error: BaseException) -> str:
    """The code and its name, which hold no value."""
    if not isinstance(error, OperationFailure) or error.code is None:
        return LOST
    name = str((error.details or {}).get("codeName", ""))
    shown = f" ({name})" if re.fullmatch("[A-Za-z0-9]{1,60}", name) else ""
    return f"code {error.code}{shown}"


def _kind(error: BaseException) -> str:
    causes = (error, error.__cause__, error.__context__)
    invalid = next((each for each in causes if isinstance(each, ssl.SSLCertVerificationError)), None)
    if invalid is not None and getattr(invalid, "verify_code", None) in _NAME_MISMATCH:
        return OTHER_NAME
    if invalid is not None:
        return NOT_TRUSTED
    if any(isinstance(each, ssl.SSLError) for each in causes):
        return "it offers no TLS, or none that is safe; turn TLS on there, or choose another database.tls.mode"
    return "the server cannot be reached, does not answer as MongoDB does, or requires TLS where none was asked for"
