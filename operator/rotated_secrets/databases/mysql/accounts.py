"""What MySQL and MariaDB call a user: a name and the hosts that it may come from. And how names and texts are quoted.

Pure. The quoting is right for sessions of :mod:`~rotated_secrets.databases.mysql.login` alone, whose sql_mode has
neither ANSI_QUOTES nor NO_BACKSLASH_ESCAPES and whose character set is utf8mb4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

SURROGATE = re.compile("[\ud800-\udfff]")
"""What JSON can write and UTF-8 can't."""

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
"""Host parts that match only the database's own machine."""

_RESERVED = frozenset({"mysql.sys", "mysql.session", "mysql.infoschema", "mariadb.sys", "rdsadmin"})


@dataclass(frozen=True, order=True)
class Account:
    """One row of ``mysql.user``. Two accounts with one user name are two users, with a password each."""

    user: str
    host: str = "%"

    def __str__(self) -> str:
        return f"{self.user}@{self.host}"

    @property
    def sql(self) -> str:
        """How a statement names it."""
        return f"{literal(self.user)}@{literal(self.host)}"

    def named(self, user: str) -> Account:
        """The account of another user from the same hosts."""
        return Account(user, self.host)


def literal(text: str) -> str:
    """A string in a statement."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0") + "'"


def identifier(name: str) -> str:
    """The name of an object in a statement."""
    return "`" + name.replace("`", "``") + "`"


def unusable_name(name: str, longest: int) -> str | None:
    """Return why the server cannot have a user of this name, or reserves it. ``longest`` is in characters."""
    if SURROGATE.search(name):
        return f"user name {name!r} holds half a surrogate pair, which is no character; correct it"
    if len(name) > longest:
        return (
            f"user {name} has {len(name)} characters, and the server takes {longest}; "
            f"choose a shorter user name or clone suffix"
        )
    if not name or "\0" in name or name.endswith(" ") or any(ord(sign) > 0xFFFF for sign in name):
        return f"the server would not keep user name {name!r} as it is written; choose another"
    if name in _RESERVED:
        return f"user name {name!r} is one that the server keeps for itself; choose another"
    return None


def the_account(accounts: Iterable[Account]) -> Account | None:
    """Return the account that a user name means, if there are several; None if that cannot be known.

    A secret names a user without a host. Of two accounts with its name some clients use one and some the other, and
    only their owners know whether both should have the same password. Accounts that only the database's own machine
    can use are ignored: no pod connects from there.
    """
    found = sorted(set(accounts))
    remote = [account for account in found if account.host not in LOCAL_HOSTS] or found
    return remote[0] if len(remote) == 1 else None
