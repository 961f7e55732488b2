"""A user of MariaDB that sets its own password, and may change no other user.

It may only run SET PASSWORD, which replaces one password: an account with several passwords needs an admin.
"""

from __future__ import annotations

import re

from rotated_secrets.databases.base import Refused
from rotated_secrets.databases.mariadb.hashes import NATIVE, PASSWORD_PLUGINS, hashed
from rotated_secrets.databases.mariadb.state import Entry, unsettable
from rotated_secrets.databases.mysql.accounts import literal
from rotated_secrets.databases.mysql.login import Session
from rotated_secrets.values import Credential

_NAME = r"`(?:[^`]|``)*`"
_TEXT = r"'(?:[^'\\]|''|\\.)*'"
_HEAD = re.compile(rf"CREATE USER {_NAME}@{_NAME} IDENTIFIED (?:(VIA)|BY PASSWORD ({_TEXT}))", re.DOTALL)
_ENTRY = re.compile(rf" (\w+)(?: USING ({_TEXT}))?(?: (OR)(?= )|(?= )|\Z)", re.DOTALL)


def set_own_password(session: Session, credential: Credential) -> None:
    """Make this the only password of the session's own user.

    Raises: Refused, if that user cannot do so.
    """
    user = credential.username
    with session.doing(f"look how user {user} logs in"):
        ((text,),) = session.ask("SHOW CREATE USER")
    entries = own_entries(str(text))
    passwords = [entry for entry in entries if entry.plugin in PASSWORD_PLUGINS]
    why = unsettable(entries) or (None if len(passwords) == 1 else "has more than one password")
    if why:
        raise Refused(
            f"user {user} at {session.server} {why}, and cannot set its own password; name an admin secret "
            f"(spec.rotation.adminSecretId)"
        )
    with session.doing(f"set the password of user {user}"):
        session.ask(f"SET PASSWORD = {literal(hashed(passwords[0].plugin, credential.password))}")


def own_entries(text: str) -> tuple[Entry, ...]:
    """The ways to log in that SHOW CREATE USER names."""
    head = _HEAD.match(text)
    if head is None:
        # Neither a plug-in nor a password is named where the one is the default and the other empty.
        return (Entry(NATIVE, ""),)
    if head[1] is None:
        return (Entry(NATIVE, head[2][1:-1]),)
    entries, place = [], head.end()
    while found := _ENTRY.match(text, place):
        entries.append(Entry(found[1], (found[2] or "''")[1:-1]))
        place = found.end()
        if found[3] is None:  # other clauses follow, known or not
            break
    return tuple(entries)
