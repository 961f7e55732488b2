"""What an application needs of a database server and what someone who looks on asks of it, in words for every engine.

Knows nothing of who rotates: what is said of rights here is read from the server, by other ways than the operator's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol


class LoginFailed(Exception):
    """The server did not let this user in, or not do anything; the message is the driver's own."""


class ServerMissing(Exception):
    """No server of this kind can be had on this machine; the message says what to install."""


@dataclass(frozen=True)
class Account:
    """A user with its password, and the database that it works in."""

    user: str
    password: str = field(repr=False)
    database: str = ""


class DatabaseSide(Protocol):
    """A running server, as its owner, its applications and an onlooker use it.

    What its owner does with passwords is kept out of the server's logs: whatever shows up there is the operator's.
    """

    engine: str
    """The ``engine`` of its secret values."""
    longest_name: int | None
    """Characters (ASCII) of a user name at most; None where the server has no limit."""
    lacking: str
    """Words by which a refusal names what a :meth:`create_bystander` lacks to be an admin."""
    keeps_two_itself: bool
    """Whether a user can have two passwords without an admin."""
    query: str | None
    """A verify query that takes the right that :meth:`give` gives; None where the engine has no such queries."""

    @property
    def product(self) -> str:
        """What people call the server, with its version."""

    @property
    def owner(self) -> Account:
        """The user that came with the server, and may do everything."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def plain_port(self) -> int | None:
        """Where it speaks plaintext; None where nowhere."""

    @property
    def ca_pem(self) -> str | None:
        """The authority of its certificate; None where it has no TLS."""

    def value(self, account: Account) -> dict[str, Any]:
        """The keys by which AWS's templates find this account, but for ``host`` and ``port``."""

    # ---- as the server's owner

    def create_user(self, account: Account) -> None:
        """A user that owns its database, which is made where it is not there yet."""

    def create_object(self, account: Account) -> None:
        """Something of the user's own in its database."""

    def create_admin(self, admin: Account, user: str) -> None:
        """A user that may rotate ``user``: with the privileges that docs/ENGINE.md asks for, and no others."""

    def let_change_itself(self, account: Account) -> None:
        """The user gets what docs/ENGINE.md asks for where there is no admin."""

    def create_bystander(self, account: Account) -> None:
        """A user that has what :meth:`give` gives, and nothing more."""

    def give(self, account: Account) -> None:
        """One more right, on something that belongs to nobody's application."""

    def take(self, account: Account) -> None:
        """That right is taken away again."""

    def spoil(self, account: Account) -> None:
        """This password of the user works no longer; any other password of it does."""

    # ---- as the application

    def log_in(self, account: Account) -> None:
        """Log in, and do one thing. Raises: LoginFailed."""

    def may(self, account: Account) -> bool:
        """Whether the user, logged in, can do what :meth:`give` gives. Raises: LoginFailed."""

    # ---- as an onlooker

    def users(self, prefix: str) -> set[str]:
        """The users whose names begin so."""

    def rights(self, account: Account) -> frozenset[str]:
        """All that the user can do and is bound by, a phrase each, equal for two users that are alike."""

    def log(self) -> str:
        """All that the server has logged since the last look at least, in every log that it keeps."""

    # ---- as an operator of the machine

    def kill(self) -> None:
        """A crash. Returns when the server is gone."""

    def expire_locks(self) -> None:
        """What sessions held that are dead is free at once, as it would be by itself after seconds."""

    def start(self) -> None:
        """Come back after :meth:`kill`, on the same port. Returns when logins are accepted."""
