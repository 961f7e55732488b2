"""What a database does for a rotation, and the ways in which it can say no.

Knows nothing of secret stores, Kubernetes or the order of the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from rotated_secrets.api.rotation import Rights, Strategy
from rotated_secrets.api.spec import TlsMode
from rotated_secrets.values import Credential


class DatabaseError(Exception):
    """A database said no, or nothing; the message names user, server, cause and next step, never a password."""


class AuthenticationFailed(DatabaseError):
    """The server looked at this username and password and said no. Certain: a doubtful case is Unavailable."""


class Unavailable(DatabaseError):
    """The server could not be reached or is not able to answer now: try again later."""


class NotAdmitted(Unavailable):
    """The server does not let this user in from here, whatever its password: it has not looked at that."""


class Refused(DatabaseError):
    """Trying again will not help: a privilege is missing, a name is too long, a user is not what it should be."""


@dataclass(frozen=True)
class Tls:
    """Protection of one connection. It is never weakened by itself."""

    mode: TlsMode = TlsMode.VERIFY_FULL
    ca_bundle: str | None = None
    """PEM text of the certificates to trust; None trusts the system's."""


@dataclass(frozen=True)
class Server:
    """Where to connect: the name to verify, and the addresses it was resolved to, once, by the guard of hosts."""

    host: str
    """Without the dot that may end a DNS name: certificates never have it, and most TLS libraries compare texts."""
    addresses: tuple[str, ...]
    port: int
    tls: Tls
    others: tuple[Server, ...] = ()
    """More servers, each with users of its own that have to be the same, where the engine :class:`NamesHosts`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", self.host.removesuffix("."))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Users:
    """The two users that a credential alternates between; ``clone`` is None where it has one user alone."""

    base: str
    clone: str | None = None

    def alternate(self, user: str) -> str:
        """The user that is not ``user``."""
        return self.base if user == self.clone or self.clone is None else self.clone


@dataclass(frozen=True)
class PasswordLimits:
    """What an engine takes as a password, beside what the resource asks for."""

    longest: int | None = None
    """Most characters."""
    shortest: int = 0
    """Least characters."""
    excluded: str = ""
    """Characters that must not occur."""
    demanded: tuple[tuple[str, str], ...] = ()
    """Kinds of characters of which each must occur: what people call them ("a digit"), and which they are."""


@dataclass(frozen=True)
class RightsReport:
    """Differences of the clone user from its base user, each a sentence."""

    repaired: tuple[str, ...] = ()
    remaining: tuple[str, ...] = ()


@dataclass(frozen=True)
class SessionCount:
    """Sessions of one user from one client address in one database."""

    client: str
    database: str
    count: int


class AdminSession(AbstractContextManager["AdminSession"], Protocol):
    """One open connection that changes users, with a short idle timeout at the server. One login.

    Every method may raise :class:`Unavailable` (the connection is then gone, and its lock with it) and
    :class:`Refused`.
    """

    def try_lock(self, base_user: str) -> bool:
        """Take the server-wide lock of one base user, without waiting; held until the session ends."""

    def check_users(self, users: Users) -> None:
        """Look whether the users are what they should be, before anything is changed.

        Raises:
            Refused: the base user does not exist, the admin lacks a privilege on it, or a user has the clone's name
                without provably being the clone.
        """

    def set_password(
        self, users: Users, credential: Credential, rights: Rights, keep: Credential | None = None
    ) -> RightsReport:
        """Make ``credential`` log in: the user exists, may log in, has this password and its base user's rights.

        Idempotent, and a transaction where the engine has them. ``rights`` says what happens to differences between
        base and clone: Enforce repairs, Report only tells, Ignore does not look (but a clone made here is complete).

        ``keep`` is given with DualPassword alone: another credential of the same user, which logs in now and goes on
        logging in; any third password of the user ends. Without it this password is the user's only one afterwards,
        and neither it nor, where it was valid before, ``credential`` is refused in between.
        """

    def disable_login(self, user: str) -> None:
        """Lock a user out without dropping it, if it exists; :meth:`set_password` lets it in again."""

    def sessions_of(self, user: str) -> tuple[SessionCount, ...] | None:
        """Who is logged in as this user now; None where the session may not see that."""


@runtime_checkable
class ChecksRights(Protocol):
    """What an admin's session has besides, that can find out before a rotation what it could not make equal."""

    def check_rights(self, users: Users) -> None:
        """Look as :meth:`AdminSession.check_users` does, and whether the clone can be made equal to its base user.

        Leaves both as they are.

        Raises:
            Refused: it would lack something; the message has the statement that gives the admin what is missing.
        """


class Engine(Protocol):
    """One kind of database. Safe to use from several threads."""

    default_port: int
    strategies: frozenset[Strategy]
    """The strategies that it can do; External is the same for all, and need not be among them."""
    passwords: PasswordLimits

    def check_username(self, username: str) -> None:
        """Raises: Refused, where the server would refuse or shorten the name. Connects to nothing."""

    def verify(self, server: Server, credential: Credential, users: Users, queries: Sequence[str] = ()) -> list[str]:
        """Log in once and look: does the session have the rights of the base user, do the queries run?

        Returns:
            The checks that failed, each a sentence that holds no value; empty where all is well. To return at all means
            that the server has accepted the password: whatever it says before it has looked at one is raised.

        Raises:
            AuthenticationFailed: the password is wrong, or the user may not log in; or the session is another user's
                (an anonymous one's, a pooler's own), so that nothing was said of this one's password.
            Unavailable: nobody knows.
        """

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        """Log in, once, as a user that may change others (or itself).

        Raises:
            AuthenticationFailed: the password is wrong, or the user may not log in.
            Unavailable: nobody knows.
        """


@runtime_checkable
class NamesHosts(Protocol):
    """What an engine has besides, whose credentials are not for exactly the host and port of their value."""

    def hosts(self, credential: Credential) -> tuple[tuple[str, int], ...]:
        """Every host and port that a credential is for, the value's own first; none where no login tells anything.

        Raises: Refused, where the value names them in a way that makes no sense.
        """


@runtime_checkable
class KeepsUsersInDatabases(Protocol):
    """What an engine has besides, where one host and port serve several databases, each with users of its own."""

    def users_database(self, credential: Credential) -> str | None:
        """The database whose users a credential is for, the same text wherever it is the same; None: none is named."""


@runtime_checkable
class AsksCloud(Protocol):
    """What an engine has besides, whose users are changed by an API of AWS's and not by the server."""

    def asking(self, client: Callable[[str, str], Any], whom: str) -> Engine:
        """The same engine as somebody whom AWS knows.

        Args:
            client: gives a boto3 client of a service in a region; its calls may also raise what ``client`` raises.
            whom: they, in words.
        """


@runtime_checkable
class ProvesUsers(Protocol):
    """What an engine has besides, at whose servers one name can be that of several users, each with a password."""

    def open_admin_for(
        self, server: Server, credential: Credential, proven_at: Server, proof: Credential
    ) -> AdminSession:
        """As ``open_admin``, for nobody but the user as which ``proof`` now logs in, and its clone or base user."""


@runtime_checkable
class RemembersWrites(Protocol):
    """What an engine has besides, whose servers may not know a new password at once: it waits for them then."""

    def wrote(self, server: Server, user: str) -> None:
        """Remember, beyond one run, that a user's password may have been set just now."""
