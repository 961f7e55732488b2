"""What Redis' errors mean: wrong password, not now, or never.

An address's answers are never shown: the author of a secret could otherwise read ports of other hosts.
"""

from __future__ import annotations

from rotated_secrets.databases.base import AuthenticationFailed, DatabaseError, Refused, Server
from rotated_secrets.databases.failures import LOST, MANY_CONNECTIONS, could_not, no_login

NOT_NOW = frozenset(
    {
        "ASK",
        "BUSY",
        "CLUSTERDOWN",
        "LOADING",
        "MASTERDOWN",
        "MISCONF",
        "MOVED",
        "NOAUTH",
        "NOREPLICAS",
        "OOM",
        "READONLY",
        "TRYAGAIN",
        "UNKILLABLE",
    }
)
"""Codes of replies that say nothing about the command: the server or its cluster is not able to carry it out now."""


class ErrorReply(Exception):
    """The server's answer was an error. Its text may quote the command, so it is never shown."""

    @property
    def code(self) -> str:
        """The error's first word, ``ERR`` where it has no more specific one."""
        word = str(self).partition(" ")[0]
        return word if word.isascii() and word.isupper() and len(word) <= 20 else "ERR"


class Lost(Exception):
    """The connection is lost, or carried no valid answer. ``late`` if the time was over."""

    def __init__(self, why: str = "", late: bool = False) -> None:
        super().__init__(why)
        self.late = late


class TooLong(Exception):
    """The answer has more bytes than were asked for; the connection is gone."""


class CannotConnect(Exception):
    """There is no connection; the message completes a sentence about the server."""


def failed_login(error: Exception, server: Server, user: str) -> DatabaseError:
    """The meaning of a failed login."""
    where = f"user {user} at {server}"
    if isinstance(error, CannotConnect):
        return no_login(user, server, str(error))
    text = str(error)
    if isinstance(error, ErrorReply):
        if error.code == "WRONGPASS":
            return AuthenticationFailed(
                f"{where} does not log in: the password is wrong, or the user does not exist or is off"
            )
        # Before Redis 6 there was one password and no users.
        if "wrong number of arguments" in text.lower():
            return Refused(f"{server} has no users; Redis 6 or later is needed")
        if error.code == "DENIED":
            return no_login(
                user,
                server,
                "the server is in protected mode; give its user default a password, or set protected-mode no",
            )
    if "max number of clients" in text:
        return no_login(user, server, MANY_CONNECTIONS)
    return no_login(user, server, "the server does not answer, or not as Redis does")


def failed_command(error: Exception, server: Server, doing: str, needed: str = "") -> DatabaseError:
    """The meaning of a failed command; ``doing`` completes "could not …", ``needed`` are rules of a user."""
    if isinstance(error, ErrorReply):
        if error.code == "NOPERM":
            return could_not(doing, server, f"the admin may not; run: {needed}", later=False)
        if error.code not in NOT_NOW:
            return could_not(doing, server, f"the server refuses it ({error.code}); see its log", later=False)
        return could_not(doing, server, error.code, later=True)
    if isinstance(error, TooLong):
        return could_not(doing, server, "the answer is too long", later=False)
    return could_not(doing, server, LOST, later=True)
