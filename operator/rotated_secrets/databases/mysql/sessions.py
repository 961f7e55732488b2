"""Sessions and locks, the same for MySQL and MariaDB."""

from __future__ import annotations

import hashlib
from collections import Counter

from rotated_secrets.databases.base import Refused, SessionCount
from rotated_secrets.databases.base_classes import BaseAdminSession
from rotated_secrets.databases.mysql.accounts import Account, literal
from rotated_secrets.databases.mysql.errors import ServerError
from rotated_secrets.databases.mysql.login import Session

_THREADS = """
SELECT PROCESSLIST_HOST, PROCESSLIST_DB FROM performance_schema.threads
WHERE PROCESSLIST_USER = {user} AND PROCESSLIST_ID <> CONNECTION_ID() AND TYPE = 'FOREGROUND'
"""
_OWN_THREAD = "SELECT COUNT(*) FROM performance_schema.threads WHERE PROCESSLIST_ID = CONNECTION_ID()"
_PROCESSES = "SELECT HOST, DB FROM information_schema.PROCESSLIST WHERE USER = {user} AND ID <> CONNECTION_ID()"
_SEEN = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND <> 'Daemon'"
_CONNECTED = "SHOW GLOBAL STATUS LIKE 'Threads_connected'"


class AccountSession(BaseAdminSession):
    """An admin's session of one account: its lock, and the sessions that it sees."""

    def __init__(self, session: Session, account: Account) -> None:
        if account.user != session.user:
            raise Refused(
                f"the session of {session.user} at {session.server} belongs to {account}; name a user in the "
                f"admin secret that logs in as itself"
            )
        self._session = session
        self._account = account
        self._server = session.server

    def close(self) -> None:
        self._session.close()

    def try_lock(self, base_user: str) -> bool:
        """Take the lock; also True if this session has it already. The server allows names of 64 characters."""
        name = "rotated-secrets/" + hashlib.sha256(base_user.encode()).hexdigest()[:40]
        with self._session.doing(f"lock user {base_user}"):
            ((got,),) = self._session.ask(f"SELECT GET_LOCK({literal(name)}, 0)")
        return bool(got == 1)

    def sessions_of(self, user: str) -> tuple[SessionCount, ...] | None:
        with self._session.doing(f"count sessions of user {user}"):
            return _sessions_of(self._session, user)


def _sessions_of(session: Session, user: str) -> tuple[SessionCount, ...] | None:
    """Return who is connected as this user, without this session; None if it may not see that."""
    found = _threads(session, user)
    if found is None and _sees_everybody(session):
        # An address with a port, where it came by a network.
        rows = session.ask(_PROCESSES.format(user=literal(user)))
        found = [(str(host).rpartition(":")[0] or str(host), database) for host, database in rows]
    if found is None:
        return None
    counted = Counter((str(client or "unknown"), str(database or "")) for client, database in found)
    return tuple(SessionCount(client, database, count) for (client, database), count in sorted(counted.items()))


def _threads(session: Session, user: str) -> list[tuple[object, object]] | None:
    try:
        # Where the performance schema is off its tables are there, and empty.
        if session.ask(_OWN_THREAD) != ((1,),):
            return None
        return [(client, database) for client, database in session.ask(_THREADS.format(user=literal(user)))]
    except ServerError:
        return None


def _sees_everybody(session: Session) -> bool:
    """Whether the list of processes is whole: without PROCESS it has the user's own sessions alone."""
    ((_, connected),) = session.ask(_CONNECTED)
    ((seen,),) = session.ask(_SEEN)
    return int(seen) >= int(connected)
