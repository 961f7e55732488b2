"""What SQL Server's error numbers mean: wrong password, not now, or never.

Only numbers are used and shown: texts come in the server's language and quote names, statements and values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from rotated_secrets.databases.base import AuthenticationFailed, DatabaseError, Server
from rotated_secrets.databases.base_classes import DatabaseClosed
from rotated_secrets.databases.failures import LOST, could_not, no_login

# "Database Engine events and errors", SQL Server documentation, has each number's text.
_WRONG_PASSWORD = frozenset(
    {
        18452,  # not a login of this server
        18456,  # login failed; only the server's log says why
        18470,  # disabled
        18486,  # locked out
        18487,  # password expired
        18488,  # password must be changed
    }
)
# The login was accepted, and what it was to be let in to was not.
_CLOSED: Mapping[int, str] = MappingProxyType(
    {
        916: "it may not enter the database",
        4060: "it may not enter the database, or that does not exist",
        4064: "it may not enter its default database, or that does not exist",
        17892: "a logon trigger turned it away",
    }
)
_NOT_NOW = frozenset(
    {
        *(596, 601, 617, 701, 802, 844, 845, 847, 921, 922, 924, 927, 941, 945, 952, 976, 978, 983, 988),
        *(1204, 1205, 1222, 3906, 3908, 3960, 3989, 5701, 6005, 8645, 8651, 9001, 9002, 10928, 10929),
        *(14355, 14420, 15023, 15025, 17142, 17188, 17189, 17197, 17809, 17830, 18401, 18451, 18461),
        *(40143, 40197, 40501, 40540, 40613, 49918, 49919, 49920),
    }
)
_LACKS_A_RIGHT = frozenset({229, 230, 262, 297, 300, 371, 15151, 15157, 15247, 15404, 15517})
_POLICY = frozenset(range(15113, 15120))
_HINTS: Mapping[int, str] = MappingProxyType(
    {
        **dict.fromkeys(_LACKS_A_RIGHT, "the admin lacks a right for it, or what it names does not exist"),
        **dict.fromkeys(_POLICY, "the server's password policy rejects the password; see rotation.password"),
        15517: "the admin may not act as the owner of the database, or that owner is gone; make the admin a member of "
        "db_owner there, or give the database an owner: ALTER AUTHORIZATION ON DATABASE::… TO …",
    }
)


def failed_login(numbers: Iterable[int], server: Server, user: str, database: str) -> DatabaseError:
    """The meaning of the numbers that a login was answered with; none where the server said nothing readable.

    ``database`` as messages may show it.
    """
    seen = tuple(numbers)
    where = f"user {user} at {server}"
    for number in seen:
        if number in _CLOSED:
            return DatabaseClosed(f"{where} could not log in to {database}: {_CLOSED[number]} (error {number})")
    if any(number in _WRONG_PASSWORD for number in seen):
        return AuthenticationFailed(
            f"{where} does not log in: the password is wrong or has expired, or the login does not exist, is disabled "
            f"or locked (error {seen[-1]}; the server's own log says which)"
        )
    if seen:
        return no_login(user, server, f"the server is not ready for it (error {seen[-1]})")
    return no_login(
        user,
        server,
        "the server cannot be reached or does not answer as SQL Server does, or not with the required TLS",
    )


def failed_statement(number: int, server: Server, doing: str) -> DatabaseError:
    """The meaning of an error of a statement; ``doing`` completes "could not …"."""
    if not number:
        return could_not(doing, server, LOST, later=True)
    if number in _NOT_NOW:
        return could_not(doing, server, f"error {number}", later=True)
    hint = f", {_HINTS[number]}" if number in _HINTS else ""
    return could_not(doing, server, f"error {number}{hint}", later=False)
