"""Setting an account's passwords: the one it has, or the two of which one is about to go.

MySQL keeps a primary password and, with RETAIN CURRENT PASSWORD, the one before it as the secondary. Which is which
decides what every statement does: a statement in the wrong order takes away the password that is in use. So the stored
hashes are looked at, where that is allowed. Knows nothing of rights, or of the order of a rotation's steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from rotated_secrets.databases.base import AuthenticationFailed, Refused
from rotated_secrets.databases.mysql.accounts import Account, literal
from rotated_secrets.databases.mysql.catalog import User, password_policy, rights_of_session
from rotated_secrets.databases.mysql.errors import CURRENT_PASSWORD_NEEDED, HISTORY, POLICY, ServerError
from rotated_secrets.databases.mysql.grants import Dynamic
from rotated_secrets.databases.mysql.hashes import is_of
from rotated_secrets.databases.mysql.login import Session, log_in
from rotated_secrets.values import Credential, SecretText

DISCARD = "DISCARD OLD PASSWORD"
TWO_OWN = "APPLICATION_PASSWORD_ADMIN"
"""The privilege to have a second password for one's own account; for others it takes CREATE USER."""


@dataclass(frozen=True)
class Passwords:
    """The passwords of one account, and how to change them."""

    session: Session
    account: Account
    user: User | None
    """None if the session may not read it: then logins show which passwords work."""
    own: SecretText | None = None
    """The session's password, where the account is its own, which takes no privilege to change."""

    def create(self, credential: Credential, plugin: str, clauses: str) -> None:
        """Make the account, with this password and what the ``clauses`` of CREATE USER say. Raises: as :meth:`set`."""
        identified = f"IDENTIFIED WITH {literal(plugin)} BY {literal(credential.password.reveal())}"
        try:
            self.session.ask(f"CREATE USER {self.account.sql} {identified} {clauses}")
        except ServerError as error:
            raise _explained(error, self.session, self.account) from None

    def retire_others(self, credential: Credential) -> None:
        """End every other password of the account; its session came by this one. Raises: as :meth:`set`.

        Who may not look at its own account may end a second password by the privilege for two alone, and nothing else
        tells whether there is one.
        """
        if self.user is None and not self._may_have_two():
            raise Refused(
                f"user {self.account} at {self.session.server} may have a second password that still works; name "
                f"an admin secret (spec.rotation.adminSecretId), or run: GRANT {TWO_OWN} ON *.* TO {self.account.sql}"
            )
        self.set(credential)

    def set(self, credential: Credential, plugin: str | None = None) -> None:
        """Make it the only password of the account, which may log in with it; ``plugin`` is what is to check it.

        Where it was valid before it is so at every moment.

        Raises:
            Refused: the server's password policy forbids it.
            ServerError, ConnectionLost: everything else that a statement brought.
        """
        if self.user is None:
            self._identify(credential, None)
            if self._may_have_two():
                self._alter(DISCARD)
            return
        plugin = plugin or self.user.options.plugin
        if not self._is_primary(credential) or self.user.expired or plugin != self.user.options.plugin:
            self._identify(credential, plugin)
        elif self._may_be_locked:
            self._alter("ACCOUNT UNLOCK")
        if self.user.secondary is not None:
            self._alter(DISCARD)
            self._prove(credential)

    def add(self, credential: Credential, keep: Credential) -> None:
        """Make it a password of the account beside ``keep``, which goes on logging in at every moment.

        Raises: as :meth:`set`.
        """
        if self.user is None:
            self._add_unseen(credential, keep)
        elif self._is_primary(credential):
            if not self._is_secondary(keep):
                self._identify(keep, self.user.options.plugin, retain=True)
        elif not (self._is_primary(keep) and self._is_secondary(credential)):
            if not self._is_primary(keep):
                # RETAIN keeps the primary one. The secondary stays as it is meanwhile.
                self._identify(keep, self.user.options.plugin)
            self._identify(credential, self.user.options.plugin, retain=True)
        # The statement also clears the server's cache of logins. Without TLS the server then admits a client only with
        # the server's key, or after another client that had it: the application's next session would be refused.
        self._prove(keep)

    def _add_unseen(self, credential: Credential, keep: Credential) -> None:
        try:
            log_in(self.session.server, credential).close()
        except AuthenticationFailed:
            self._identify(keep, None)
            self._identify(credential, None, retain=True)

    def _is_primary(self, credential: Credential) -> bool:
        return bool(self.user and is_of(self.user.primary, credential.password))

    def _is_secondary(self, credential: Credential) -> bool:
        return bool(self.user and self.user.secondary and is_of(self.user.secondary, credential.password))

    @property
    def _may_be_locked(self) -> bool:
        """Whether ACCOUNT LOCK, or FAILED_LOGIN_ATTEMPTS, may keep the account out; its own session it did not."""
        return self.user is not None and self.own is None and (self.user.locked or self.user.options.failed_logins > 0)

    def _may_have_two(self) -> bool:
        """Whether the session may give its own account a second password, or take it away."""
        return any(isinstance(right, Dynamic) and right.name == TWO_OWN for right in rights_of_session(self.session))

    def _identify(self, credential: Credential, plugin: str | None, *, retain: bool = False) -> None:
        password, kept = literal(credential.password.reveal()), " RETAIN CURRENT PASSWORD" if retain else ""
        try:
            if self.own is None:
                with_plugin = f" WITH {literal(plugin)}" if plugin else ""
                self._alter(f"IDENTIFIED{with_plugin} BY {password}{kept} ACCOUNT UNLOCK")
            else:
                self._identify_own(password, kept)
        except ServerError as error:
            if error.code not in HISTORY or not self._was_done(credential):
                raise _explained(error, self.session, self.account) from None

    def _identify_own(self, password: str, kept: str) -> None:
        try:
            self._alter(f"IDENTIFIED BY {password}{kept}")
        except ServerError as error:
            if error.code not in CURRENT_PASSWORD_NEEDED or self.own is None:
                raise
            self._alter(f"IDENTIFIED BY {password} REPLACE {literal(self.own.reveal())}{kept}")

    def _was_done(self, credential: Credential) -> bool:
        """Whether a password that the account may not have again is the one that it has.

        If the user may have two, and the session cannot read which, it might be the one that is discarded next.
        """
        if self.user is not None or self._may_have_two():
            return False
        try:
            log_in(self.session.server, credential).close()
        except AuthenticationFailed:
            return False
        return True

    def _alter(self, clause: str) -> None:
        self.session.ask(f"ALTER USER {'USER()' if self.own is not None else self.account.sql} {clause}")

    def _prove(self, credential: Credential) -> None:
        try:
            log_in(self.session.server, credential).close()
        except AuthenticationFailed as error:
            raise Refused(f"a password of user {credential.username} that must still work does not: {error}") from None


def _explained(error: ServerError, session: Session, account: Account) -> ServerError | Refused:
    if error.code in HISTORY:
        return Refused(
            f"user {account} at {session.server} may not have a password again that it had before (PASSWORD HISTORY, "
            f"PASSWORD REUSE INTERVAL); with PASSWORD HISTORY 0 and PASSWORD REUSE INTERVAL 0 DAY it may"
        )
    if error.code in POLICY:
        policy = password_policy(session)
        return Refused(
            f"the password policy of {session.server} refuses the new password of {account}"
            f"{f' ({policy})' if policy else ''}; change rotation.password so that passwords meet it"
        )
    return error
