"""The session of a MySQL user that sets passwords and rights.

The owner of a schema must not be able to influence it: it selects no schema, qualifies every table, and depends on no
setting that it has not set itself. Knows nothing of the order of a rotation's steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import Refused, RightsReport, Server, Users
from rotated_secrets.databases.guards import (
    check_is_base_or_clone,
    check_is_no_clone,
    check_is_only_clone,
    check_keeps_own,
    check_names,
    no_such_user,
    not_provably_the_clone,
)
from rotated_secrets.databases.mysql import options
from rotated_secrets.databases.mysql.accounts import Account, the_account, unusable_name
from rotated_secrets.databases.mysql.catalog import (
    User,
    accounts_of,
    clones_of,
    defined_by,
    look,
    own_account,
    rights_of,
    rights_of_session,
)
from rotated_secrets.databases.mysql.clones import misplaced, no_password, not_the_clone, original_of
from rotated_secrets.databases.mysql.errors import NO_PRIVILEGE, ServerError, is_temporary
from rotated_secrets.databases.mysql.grants import ALL, EVERYTHING, Privilege
from rotated_secrets.databases.mysql.grants import differences as differences_in_rights
from rotated_secrets.databases.mysql.login import Session, log_in
from rotated_secrets.databases.mysql.passwords import Passwords
from rotated_secrets.databases.mysql.repairs import run_repair
from rotated_secrets.databases.mysql.sessions import AccountSession
from rotated_secrets.databases.parity import Difference, first_of, reconcile
from rotated_secrets.values import Credential, SecretText

NAME_LENGTH = 32
OLDEST = (8, 0, 21)
"""The first version whose accounts have attributes."""


def open_session(server: Server, credential: Credential, idle_seconds: int) -> MySqlAdminSession:
    """Log in, and read the account that logged in."""
    session = log_in(server, credential, {"wait_timeout": idle_seconds})
    try:
        with session.doing("open the admin's session"):
            return MySqlAdminSession(session, own_account(session), credential.password)
    except BaseException:
        session.close()
        raise


@dataclasses.dataclass(frozen=True)
class _Seen:
    """Both users, once it is certain that they may be changed."""

    base: User
    clone: User | None
    clone_account: Account | None


class MySqlAdminSession(AccountSession):
    """An open connection of the admin, or of a user that changes itself."""

    def __init__(self, session: Session, account: Account, password: SecretText) -> None:
        if session.is_mariadb:
            raise Refused(f"{session.server} is MariaDB; write engine: mariadb in the secret value")
        if session.version < OLDEST:
            raise Refused(
                f"{session.server} is MySQL {'.'.join(map(str, session.version))}; MySQL "
                f"{'.'.join(map(str, OLDEST))} or later is needed"
            )
        super().__init__(session, account)
        self._password = password

    def check_users(self, users: Users) -> None:
        with self._session.doing(f"look at user {users.base}"):
            if self._changes_itself(users):
                self._look_at_itself()
            else:
                self._examined(users)

    def set_password(
        self, users: Users, credential: Credential, rights: Rights, keep: Credential | None = None
    ) -> RightsReport:
        user = credential.username
        check_is_base_or_clone(users, user)
        check_keeps_own(user, keep)
        with self._session.doing(f"set the password of user {user}"):
            if self._changes_itself(users):
                passwords = Passwords(self._session, self._account, self._look_at_itself(), self._password)
                if keep is None and rights is Rights.IGNORE and credential.password == self._password:
                    # The password stays the same: the task is that no other password works.
                    passwords.retire_others(credential)
                else:
                    self._write(passwords, credential, keep)
                self._password = credential.password
                return RightsReport()
            seen = self._examined(users)
            if user == users.base:
                self._write(Passwords(self._session, seen.base.account, seen.base), credential, keep)
                return self._reconciled(seen, rights, passive=False) if seen.clone else RightsReport()
            return self._set_clone(seen, credential, rights)

    def disable_login(self, user: str) -> None:
        with self._session.doing(f"lock user {user} out"):
            if accounts_of(self._session, user):
                self._session.ask(f"ALTER USER {self._account_of(user).sql} ACCOUNT LOCK")

    # ---- looks

    def _changes_itself(self, users: Users) -> bool:
        return users.clone is None and users.base == self._account.user

    def _look_at_itself(self) -> User | None:
        """The session's own account; None if it may not read it: changing it needs no privilege."""
        try:
            user = look(self._session, self._account)
        except ServerError as error:
            if is_temporary(error):
                raise
            return None
        unusable = no_password(user) if user else None
        if unusable:
            raise Refused(unusable)
        return user

    def _examined(self, users: Users) -> _Seen:
        check_names(users, lambda name: unusable_name(name, NAME_LENGTH))
        lacking = self._missing_privilege()
        if lacking:
            raise Refused(f"the admin may not change user {users.base} at {self._server}: {lacking}")
        base = self._look(self._account_of(users.base))
        if users.clone is None:
            return _Seen(base, None, None)
        check_is_no_clone(users.base, original_of(base), f"at {self._server}")
        account = base.account.named(users.clone)
        found = accounts_of(self._session, users.clone)
        why = misplaced(base.account, found)
        clone = self._look(account) if found and not why else None
        why = why or (not_the_clone(base, clone) if clone else None)
        if why:
            raise not_provably_the_clone(users.clone, users.base, f"at {self._server}", why)
        if clone is None:
            check_is_only_clone(users.base, clones_of(self._session, base.account), f"at {self._server}")
        return _Seen(base, clone, account)

    def _missing_privilege(self) -> str | None:
        rights = rights_of_session(self._session)
        if not rights & {Privilege(EVERYTHING, "CREATE USER"), Privilege(EVERYTHING, ALL)}:
            return f"it lacks CREATE USER; run: GRANT CREATE USER ON *.* TO {self._account.sql}"
        try:
            accounts_of(self._session, self._account.user)
        except ServerError as error:
            if error.code not in NO_PRIVILEGE:
                raise
            return f"it may not read the server's users; run: GRANT SELECT ON mysql.* TO {self._account.sql}"
        return None

    def _account_of(self, user: str) -> Account:
        found = accounts_of(self._session, user)
        if not found:
            raise no_such_user(user, self._server)
        account = the_account(found)
        if account is None:
            raise Refused(
                f"user {user} has {len(found)} accounts at {self._server}: "
                f"{first_of(sorted(map(str, found)))}; each has its own password, and the secret value does not say "
                f"which one it means: keep one, with a host part for all clients, or give the secret its own user"
            )
        return account

    def _look(self, account: Account) -> User:
        user = look(self._session, account)
        if user is None:
            raise Refused(f"user {account} does not exist at {self._server} any more")
        unusable = no_password(user)
        if unusable:
            raise Refused(unusable)
        return dataclasses.replace(user, rights=rights_of(self._session, account))

    # ---- changes

    def _write(self, passwords: Passwords, credential: Credential, keep: Credential | None) -> None:
        if keep is None:
            passwords.set(credential)
        else:
            passwords.add(credential, keep)

    def _set_clone(self, seen: _Seen, credential: Credential, rights: Rights) -> RightsReport:
        """Complete the clone, and only then unlock it: after a crash in between no half-made clone can log in."""
        clone = seen.clone
        if clone is None:
            self._create(seen, credential)
            clone = self._look(self._account_of(credential.username))
            seen = dataclasses.replace(seen, clone=clone)
        elif clone.options.clone_of is None:
            # Another rotator made it. The mark identifies it from now on, whatever rights its base user gains or loses.
            self._session.ask(options.finished_statement(clone.account, seen.base.account))
        unfinished = clone.options.unfinished
        report = self._reconciled(seen, rights, passive=True)
        same_plugin = clone.options.plugin == seen.base.options.plugin
        enforced = unfinished or rights is Rights.ENFORCE
        Passwords(self._session, clone.account, clone).set(credential, seen.base.options.plugin if enforced else None)
        if unfinished:
            self._session.ask(options.finished_statement(clone.account, seen.base.account))
        if same_plugin or (rights is Rights.IGNORE and not unfinished):
            return report
        sentence = f"{credential.username} logs in by another plug-in than {seen.base.account.user}"
        if enforced:
            return dataclasses.replace(report, repaired=(*report.repaired, sentence))
        return dataclasses.replace(report, remaining=(*report.remaining, sentence))

    def _create(self, seen: _Seen, credential: Credential) -> None:
        base, account = seen.base, seen.clone_account
        if account is None:
            raise Refused(f"there is no clone of {base.account} to be made")
        passwords = Passwords(self._session, account, None)
        passwords.create(
            credential,
            base.options.plugin,
            f"{options.made_for_clone(base.options)} ACCOUNT LOCK {options.marked(base.options, base.account)}",
        )

    def _reconciled(self, seen: _Seen, rights: Rights, *, passive: bool) -> RightsReport:
        """Make the clone equal to its base user, as far as ``rights`` says.

        If the clone does not become current now, what it lacks is reported and stops nothing.
        """
        base, clone = seen.base.account, seen.clone_account
        if clone is None or seen.clone is None:
            return RightsReport()

        def differences() -> Sequence[Difference]:
            found = self._differences(base, clone)
            return found if passive else [dataclasses.replace(each, lacks=False) for each in found]

        return reconcile(
            differences,
            lambda statement, _: run_repair(self._session, statement, base, clone, self._account),
            rights,
            clone=clone.user,
            unfinished=seen.clone.options.unfinished,
        )

    def _differences(self, base_account: Account, clone_account: Account) -> list[Difference]:
        base, clone = self._look(base_account), self._look(clone_account)
        found = list(differences_in_rights(base.rights, clone.rights, clone_account))
        found += options.differences(base.options, base_account, clone.options, clone_account)
        for defined in defined_by(self._session, clone_account):
            objects = f"{defined.count} {defined.kind}{'' if defined.count == 1 else 's'}"
            found.append(Difference(f"is the DEFINER of {objects} in schema {defined.schema}"))
        return found
