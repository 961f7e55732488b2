"""What the codes of Oracle's and its driver's errors mean: wrong password, not now, or never.

Only codes are used and shown: texts quote names, statements, and messages of password functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import oracledb

from rotated_secrets.databases.base import AuthenticationFailed, DatabaseError, Server
from rotated_secrets.databases.base_classes import DatabaseClosed
from rotated_secrets.databases.failures import LOST, could_not, no_login

_LOCKED, _EXPIRED, _NO_SESSION = 28000, 28001, 1045
_TRIGGER = 4088
"""Of a logon trigger that raised an error. Older versions begin with 604, which also stands for passing errors."""
# "Database Error Messages", Oracle Database documentation, has each code's text.
_WRONG_PASSWORD = frozenset({1005, 1017, _LOCKED, _EXPIRED})
_NOT_NOW = frozenset(
    {
        *(18, 20, 28, 51, 54, 60, 603, 604, 1012, 1013, 1033, 1034, 1089, 1090, 1092, 1109, 1110, 1113, 1578, 2049),
        *(2391, 2396, 3113, 3114, 3135, 4020, 4021, 4031, 4036, 16000, 16456, 16457, 18014, 24550, 25408, 30006),
        # Another session created the user, role or synonym after it was looked for.
        *(1920, 955),
    }
)
_BINDS = frozenset({"DPY-4008", "DPY-4009", "DPY-4010"})
_LOGIN_HINTS: Mapping[int, str] = MappingProxyType(
    {
        12505: "the listener knows no such service; check dbname in the secret value",
        12514: "the listener knows no such service; check dbname in the secret value",
        12516: "it has no free connection",
        12519: "it has no free connection",
        12520: "it has no free connection",
        2391: "the user has as many sessions as its profile allows",
    }
)
_DRIVERS_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "DPY-3001": "it requires Oracle's native network encryption, which is not supported: use TLS",
        "DPY-3010": "it is older than Oracle Database 12.1",
        "DPY-3015": "the user's password is stored in a way (10G) that is not supported: set it again",
        "DPY-6001": "the listener knows no such service; check dbname in the secret value",
        "DPY-6003": "the listener knows no such service; check dbname in the secret value",
    }
)
_HINTS: Mapping[int, str] = MappingProxyType(
    {
        942: "the admin may not read the data dictionary; grant it SELECT_CATALOG_ROLE",
        1031: "the admin lacks a privilege for it; docs/oracle.md lists all that it needs",
        1749: "an admin cannot grant to itself",
        1927: "another user granted it",
        1932: "the admin may not grant it to others; docs/oracle.md lists what it needs",
        28003: "the profile's password function rejects the password; see rotation.password",
        28007: "the profile does not allow an earlier password again",
        28008: "the old password is wrong",
        28219: "the database's password rules reject the password; see rotation.password",
        65049: "the session is in the root container; write the service of the pluggable database into dbname",
        65096: "the session is in the root container; write the service of the pluggable database into dbname",
    }
)


@dataclass(frozen=True)
class Code:
    """What is shown of an error: Oracle's number, or 0 for an error of the driver, and its name."""

    number: int
    name: str
    lost: bool
    """Whether the driver says that the connection is gone."""

    @classmethod
    def of(cls, error: BaseException) -> Code:
        detail = error.args[0] if isinstance(error, oracledb.Error) and error.args else None
        number = int(getattr(detail, "code", 0) or 0)
        name = f"ORA-{number:05}" if number else str(getattr(detail, "full_code", "") or "")
        return cls(
            number, name, bool(getattr(detail, "is_session_dead", False) or getattr(detail, "isrecoverable", False))
        )


def failed_login(error: BaseException, server: Server, user: str) -> DatabaseError:
    """The meaning of an error of a login; any other kind means that the server does not answer as Oracle does."""
    code, where = Code.of(error), f"user {user} at {server}"
    if code.number == _NO_SESSION:
        return DatabaseClosed(f"{where} may not log in (ORA-01045); run: GRANT CREATE SESSION TO {user}")
    if code.number == _TRIGGER:
        return DatabaseClosed(
            f"{where} may not log in: a logon trigger turned it away ({code.name}); have it admit {user}"
        )
    if code.number in _WRONG_PASSWORD:
        return AuthenticationFailed(
            f"{where} does not log in: the password is wrong or has expired, or the user does not exist or is locked "
            f"({code.name})"
        )
    hint = _LOGIN_HINTS.get(code.number) or _DRIVERS_HINTS.get(code.name)
    if hint:
        return no_login(user, server, f"{hint} ({code.name})")
    if code.number:
        return no_login(user, server, f"the server is not ready for it ({code.name})")
    return no_login(
        user,
        server,
        "the server cannot be reached or does not answer as Oracle does, or not with the required TLS",
    )


def failed_statement(error: BaseException, server: Server, doing: str) -> DatabaseError:
    """The meaning of an error of a statement; ``doing`` completes "could not …"."""
    code = Code.of(error)
    if code.name in _BINDS:
        return could_not(doing, server, "it has bind variables, for which there are no values", later=False)
    if not code.number or code.lost or code.number in _NOT_NOW:
        return could_not(doing, server, code.name or LOST, later=True)
    hint = f", {_HINTS[code.number]}" if code.number in _HINTS else ""
    return could_not(doing, server, f"{code.name}{hint}", later=False)
