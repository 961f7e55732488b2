"""Build errors from failed logins and statements, in sentences that all engines share. Pure.

The engine passes the cause in its own words, never a text that a server sent: that could quote a statement with a
password in it.
"""

from __future__ import annotations

from rotated_secrets.databases.base import AuthenticationFailed, DatabaseError, Refused, Server, Unavailable
from rotated_secrets.values import Credential

LOST = "the connection was lost"
MANY_CONNECTIONS = "too many connections; one has to be free"
OTHER_NAME = "its TLS certificate is for another name than the host in the secret value"
NOT_TRUSTED = "its TLS certificate is not signed by a trusted authority; check the CA certificates"
NO_TLS = "it offers no TLS; turn TLS on there, or choose another database.tls.mode"


def could_not(doing: str, server: Server, why: str, *, later: bool) -> DatabaseError:
    """Report a failed statement. ``doing`` completes "could not …"; ``later``: the same statement may succeed later."""
    if later:
        return Unavailable(f"could not {doing} at {server}: {why}; it is tried again")
    return Refused(f"could not {doing} at {server}: {why}")


def with_white_space_told(error: AuthenticationFailed, credential: Credential) -> AuthenticationFailed:
    """Tell of white space around a name or password that was rejected: an editor or ``echo`` adds a line break."""
    texts = {"username": credential.username, "password": credential.password.reveal()}
    padded = [key for key, text in texts.items() if text != text.strip()]
    if not padded:
        return error
    return AuthenticationFailed(
        f"{error}; {' and '.join(padded)} in the secret value begins or ends with a space or line break: if that is "
        f"none of it, write the value without"
    )


def no_login(user: str, server: Server, why: str) -> Unavailable:
    """Report a failed login that says nothing about the password."""
    return Unavailable(f"user {user} at {server} could not log in: {why}")


def white_space_around(password: str) -> str:
    """Return what a message of a wrong password adds, if the password begins or ends with white space; else nothing.

    The line break at the end of a file gets into a value without being seen.
    """
    if password == password.strip():
        return ""
    return (
        "; the password in the secret value begins or ends with white space, such as the line break of a file: "
        "take it out of the value, unless it belongs to the password"
    )
