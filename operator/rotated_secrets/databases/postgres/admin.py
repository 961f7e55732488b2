"""The session of a PostgreSQL user that sets passwords and rights.

The owner of its database must not be able to influence it: settings of databases and users do not apply here, and every
name is looked up only in pg_catalog. Knows nothing of the order of a rotation's steps.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812
from psycopg2.extensions import encrypt_password
from psycopg2.sql import SQL, Composable, Identifier, Literal

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import (
    AuthenticationFailed,
    NotAdmitted,
    Refused,
    RightsReport,
    Server,
    SessionCount,
    Unavailable,
    Users,
)
from rotated_secrets.databases.base_classes import BaseAdminSession, DatabaseClosed
from rotated_secrets.databases.guards import (
    check_is_base_or_clone,
    check_is_no_clone,
    check_is_only_clone,
    check_keeps_nothing,
    check_names,
    no_such_user,
    not_provably_the_clone,
)
from rotated_secrets.databases.postgres.catalog import OPTIONS_OF_MEMBERSHIP, Role, Seen, commented, look
from rotated_secrets.databases.postgres.errors import POOLED, is_temporary, reason
from rotated_secrets.databases.postgres.login import log_in
from rotated_secrets.databases.postgres.rights import (
    Difference,
    belonging_sentence,
    clone_of,
    differences,
    mark,
    membership,
    missing_privilege,
    not_the_clone,
    quoted,
    unequal,
    unusable_name,
    with_reason,
)
from rotated_secrets.databases.postgres.session import PINNED, transaction
from rotated_secrets.values import Credential

LOCK_DATABASE = "postgres"
UNKNOWN_CLIENT = "unknown"
"""The client address of a session whose details the admin may not see, or that came by a local socket."""

_HASHED_LIKE_THE_SERVER = """
SELECT setting FROM pg_catalog.pg_settings
WHERE name OPERATOR(pg_catalog.=) 'password_encryption' AND source OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.text[])
"""
_SERVERS_OWN = ["default", "configuration file", "command line", "environment variable", "global"]
_EXISTS = "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) %s::pg_catalog.name"
_SESSIONS = """
SELECT COALESCE(pg_catalog.host(client_addr), %s), COALESCE(datname, ''), pg_catalog.count(*)
FROM pg_catalog.pg_stat_activity
WHERE usename OPERATOR(pg_catalog.=) %s::pg_catalog.name
  AND pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
  AND COALESCE(backend_type OPERATOR(pg_catalog.<>) 'parallel worker', true)
GROUP BY 1, 2 ORDER BY 1, 2
"""


def open_session(server: Server, credential: Credential, idle_seconds: float) -> PostgresAdminSession:
    """Log in where the lock is: in database ``postgres``, because each database has its own advisory locks.

    If that database does not exist or does not let the user in, log in to the one that the credential names: every
    holder of that credential makes the same choice.
    """
    idle = str(int(idle_seconds * 1000))
    # PostgreSQL measures silence in and out of transactions apart.
    settings = {**PINNED, "idle_session_timeout": idle, "idle_in_transaction_session_timeout": idle}
    try:
        connection = log_in(server, credential, LOCK_DATABASE, settings)
    except (DatabaseClosed, NotAdmitted):
        if credential.dbname in (None, LOCK_DATABASE):
            raise
        connection = log_in(server, credential, str(credential.dbname), settings)
    try:
        return PostgresAdminSession(connection, server, credential.username)
    except BaseException:
        connection.close()
        raise


class PostgresAdminSession(BaseAdminSession):
    """An open connection of the admin, or of a user that changes itself."""

    def __init__(self, connection: Connection, server: Server, user: str) -> None:
        self._connection = connection
        self._server = server
        with self._transaction("open the session") as cursor:
            if connection.server_version >= OPTIONS_OF_MEMBERSHIP:
                cursor.execute("SET createrole_self_grant = ''")
            cursor.execute("SELECT SESSION_USER, CURRENT_USER, pg_catalog.current_setting('search_path')")
            *who, search_path = cursor.fetchone() or ("", "", "")
        if search_path != PINNED["search_path"]:
            raise Refused(
                f"the session of {user} at {server} does not have the settings that it was opened with; a pooler in "
                f"between drops them (PgBouncer: ignore_startup_parameters=options): {POOLED}"
            )
        if who != [user, user]:
            raise Refused(
                f"the session of {user} at {server} does not run as {user}; "
                f"a setting of that user or of the database changes who it is: RESET it"
            )

    def close(self) -> None:
        self._connection.close()

    def try_lock(self, base_user: str) -> bool:
        key = int.from_bytes(hashlib.sha256(f"rotated-secrets/{base_user}".encode()).digest()[:8], signed=True)
        with self._transaction(f"lock user {base_user}") as cursor:
            cursor.execute("SELECT pg_catalog.pg_try_advisory_lock(%s::pg_catalog.int8)", (key,))
            return cursor.fetchone() == (True,)

    def check_users(self, users: Users) -> None:
        with self._transaction(f"look at user {users.base}") as cursor:
            self._examined(cursor, users)

    def check_rights(self, users: Users) -> None:
        """Make the two equal in a transaction that is taken back: only the server knows what it lets this admin do."""
        failures: dict[str, str] = {}
        with self._transaction(f"compare user {users.clone} with {users.base}") as cursor:
            seen, base = self._examined(cursor, users)
            if users.clone is None or (seen.clone and not any(each.lacks for each in _differences(seen))):
                return
            if seen.clone is None:
                cursor.execute(SQL("CREATE ROLE {}").format(Identifier(users.clone)))
                cursor.execute(membership(seen, base.name, users.clone))
            self._repair(cursor, _differences(seen if seen.clone else look(cursor, users)), failures)
            made = look(cursor, users).clone
            # What is advised is for the users as they are, without a clone that is taken back.
            lacking = [each for each in differences(seen, base, made) if each.lacks] if made else []
            self._connection.rollback()
        if lacking:
            raise Refused(unequal(users, lacking, failures))

    def set_password(
        self, users: Users, credential: Credential, rights: Rights, keep: Credential | None = None
    ) -> RightsReport:
        user = credential.username
        check_keeps_nothing("PostgreSQL", user, keep)
        check_is_base_or_clone(users, user)
        failures: dict[str, str] = {}
        with self._transaction(f"set the password of user {user}") as cursor:
            seen, base = self._examined(cursor, users)
            created = seen.clone is None and user == users.clone
            self._write_password(cursor, seen, base, credential)
            self._mark(cursor, seen, users, created=created)
            self._hold(cursor, seen, base)
            found = _differences(look(cursor, users) if created else seen)
            repairing = created or rights is Rights.ENFORCE
            repaired = self._repair(cursor, found, failures) if repairing else []
        if not found or (rights is Rights.IGNORE and not created):
            return RightsReport()
        if rights is Rights.ENFORCE and user == users.clone:
            repaired += self._reassign(users, credential, failures)
        with self._transaction(f"compare user {users.clone} with {users.base}") as cursor:
            remaining = [difference.sentence for difference in _differences(look(cursor, users))]
        return RightsReport(
            # A statement that the server took has not always changed something.
            () if created else tuple(sentence for sentence in repaired if sentence not in remaining),
            tuple(with_reason(sentence, failures) for sentence in remaining),
        )

    def disable_login(self, user: str) -> None:
        with self._transaction(f"lock user {user} out") as cursor:
            cursor.execute(_EXISTS, (user,))
            if cursor.fetchone():  # else setSecret failed before it was made
                cursor.execute(SQL("ALTER ROLE {} NOLOGIN").format(Identifier(user)))

    def sessions_of(self, user: str) -> tuple[SessionCount, ...] | None:
        try:
            with self._transaction(f"count sessions of user {user}") as cursor:
                cursor.execute(_SESSIONS, (UNKNOWN_CLIENT, user))
                return tuple(SessionCount(*row) for row in cursor.fetchall())
        except Refused:
            return None

    def _examined(self, cursor: Cursor, users: Users) -> tuple[Seen, Role]:
        """Return both users as they are, once it is certain that they may be changed."""
        check_names(users, unusable_name)
        seen = look(cursor, users)
        base = seen.base
        if base is None:
            raise no_such_user(users.base, self._server)
        if base.expired:
            raise Refused(
                f"the password of user {base.name} at {self._server} expired at {base.valid_until}, and a new one "
                f"would be expired as well; run: ALTER ROLE {quoted(base.name)} VALID UNTIL 'infinity'"
            )
        lacking = missing_privilege(seen, base)
        if lacking:
            raise Refused(f"the admin may not change user {users.base} at {self._server}: {lacking}")
        why = not_the_clone(base, seen.clone) if seen.clone else None
        if why:
            raise not_provably_the_clone(users.clone, users.base, f"at {self._server}", why)
        if users.clone is not None:
            check_is_no_clone(base.name, clone_of(base), f"at {self._server}")
        if users.clone is not None and seen.clone is None:
            check_is_only_clone(base.name, commented(cursor, mark(base.name)), f"at {self._server}")
        return seen, base

    def _write_password(self, cursor: Cursor, seen: Seen, base: Role, credential: Credential) -> None:
        name, verifier = Identifier(credential.username), Literal(self._verifier(cursor, credential))
        role = {base.name: base, **({seen.clone.role.name: seen.clone.role} if seen.clone else {})}.get(
            credential.username
        )
        if role is None:
            cursor.execute(SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, verifier))
            cursor.execute(membership(seen, base.name, credential.username))
        else:
            # A user may set its own password, but LOGIN takes CREATEROLE: said only where it is needed.
            login = SQL("" if role.can_login else " LOGIN")
            cursor.execute(SQL("ALTER ROLE {}{} PASSWORD {}").format(name, login, verifier))

    def _mark(self, cursor: Cursor, seen: Seen, users: Users, *, created: bool) -> None:
        """Mark a clone that has no comment yet, such as one of an earlier version. A person's comment stays."""
        if users.clone is None or not (created or (seen.clone is not None and seen.clone.role.comment is None)):
            return
        comment = SQL("COMMENT ON ROLE {} IS {}").format(Identifier(users.clone), Literal(mark(users.base)))
        self._try(cursor, comment)

    def _hold(self, cursor: Cursor, seen: Seen, base: Role) -> None:
        """Grant the clone the membership that it has once more, in the name of this admin.

        From PostgreSQL 16 on `DROP OWNED BY` an admin takes back what that admin granted ("GRANT", PostgreSQL 16): with
        a grant of each admin the clone outlives any one of them. Repeating a grant changes nothing.
        """
        clone = seen.clone
        if seen.version >= OPTIONS_OF_MEMBERSHIP and clone is not None and clone.uses_base and clone.becomes_base:
            self._try(cursor, membership(seen, base.name, clone.role.name))

    def _try(self, cursor: Cursor, statement: Composable) -> str | None:
        """Run a statement that nothing depends on. Returns why the server refused it."""
        cursor.execute("SAVEPOINT attempt")
        try:
            cursor.execute(statement)
        except psycopg2.Error as error:
            if is_temporary(error):
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT attempt")
            return reason(error)
        return None

    def _verifier(self, cursor: Cursor, credential: Credential) -> str:
        """What the server stores instead of the password, so that no log of statements has the password."""
        cursor.execute(_HASHED_LIKE_THE_SERVER, (_SERVERS_OWN,))
        weaker = cursor.fetchone() in {("md5",), ("on",)}
        # A database's or user's own setting is ignored: it may be a tenant's, who must not weaken what is stored.
        algorithm = "md5" if weaker else "scram-sha-256"
        return str(
            encrypt_password(credential.password.reveal(), credential.username, self._connection, algorithm=algorithm)
        )

    def _repair(self, cursor: Cursor, found: Sequence[Difference], failures: dict[str, str]) -> list[str]:
        """Repair what the admin may; return what was repaired, and put into ``failures`` why the rest was not."""
        repaired = []
        for difference in found:
            if difference.repair is None:
                continue
            why = self._try(cursor, difference.repair)
            if why is None:
                repaired.append(difference.sentence)
            else:
                failures[difference.sentence] = why
        return repaired

    def _reassign(self, users: Users, clone: Credential, failures: dict[str, str]) -> list[str]:
        """Give what the clone owns to the base user, as the clone itself: it is a member of both, an admin seldom is.

        This needs a session in the database where the objects are, and an admin must not open one there.
        """
        with self._transaction(f"look for objects of user {clone.username}") as cursor:
            seen = look(cursor, users)
        belongings = seen.clone.belongings if seen.clone else ()
        repaired = []
        for owned in (one for one in belongings if one.owned and one.kind == "object"):
            sentence = belonging_sentence(clone.username, users.base, owned)
            try:
                # What all databases share can be reassigned in any of them.
                self._reassign_in(owned.database or clone.dbname or LOCK_DATABASE, users.base, clone)
                repaired.append(sentence)
            except (Refused, Unavailable) as error:
                failures[sentence] = str(error)
            except AuthenticationFailed as error:
                failures[sentence] = str(error)
                break
        return repaired

    def _reassign_in(self, database: str, base: str, clone: Credential) -> None:
        connection = log_in(self._server, clone, database, PINNED)
        with (
            contextlib.closing(connection),
            transaction(
                connection, self._server, f"reassign what {clone.username} owns in database {database}"
            ) as cursor,
        ):
            cursor.execute(SQL("REASSIGN OWNED BY {} TO {}").format(Identifier(clone.username), Identifier(base)))

    def _transaction(self, doing: str) -> contextlib.AbstractContextManager[Cursor]:
        return transaction(self._connection, self._server, doing)


def _differences(seen: Seen) -> tuple[Difference, ...]:
    return tuple(differences(seen, seen.base, seen.clone)) if seen.base and seen.clone else ()
