"""The session of a MariaDB user that sets passwords and rights.

None of its statements holds a password: MariaDB writes statements to its logs unchanged. Knows nothing of the order of
a rotation's steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import (
    AuthenticationFailed,
    Refused,
    RightsReport,
    Server,
    Users,
)
from rotated_secrets.databases.guards import (
    check_is_base_or_clone,
    check_is_no_clone,
    check_is_only_clone,
    check_keeps_own,
    check_names,
    not_provably_the_clone,
)
from rotated_secrets.databases.mariadb.catalog import account_of, checks_passwords, clones_of, look, may
from rotated_secrets.databases.mariadb.clone import (
    Seen,
    clone_of,
    create,
    is_to_be_marked,
    is_unfinished,
    not_the_clone,
    other_default_role,
    parity,
)
from rotated_secrets.databases.mariadb.hashes import NATIVE
from rotated_secrets.databases.mariadb.mark import drop_role, mark_statements, role_of
from rotated_secrets.databases.mariadb.own_password import set_own_password
from rotated_secrets.databases.mariadb.state import Entry, State, identified, new_entries, with_passwords
from rotated_secrets.databases.mysql.accounts import Account, unusable_name
from rotated_secrets.databases.mysql.catalog import own_account
from rotated_secrets.databases.mysql.login import Session, log_in
from rotated_secrets.databases.mysql.repairs import run_repair
from rotated_secrets.databases.mysql.sessions import AccountSession
from rotated_secrets.databases.parity import reconcile
from rotated_secrets.values import Credential

NAME_CHARACTERS = 80
"""MariaDB's documented limit; a server may allow more."""
OLDEST = (10, 4)
"""Since when there is mysql.global_priv, and several ways to log in for one account."""

_PINNED: Mapping[str, str | int] = MappingProxyType(
    {
        # Without NO_AUTO_CREATE_USER a GRANT to a user that was just dropped would make one without a password.
        "sql_mode": "STRICT_TRANS_TABLES,NO_AUTO_CREATE_USER",
        # SET PASSWORD would want a hash of the kind before 4.1.
        "old_passwords": 0,
    }
)


def open_session(server: Server, credential: Credential, idle_seconds: int) -> MariaDbAdminSession:
    """Log in, and read the account that logged in."""
    session = log_in(server, credential, {**_PINNED, "wait_timeout": idle_seconds})
    try:
        with session.doing("open the admin's session"):
            return MariaDbAdminSession(session, own_account(session))
    except BaseException:
        session.close()
        raise


class MariaDbAdminSession(AccountSession):
    """An open connection of the admin, or of a user that changes itself."""

    def __init__(self, session: Session, account: Account) -> None:
        version = ".".join(map(str, session.version))
        if not session.is_mariadb or session.version < OLDEST:
            what = f"MariaDB {version}" if session.is_mariadb else "not MariaDB"
            raise Refused(
                f"{session.server} is {what}; MariaDB {'.'.join(map(str, OLDEST))} or later is needed "
                f"(for MySQL write engine: mysql in the secret value)"
            )
        super().__init__(session, account)

    def check_users(self, users: Users) -> None:
        self._examined(users)

    def set_password(
        self, users: Users, credential: Credential, rights: Rights, keep: Credential | None = None
    ) -> RightsReport:
        user = credential.username
        check_is_base_or_clone(users, user)
        check_keeps_own(user, keep)
        if keep is not None and user != users.base:
            raise Refused(f"user {user} is a clone, and a clone has one password; use DualPassword without clones")
        examined = self._examined(users)
        if examined is None:
            if keep is not None:
                raise Refused(f"a second password of user {user} needs an admin secret (spec.rotation.adminSecretId)")
            set_own_password(self._session, credential)
            return RightsReport()
        base, clone = examined
        if user == users.clone:
            return self._set_clones(users, base, clone, credential, rights)
        if keep is not None and base.state.plugins != (NATIVE,):
            # For each further password the server asks the client to change the plug-in; not every client accepts two.
            raise Refused(f"user {user} can have two passwords only by {NATIVE}; use AlternatingUsers instead")
        passwords = [each.password for each in (keep, credential) if each is not None]
        self._log_in_by(base.state, with_passwords(base.state.entries, passwords))
        if clone is None:
            return RightsReport()
        self._mark(base, clone, its_turn=False)
        return self._made_equal(users, rights, its_turn=False)

    def disable_login(self, user: str) -> None:
        account = account_of(self._session, user, self._account)
        if account is None:
            return  # it was not made
        self._run(f"lock user {user} out", f"ALTER USER {account.sql} ACCOUNT LOCK")

    def _set_clones(
        self, users: Users, base: Seen, clone: Seen | None, credential: Credential, rights: Rights
    ) -> RightsReport:
        """Set the password last, so that a clone which can log in has its rights."""
        unfinished = clone is None or is_unfinished(clone.state, users.base)
        entries = new_entries(base.state.plugins, [credential.password])
        account = base.state.account.named(credential.username)
        if clone is None:
            self._run(f"create user {account.user}", create(base.state, account))
            clone = self._both(users)[1]
        self._mark(base, clone, its_turn=True)
        report = self._made_equal(users, rights, its_turn=True, unfinished=unfinished)
        self._log_in_by(self._both(users)[1].state, entries)
        return self._with_default_role(users, credential, report, rights, unfinished)

    def _mark(self, base: Seen, clone: Seen, *, its_turn: bool) -> None:
        """Mark the clone, and drop a mark of an earlier version from all who have it."""
        account, role = base.state.account, role_of(base.state.account.user)
        statements: list[str] = []
        if is_to_be_marked(clone, account) and (its_turn or role in clone.roles):
            statements += mark_statements(account, clone.state)
        if statements or role in base.roles | clone.roles:
            statements.append(drop_role(account.user))
        for statement in statements:
            self._run(f"mark user {clone.state.account.user} as the clone of {account.user}", statement)

    def _made_equal(self, users: Users, rights: Rights, *, its_turn: bool, unfinished: bool = False) -> RightsReport:
        base, clone = (seen.state.account for seen in self._both(users))

        def repair(statement: str, _: str) -> None:
            with self._session.doing(f"make user {clone.user} equal to {base.user}"):
                run_repair(self._session, statement, base, clone, self._account)

        return reconcile(
            lambda: parity(*self._both(users), its_turn=its_turn),
            repair,
            rights,
            clone=clone.user,
            unfinished=unfinished,
        )

    def _with_default_role(
        self, users: Users, credential: Credential, report: RightsReport, rights: Rights, unfinished: bool
    ) -> RightsReport:
        """Let the clone set its own default role, now that it logs in, if the admin may not set it."""
        clone = credential.username
        left = other_default_role(*self._both(users))
        if not left:
            return report

        def as_clone(statement: str, _: str) -> None:
            try:
                with log_in(self._server, credential) as session, session.doing(f"set the default role of {clone}"):
                    session.ask(statement)
            except AuthenticationFailed as error:
                raise Refused(str(error)) from None

        own = reconcile(
            lambda: other_default_role(*self._both(users)), as_clone, rights, clone=clone, unfinished=unfinished
        )
        told = tuple(f"{clone} {each.sentence}" for each in left)
        before = tuple(sentence for sentence in report.remaining if not sentence.startswith(told))
        return RightsReport(report.repaired + own.repaired, before + own.remaining)

    def _log_in_by(self, state: State, entries: Sequence[Entry]) -> None:
        unlock = " ACCOUNT UNLOCK" if state.locked else ""
        self._run(
            f"set the password of user {state.account.user}",
            f"ALTER USER {state.account.sql} {identified(entries)}{unlock}",
        )

    def _examined(self, users: Users) -> tuple[Seen, Seen | None] | None:
        """Return both users as they are, once it is certain that they may be changed.

        None if the session is the user's own, and may change only that password.
        """
        check_names(users, lambda name: unusable_name(name, NAME_CHARACTERS))
        checking = checks_passwords(self._session)
        if checking:
            raise Refused(
                f"{self._server} checks passwords by {', '.join(checking)} and therefore takes no hashes; the "
                f"operator sends it no password as text, because its logs would show it; run: SET GLOBAL "
                f"strict_password_validation = OFF"
            )
        if not may(self._session, "CREATE USER"):
            if users == Users(self._session.user):
                return None
            raise Refused(
                f"{self._account} may not change other users at {self._server}; "
                f"run: GRANT CREATE USER ON *.* TO {self._account.sql}"
            )
        base, clone = look(self._session, users, self._account)
        if users.clone is not None:
            check_is_no_clone(users.base, clone_of(base), f"at {self._server}")
        why = not_the_clone(base, clone) if clone else None
        if why:
            raise not_provably_the_clone(users.clone, users.base, f"at {self._server}", why)
        if users.clone is not None and clone is None:
            marked = clones_of(self._session, base.state.account, self._account)
            check_is_only_clone(users.base, marked, f"at {self._server}")
        return base, clone

    def _both(self, users: Users) -> tuple[Seen, Seen]:
        base, clone = look(self._session, users, self._account)
        if clone is None:
            raise Refused(f"user {users.clone} was dropped at {self._server} while it was rotated")
        return base, clone

    def _run(self, doing: str, statement: str) -> None:
        with self._session.doing(doing):
            self._session.ask(statement)
