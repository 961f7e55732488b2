"""The session of a SQL Server login that sets passwords and rights. Knows nothing of the order of a rotation's steps.

The owner of a database can have its DDL triggers run with the rights of the user who changes something in it. So inside
a database everything is done by a separate connection, which becomes the database's owner and cannot return.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import AuthenticationFailed, Refused, RightsReport, Server, SessionCount, Users
from rotated_secrets.databases.base_classes import IdleAdminSession
from rotated_secrets.databases.guards import (
    check_is_base_or_clone,
    check_is_no_clone,
    check_is_only_clone,
    check_keeps_nothing,
    check_names,
    not_provably_the_clone,
)
from rotated_secrets.databases.idle import IdleLimit
from rotated_secrets.databases.parity import Difference, reconcile
from rotated_secrets.databases.sqlserver import catalog
from rotated_secrets.databases.sqlserver.rights import (
    DatabaseUser,
    Login,
    literal,
    login_differences,
    mark_on,
    original_of,
    quoted,
    uncompared,
    unusable_name,
    user_differences,
)
from rotated_secrets.databases.sqlserver.session import DEFAULT_DATABASE, Proven, Session, open_session, proven_by
from rotated_secrets.values import Credential

_LOCK = """
DECLARE @answer int;
EXEC @answer = sys.sp_getapplock @Resource = %s, @LockMode = 'Exclusive', @LockOwner = 'Session', @LockTimeout = 0;
SELECT @answer
"""
_MAY = "SELECT HAS_PERMS_BY_NAME(NULL, NULL, %s)"
_LOGIN_EXISTS = "SELECT 1 FROM sys.sql_logins WHERE name = %s"
_USER_EXISTS = "SELECT 1 FROM sys.database_principals WHERE name = %s"
_ACT_AS_OWNER = "EXECUTE AS USER = N'dbo' WITH NO REVERT"
_SESSIONS = """
SELECT COALESCE(c.client_net_address, s.host_name, N'unknown'), COALESCE(DB_NAME(s.database_id), N''), COUNT(*)
FROM sys.dm_exec_sessions AS s LEFT JOIN sys.dm_exec_connections AS c ON c.session_id = s.session_id
WHERE s.is_user_process = 1 AND s.original_login_name = %s AND s.session_id <> @@SPID
GROUP BY COALESCE(c.client_net_address, s.host_name, N'unknown'), COALESCE(DB_NAME(s.database_id), N'')
ORDER BY 1, 2
"""


class SqlServerAdminSession(IdleAdminSession[Session]):
    """An open connection of the admin, or of a user that changes itself, and one more in each database it reads."""

    def __init__(self, server: Server, credential: Credential, idle: IdleLimit, proven: Proven | None = None) -> None:
        """``proven``: which users this session may change; without it those of the kind that ``credential`` is."""
        self._home_name = credential.dbname or DEFAULT_DATABASE
        self._asked_for = proven
        super().__init__(server, credential, idle, open_session(server, credential, self._home_name))

    def _begin(self) -> None:
        itself = proven_by(self._opened, self._home_name)
        if itself.database is None and self._home_name != DEFAULT_DATABASE:
            # Only there does the server accept permissions on its own objects.
            self._opened.ask(f"go to database {DEFAULT_DATABASE}", f"USE {quoted(DEFAULT_DATABASE)}")
            self._home_name = DEFAULT_DATABASE
        self._proven_is = self._asked_for or itself

    def try_lock(self, base_user: str) -> bool:
        resource = f"rotated-secrets/{hashlib.sha256(base_user.encode()).hexdigest()[:32]}"
        return int(self._main.ask(f"lock user {base_user}", _LOCK, resource)[0][0]) >= 0

    def check_users(self, users: Users) -> None:
        check_names(users, unusable_name)
        if self._proven_is.database is not None:
            self._contained(users, self._proven_is.database)
            return
        base = self._login(users.base)
        if users.clone is not None:
            self._may_make_equal()
            self._proven(base, catalog.login(self._main, users.clone), users.clone)

    def set_password(
        self, users: Users, credential: Credential, rights: Rights, keep: Credential | None = None
    ) -> RightsReport:
        user = credential.username
        check_keeps_nothing("SQL Server", user, keep)
        check_is_base_or_clone(users, user)
        if self._proven_is.database is not None:
            return self._set_contained(users, credential, rights, self._proven_is.database)
        self.check_users(users)
        base = self._login(users.base)
        found = base if user == users.base else catalog.login(self._main, user)
        if found is None:
            self._create_login(base, credential)
        else:
            self._set_login(found, credential)
        report = RightsReport()
        if user == users.clone:
            report = reconcile(
                lambda: self._login_differences(users.base, user, credential.dbname),
                lambda statement, place: self._run(place, f"make user {user} equal", statement),
                rights,
                clone=user,
                unfinished=found is None or found.disabled,
            )
        if found is None or found.disabled:
            self._main.ask(f"let user {user} in", f"ALTER LOGIN {quoted(user)} ENABLE")
        return report

    def disable_login(self, user: str) -> None:
        # Without such a user setSecret failed before it was made.
        doing, database = f"lock user {user} out", self._proven_is.database
        if database is not None:
            if self._in(database).ask(doing, _USER_EXISTS, user):
                self._in(database).ask(doing, f"DENY CONNECT TO {quoted(user)}")
        elif self._main.ask(doing, _LOGIN_EXISTS, user):
            self._main.ask(doing, f"ALTER LOGIN {quoted(user)} DISABLE")

    def sessions_of(self, user: str) -> tuple[SessionCount, ...] | None:
        if not self._may("VIEW SERVER STATE"):
            return None
        found = self._main.ask(f"count sessions of user {user}", _SESSIONS, user)
        return tuple(SessionCount(str(client), str(database), int(count)) for client, database, count in found)

    # ---- logins of the server

    def _login(self, name: str) -> Login:
        found = catalog.login(self._main, name)
        if found is None:
            raise Refused(
                f"login {name} at {self._server} has no password, or does not exist; create it, or correct the secret "
                f"value"
            )
        return found

    def _create_login(self, base: Login, credential: Credential) -> None:
        """Create the clone with its mark in one transaction: without the mark it would count as another user.

        It is let in once it has its rights, so a half-made clone is recognised by being kept out.
        """
        name = quoted(credential.username)
        options = [
            f"DEFAULT_DATABASE = {quoted(base.database or DEFAULT_DATABASE)}",
            *([f"DEFAULT_LANGUAGE = {quoted(base.language)}"] if base.language else []),
            f"CHECK_EXPIRATION = {'ON' if base.expiration else 'OFF'}",
            f"CHECK_POLICY = {'ON' if base.policy else 'OFF'}",
        ]
        doing = f"create login {credential.username}"
        self._main.ask(doing, "BEGIN TRANSACTION")
        try:
            self._main.ask(doing, f"CREATE LOGIN {name} WITH {_password(credential)}, {', '.join(options)}")
            self._main.ask(doing, f"GRANT {mark_on('LOGIN', base.name)} TO {name}")
            self._main.ask(doing, f"ALTER LOGIN {name} DISABLE")
            self._main.ask(doing, "COMMIT TRANSACTION")
        except Refused:
            self._main.ask(doing, "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION")
            raise

    def _set_login(self, login: Login, credential: Credential) -> None:
        doing, name = f"set the password of user {login.name}", quoted(login.name)
        if credential.username == self._credential.username:
            if credential.password == self._credential.password:
                return  # the session was opened with it
            old = f" OLD_PASSWORD = {literal(self._credential.password.reveal())}"
            self._main.ask(doing, f"ALTER LOGIN {name} WITH {_password(credential)}{old}")
            return
        self._main.ask(doing, f"ALTER LOGIN {name} WITH {_password(credential)}{' UNLOCK' if login.locked else ''}")

    def _login_differences(
        self, base_name: str, clone_name: str, database_of_secret: str | None
    ) -> Sequence[Difference]:
        base, clone = catalog.login(self._main, base_name), catalog.login(self._main, clone_name)
        if base is None or clone is None:
            raise Refused(f"login {base_name} or {clone_name} was dropped at {self._server} while it was rotated")
        found = list(login_differences(base, clone))
        known, closed = catalog.databases_of(self._main, (base.sid, clone.sid))
        found += uncompared(closed, (base.database, database_of_secret))
        for database in known:
            session = self._in(database)
            user = catalog.user_of_login(session, base.sid, database)
            schema = f" WITH DEFAULT_SCHEMA = {quoted(user.schema)}" if user and user.schema else ""
            found += user_differences(
                user,
                catalog.user_of_login(session, clone.sid, database),
                base.name,
                database,
                f"CREATE USER {quoted(clone.name)} FOR LOGIN {quoted(clone.name)}{schema}",
            )
        return found

    def _proven(self, base: Login, clone: Login | None, name: str) -> None:
        mark = mark_on("LOGIN", base.name)
        if clone is not None and mark not in clone.permissions:
            why = f"it is not marked as such; if it is the clone, run: USE [master]; GRANT {mark} TO {quoted(name)}"
            raise not_provably_the_clone(name, base.name, f"at {self._server}", why)
        check_is_no_clone(base.name, original_of("LOGIN", base.name, base.permissions), f"at {self._server}")
        if clone is None:
            marked = catalog.clones_of_login(self._main, base.name)
            check_is_only_clone(base.name, _named_like_clones(base.name, marked), f"at {self._server}")

    def _may_make_equal(self) -> None:
        for permission in ("ALTER ANY LOGIN", "VIEW ANY DEFINITION"):
            if not self._may(permission):
                admin = self._credential.username
                raise Refused(
                    f"{admin} lacks {permission} at {self._server}; run: "
                    f"USE [master]; GRANT {permission} TO {quoted(admin)}"
                )

    def _may(self, permission: str) -> bool:
        return self._main.ask("look what the admin may do", _MAY, permission) == [(1,)]

    # ---- users that one database keeps for itself

    def _contained(self, users: Users, database: str) -> tuple[DatabaseUser, DatabaseUser | None]:
        """Return both users as they are in their database, once it is certain that they may be changed."""
        session = self._place(users.base, database)
        base = catalog.user_named(session, users.base, database)
        if base is None or not base.contained:
            raise Refused(
                f"user {users.base} has no password in database {database} at {self._server}; create it, or "
                f"correct username and dbname in the secret value"
            )
        clone = catalog.user_named(session, users.clone, database) if users.clone is not None else None
        mark = mark_on("USER", base.name)
        if clone is not None and (not clone.contained or mark not in clone.permissions):
            why = f"it is not marked as such; if it is the clone, run there: GRANT {mark} TO {quoted(clone.name)}"
            raise not_provably_the_clone(users.clone, base.name, f"in database {database}", why)
        if users.clone is not None:
            original = original_of("USER", base.name, base.permissions)
            check_is_no_clone(base.name, original, f"in database {database}")
        if users.clone is not None and clone is None:
            marked = catalog.clones_of_user(session, base.name, database)
            check_is_only_clone(base.name, _named_like_clones(base.name, marked), f"in database {database}")
        return base, clone

    def _place(self, user: str, database: str) -> Session:
        """Where users of one database are changed: a user that changes itself stays who it is."""
        return self._main if user == self._credential.username and self._home_name == database else self._in(database)

    def _set_contained(self, users: Users, credential: Credential, rights: Rights, database: str) -> RightsReport:
        user = credential.username
        if (credential.dbname or DEFAULT_DATABASE) != database:
            raise Refused(
                f"user {user} logged in to database {database} at {self._server}, but its secret value now "
                f"names {credential.dbname or DEFAULT_DATABASE}; write one dbname into it"
            )
        session = self._place(user, database)
        base, clone = self._contained(users, database)
        doing, name = f"set the password of user {user} in database {database}", quoted(user)
        if user == self._credential.username:
            if credential.password == self._credential.password:
                return RightsReport()
            old = f" OLD_PASSWORD = {literal(self._credential.password.reveal())}"
            session.ask(doing, f"ALTER USER {name} WITH {_password(credential)}{old}")
            return RightsReport()
        found = clone if user == users.clone else base
        if found is None:
            self._create_contained(session, base, credential, doing)
        else:
            session.ask(doing, f"ALTER USER {name} WITH {_password(credential)}")
        unfinished = found is None or found.kept_out
        report = RightsReport()
        if user == users.clone:
            report = reconcile(
                lambda: self._user_differences(session, users.base, user, database, unfinished=unfinished),
                lambda statement, _: self._run(database, f"make user {user} equal", statement),
                rights,
                clone=user,
                unfinished=unfinished,
            )
        if unfinished:
            session.ask(f"let user {user} in", f"GRANT CONNECT TO {name}")
        return report

    def _user_differences(
        self, session: Session, base_name: str, clone_name: str, database: str, *, unfinished: bool
    ) -> Sequence[Difference]:
        base = catalog.user_named(session, base_name, database)
        clone = catalog.user_named(session, clone_name, database)
        if base is None or clone is None:
            raise Refused(f"user {base_name} or {clone_name} was dropped in database {database} while it was rotated")
        # A new clone is let in last, after everything else was made equal.
        return list(user_differences(base, clone.let_in_as(base) if unfinished else clone, base_name, database, ""))

    def _create_contained(self, session: Session, base: DatabaseUser, credential: Credential, doing: str) -> None:
        """Create a contained clone as a login is created: with its mark, and let in once it has its rights."""
        name = quoted(credential.username)
        options = [
            _password(credential),
            *([f"DEFAULT_SCHEMA = {quoted(base.schema)}"] if base.schema else []),
            *([f"DEFAULT_LANGUAGE = {quoted(base.language)}"] if base.language else []),
        ]
        session.ask(doing, "BEGIN TRANSACTION")
        try:
            session.ask(doing, f"CREATE USER {name} WITH {', '.join(options)}")
            session.ask(doing, f"GRANT {mark_on('USER', base.name)} TO {name}")
            session.ask(doing, f"DENY CONNECT TO {name}")
            session.ask(doing, "COMMIT TRANSACTION")
        except Refused:
            session.ask(doing, "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION")
            raise

    # ---- connections

    def _run(self, place: str, doing: str, statement: str) -> None:
        (self._in(place) if place else self._main).ask(doing, statement)

    def _open_in(self, database: str) -> Session:
        """Connect to one database as its owner, without rights anywhere else."""
        session = self._logged_in(database)
        try:
            session.ask(f"act as the owner of database {database}", _ACT_AS_OWNER)
        except BaseException:
            session.close()
            raise
        return session

    def _logged_in(self, database: str) -> Session:
        try:
            return open_session(self._server, self._credential, database)
        except AuthenticationFailed as error:
            # The admin has logged in before: a contained database may have its own user of the admin's name.
            admin = self._credential.username
            raise Refused(f"{error}; database {database} may have its own user {admin}: rename it") from None


def _named_like_clones(base: str, marked: Sequence[str]) -> list[str]:
    """Those of them that are clones by their names too: people grant IMPERSONATE for other reasons."""
    return [each for each in marked if each.lower().startswith(base.lower())]


def _password(credential: Credential) -> str:
    """As text: the server takes a hash only where it checks no policy."""
    return f"PASSWORD = {literal(credential.password.reveal())}"
