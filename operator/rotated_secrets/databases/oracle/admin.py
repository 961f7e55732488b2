"""The session of an Oracle user that sets passwords and rights. Knows nothing of the order of a rotation's steps.

Oracle commits every change by itself, so a crash can leave a half-made clone: it is created locked, and unlocked once
it has its rights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import Refused, RightsReport, Server, SessionCount, Users
from rotated_secrets.databases.base_classes import IdleAdminSession
from rotated_secrets.databases.guards import (
    check_is_base_or_clone,
    check_is_no_clone,
    check_is_only_clone,
    check_names,
    no_such_user,
    not_provably_the_clone,
)
from rotated_secrets.databases.idle import IdleLimit
from rotated_secrets.databases.oracle.catalog import clones_of, look
from rotated_secrets.databases.oracle.rights import User, differences, mark, quoted, unusable_name
from rotated_secrets.databases.oracle.session import Session, open_session
from rotated_secrets.databases.parity import Difference, reconcile
from rotated_secrets.values import Credential

_EXCLUSIVE = 6
_LOCKED, _HELD_ALREADY = 0, 4
"""What DBMS_LOCK.REQUEST answers; 1 means that another session has the lock."""
_USER_LOCKS = 2**30
_MAY_LOCK = """
SELECT COUNT(*) FROM sys.all_procedures
WHERE owner = 'SYS' AND object_name = 'DBMS_LOCK' AND procedure_name = 'REQUEST'
"""
_WHO = """
SELECT SYS_CONTEXT('USERENV', 'SESSION_USER'), SYS_CONTEXT('USERENV', 'CURRENT_USER') FROM sys.dual
"""
_EXISTS = "SELECT 1 FROM sys.dba_users WHERE username = :name"
_SESSIONS = """
SELECT NVL(machine, 'unknown'), NVL(service_name, ' '), COUNT(*) FROM sys.gv_$session
WHERE username = :name AND type = 'USER' AND audsid <> SYS_CONTEXT('USERENV', 'SESSIONID')
GROUP BY NVL(machine, 'unknown'), NVL(service_name, ' ') ORDER BY 1, 2
"""


class OracleAdminSession(IdleAdminSession[Session]):
    """An open connection of the admin, or of a user that changes itself. Names of users are in upper case."""

    def __init__(self, server: Server, credential: Credential, idle: IdleLimit) -> None:
        self._user = credential.username.upper()
        super().__init__(server, credential, idle, open_session(server, credential))

    def _begin(self) -> None:
        if self._main.ask("open the session", _WHO) != [(self._user, self._user)]:
            raise Refused(f"the session of {self._user} at {self._server} does not run as {self._user}")

    def try_lock(self, base_user: str) -> bool:
        """Take the lock if the session may; if not, the Lease and the claim keep two operators apart."""
        doing = f"lock user {base_user}"
        if self._main.ask(doing, _MAY_LOCK) == [(0,)]:
            return True
        digest = hashlib.sha256(f"rotated-secrets/{base_user.upper()}".encode()).digest()
        number = int.from_bytes(digest[:8]) % _USER_LOCKS
        answer = self._main.call(doing, "SYS.DBMS_LOCK.REQUEST", id=number, lockmode=_EXCLUSIVE, timeout=0)
        return answer in (_LOCKED, _HELD_ALREADY)

    def check_users(self, users: Users) -> None:
        check_names(users, unusable_name)
        if users.clone is None and users.base.upper() == self._user:
            return  # it has just logged in, and may need no right to look at others
        self._examined(users)

    def set_password(
        self, users: Users, credential: Credential, rights: Rights, keep: Credential | None = None
    ) -> RightsReport:
        user = credential.username.upper()
        clone_name = users.clone.upper() if users.clone is not None else None
        if keep is not None:
            raise Refused(f"a second password for {user} is not supported: Oracle has it since 19.12 only, by profiles")
        check_is_base_or_clone(Users(users.base.upper(), clone_name), user)
        if '"' in credential.password.reveal():
            raise Refused(f"the password of {user} holds a double quote, which Oracle cannot write")
        if (credential.dbname or "").lower() != (self._credential.dbname or "").lower():
            # The password was proven at this service: another one has other users of the same names.
            raise Refused(
                f"user {user} belongs to service {credential.dbname}, but {self._user} logged in to "
                f"{self._credential.dbname} at {self._server}; write the same dbname into both secrets"
            )
        self.check_users(users)
        if user == self._user:
            self._set_own(credential)
            return RightsReport()
        base, clone = self._examined(users)
        found = base if user == base.name else clone
        if found is None:
            self._create(base, credential)
        else:
            if clone is found and base.name not in found.becomes:
                self._run(user, mark(base.name, user))
            self._run(user, f"ALTER USER {quoted(user)} IDENTIFIED BY {quoted(credential.password.reveal())}")
        unfinished = found is None or found.locked
        report = RightsReport()
        if user == clone_name:
            report = reconcile(
                lambda: self._differences(base.name, user),
                lambda statement, _: self._run(user, statement),
                rights,
                clone=user,
                unfinished=unfinished,
            )
        if unfinished:
            self._run(user, f"ALTER USER {quoted(user)} ACCOUNT UNLOCK")
        return report

    def disable_login(self, user: str) -> None:
        name = user.upper()
        if self._main.ask(f"look for user {name}", _EXISTS, name=name):  # else setSecret failed before it was made
            self._run(name, f"ALTER USER {quoted(name)} ACCOUNT LOCK")

    def sessions_of(self, user: str) -> tuple[SessionCount, ...] | None:
        try:
            found = self._main.ask(f"count sessions of user {user}", _SESSIONS, name=user.upper())
        except Refused:
            return None
        return tuple(SessionCount(str(client), str(service).strip(), int(count)) for client, service, count in found)

    def _examined(self, users: Users) -> tuple[User, User | None]:
        """Return both users as they are, once it is certain that they may be changed."""
        base = look(self._main, users.base.upper())
        if base is None:
            raise no_such_user(users.base, self._server)
        if base.authentication != "PASSWORD":
            raise Refused(
                f"user {base.name} at {self._server} has no password: it is authenticated {base.authentication}"
            )
        if users.clone is None:
            return base, None
        if base.maintained:
            raise Refused(f"user {base.name} came with Oracle and cannot have a clone; use SingleUser")
        clone = look(self._main, users.clone.upper())
        if clone is not None and base.name not in clone.becomes and not clone.bare:
            why = f"it is not marked as such; if it is the clone, run: {mark(base.name, clone.name)}"
            raise not_provably_the_clone(clone.name, base.name, f"at {self._server}", why)
        originals = (each for each in sorted(base.becomes) if base.name.startswith(each))
        check_is_no_clone(base.name, next(originals, None), f"at {self._server}")
        if clone is None:
            check_is_only_clone(base.name, clones_of(self._main, base.name), f"at {self._server}")
        return base, clone

    def _create(self, base: User, credential: Credential) -> None:
        user = credential.username.upper()
        self._run(
            user,
            f"CREATE USER {quoted(user)} IDENTIFIED BY {quoted(credential.password.reveal())} "
            f"DEFAULT TABLESPACE {quoted(base.tablespace)} TEMPORARY TABLESPACE {quoted(base.temporary_tablespace)} "
            f"PROFILE {quoted(base.profile)} ACCOUNT LOCK",
        )
        self._run(user, mark(base.name, user))

    def _set_own(self, credential: Credential) -> None:
        if credential.password == self._credential.password:
            return  # the session was opened with it
        self._main.change_own_password(
            f"set the password of user {self._user}", self._credential.password.reveal(), credential.password.reveal()
        )

    def _differences(self, base_name: str, clone_name: str) -> Sequence[Difference]:
        base, clone = look(self._main, base_name), look(self._main, clone_name)
        if base is None or clone is None:
            raise Refused(f"user {base_name} or {clone_name} was dropped at {self._server} while it was rotated")
        return list(differences(base, clone))

    def _run(self, user: str, statement: str) -> None:
        self._main.ask(f"change user {user}", statement)
