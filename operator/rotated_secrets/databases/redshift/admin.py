"""The session of a Redshift user that sets passwords and rights. Knows nothing of the order of a rotation's steps.

Redshift has no advisory locks, and its table locks cannot be taken without waiting. The Lease, the claim in the status
and one id for one version keep two operators apart. See docs/redshift.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.extensions import encrypt_password

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import Refused, RightsReport, Server, SessionCount, Users
from rotated_secrets.databases.base_classes import IdleAdminSession
from rotated_secrets.databases.guards import (
    check_is_base_or_clone,
    check_is_no_clone,
    check_is_only_clone,
    check_keeps_nothing,
    check_names,
    no_such_user,
    not_provably_the_clone,
)
from rotated_secrets.databases.idle import IdleLimit
from rotated_secrets.databases.parity import Difference, first_of, reconcile
from rotated_secrets.databases.redshift.catalog import look
from rotated_secrets.databases.redshift.rights import (
    User,
    differences,
    mark_of,
    newly_created,
    original_of,
    ownership,
    quoted,
    unusable_name,
)
from rotated_secrets.databases.redshift.session import DEFAULT_DATABASE, open_connection, transaction
from rotated_secrets.values import Credential

UNKNOWN_CLIENT = "unknown"
"""stv_sessions does not show where a session comes from."""

_LONGEST_SEEN = 50
"""stv_sessions cuts names of users there."""
_SESSIONS = """
SELECT TRIM(db_name), COUNT(*) FROM pg_catalog.stv_sessions
WHERE TRIM(user_name) = %s AND process <> pg_backend_pid() GROUP BY 1 ORDER BY 1
"""
_SUPERUSER = "SELECT usesuper FROM pg_catalog.pg_user WHERE usename = SESSION_USER"
_EXISTS = "SELECT 1 FROM pg_catalog.pg_user WHERE usename = %s"
_ROLES = "SELECT role_name FROM pg_catalog.svv_user_grants WHERE user_name = %s"
_MEMBERS = "SELECT user_name FROM pg_catalog.svv_user_grants WHERE role_name = %s"
_ROLE = "SELECT 1 FROM pg_catalog.svv_roles WHERE role_name = %s"


class RedshiftAdminSession(IdleAdminSession[Connection]):
    """An open connection of the admin, or of a user that changes itself, and one more in each further database."""

    def __init__(self, server: Server, credential: Credential, idle: IdleLimit) -> None:
        self._home = credential.dbname or DEFAULT_DATABASE
        super().__init__(server, credential, idle, open_connection(server, credential, self._home))

    def try_lock(self, base_user: str) -> bool:
        """Check only that the session still works: there is nothing to lock with."""
        self._ask(self._home, f"look after the session for user {base_user}", "SELECT 1")
        return True

    def check_users(self, users: Users) -> None:
        check_names(users, unusable_name)
        if not self._exists(users.base):
            raise no_such_user(users.base, self._server)
        if users.clone is not None:
            self._may_rotate(users.base, users.clone)

    def set_password(
        self, users: Users, credential: Credential, rights: Rights, keep: Credential | None = None
    ) -> RightsReport:
        user, database = credential.username, credential.dbname or DEFAULT_DATABASE
        check_keeps_nothing("Redshift", user, keep)
        check_is_base_or_clone(users, user)
        self.check_users(users)
        password = f"PASSWORD '{encrypt_password(credential.password.reveal(), user, algorithm='md5')}'"
        created = user == users.clone and not self._exists(user)
        if created:
            self._create(users.base, user, database, password, rights)
        else:
            self._run(self._home, f"set the password of user {user}", f"ALTER USER {quoted(user)} {password}")
        if user != users.clone:
            return RightsReport()

        def seen() -> Sequence[Difference]:
            base, clone = self._known(users.base, database), self._known(user, database)
            return [*ownership(base, clone), *differences(base, clone)]

        return reconcile(
            seen,
            lambda statement, _: self._run(database, f"make user {user} equal", statement),
            rights,
            clone=user,
            unfinished=created,
        )

    def disable_login(self, user: str) -> None:
        if self._exists(user):  # else setSecret failed before it was made
            self._run(self._home, f"lock user {user} out", f"ALTER USER {quoted(user)} PASSWORD DISABLE")

    def sessions_of(self, user: str) -> tuple[SessionCount, ...] | None:
        if not self._is_superuser() or len(user.encode()) > _LONGEST_SEEN:
            return None
        try:
            found = self._ask(self._home, f"count sessions of user {user}", _SESSIONS, (user,))
        except Refused:
            return None  # Serverless has no such view
        return tuple(SessionCount(UNKNOWN_CLIENT, str(database), int(count)) for database, count in found)

    def _create(self, base_name: str, clone: str, database: str, password: str, rights: Rights) -> None:
        """Create the clone with its mark and all its rights in one transaction, so that it is never half made."""
        base, mark = self._known(base_name, database), mark_of(base_name)
        given = list(differences(base, newly_created(clone)))
        cannot = [each.sentence for each in given if each.lacks and not each.repairs]
        if cannot and rights is Rights.ENFORCE:
            raise Refused(
                f"user {clone} is not made, because it {first_of(cannot)}; give {base_name} that by a group or role"
            )
        marking = [] if self._has_role(mark) else [f"CREATE ROLE {quoted(mark)}"]
        with self._transaction(database, f"create user {clone}") as cursor:
            for statement in (
                f"CREATE USER {quoted(clone)} {password}",
                *marking,
                f"GRANT ROLE {quoted(mark)} TO {quoted(clone)}",
                *(statement for each in given for statement in each.repairs),
            ):
                cursor.execute(statement)

    def _may_rotate(self, base: str, clone: str) -> None:
        if not self._is_superuser():
            raise Refused(
                f"{self._credential.username} is not a superuser at {self._server}, and Redshift shows all rights of "
                f"other users only to superusers; run: ALTER USER {quoted(self._credential.username)} CREATEUSER"
            )
        if not self._exists(clone):
            check_is_no_clone(base, original_of(base, self._roles_of(base)), f"at {self._server}")
            marked = self._ask(self._home, f"look for clones of {base}", _MEMBERS, (mark_of(base),))
            check_is_only_clone(base, (user for (user,) in marked), f"at {self._server}")
            return
        if mark_of(base) not in self._roles_of(clone):
            mark = quoted(mark_of(base))
            run = f"CREATE ROLE {mark}; GRANT ROLE {mark} TO {quoted(clone)}"
            why = f"it is not marked as such; if it is the clone, run: {run}"
            raise not_provably_the_clone(clone, base, f"at {self._server}", why)

    def _roles_of(self, user: str) -> list[str]:
        return [role for (role,) in self._ask(self._home, f"look at the roles of {user}", _ROLES, (user,))]

    def _has_role(self, role: str) -> bool:
        return bool(self._ask(self._home, f"look for role {role}", _ROLE, (role,)))

    def _exists(self, user: str) -> bool:
        return bool(self._ask(self._home, f"look for user {user}", _EXISTS, (user,)))

    def _known(self, user: str, database: str) -> User:
        with self._transaction(database, f"look at user {user}") as cursor:
            found = look(cursor, user)
        if found is None:
            raise Refused(f"user {user} was dropped at {self._server} while it was rotated")
        return found

    def _is_superuser(self) -> bool:
        return self._ask(self._home, "look who the admin is", _SUPERUSER) == [(True,)]

    def _run(self, database: str, doing: str, statement: str) -> None:
        self._ask(database, doing, statement)

    def _ask(
        self, database: str, doing: str, statement: str, arguments: tuple[object, ...] | None = None
    ) -> list[tuple[Any, ...]]:
        """Run one statement in its own transaction; return its rows, if it has any."""
        with self._transaction(database, doing) as cursor:
            # Without arguments the driver leaves `%` alone.
            cursor.execute(statement, arguments)
            return cursor.fetchall() if cursor.description else []

    def _transaction(self, database: str, doing: str) -> contextlib.AbstractContextManager[Cursor]:
        connection = self._main if database == self._home else self._in(database)
        return transaction(connection, self._server, doing)

    def _open_in(self, database: str) -> Connection:
        """Connect to a database: its privileges can be seen and granted only from inside it."""
        return open_connection(self._server, self._credential, database)
