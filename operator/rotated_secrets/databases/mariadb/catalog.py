"""What MariaDB's own tables and SHOW statements say about accounts. Every name is qualified; reads only."""

from __future__ import annotations

from dataclasses import replace

from rotated_secrets.databases.base import Refused, Users
from rotated_secrets.databases.guards import no_such_user, not_provably_the_clone
from rotated_secrets.databases.mariadb.clone import Seen
from rotated_secrets.databases.mariadb.hashes import PASSWORD_PLUGINS
from rotated_secrets.databases.mariadb.mark import HOST, PREFIX, Mark, account_of_mark, role_of, without_roles
from rotated_secrets.databases.mariadb.state import State, unsettable
from rotated_secrets.databases.mysql.accounts import LOCAL_HOSTS, Account, literal, the_account
from rotated_secrets.databases.mysql.errors import NO_PRIVILEGE, ServerError
from rotated_secrets.databases.mysql.grants import ALL, EVERYTHING, Privilege, RightSet
from rotated_secrets.databases.mysql.login import Row, Session
from rotated_secrets.databases.mysql.show_grants import read

# A server that checks passwords takes no hashes, unless it is configured to.
_CHECKING = """
SELECT plugin_name FROM information_schema.plugins
WHERE plugin_type = 'PASSWORD VALIDATION' AND plugin_status = 'ACTIVE' AND @@GLOBAL.strict_password_validation
"""


def look(session: Session, users: Users, admin: Account) -> tuple[Seen, Seen | None]:
    """Return both users as they are; None for a clone that does not exist.

    Raises:
        Refused: the base user's password cannot be set, another user has the clone's name, or ``admin``, whose session
            it is, may not read them.
    """
    base = _base(session, users.base, admin)
    return base, _clone(session, base.state.account, users.clone, admin) if users.clone is not None else None


def account_of(session: Session, user: str, admin: Account) -> Account | None:
    """Return the account of a user name; None if there is none. Raises: Refused, if there are several."""
    states = [seen.state.account for seen in _accounts(session, user, admin)]
    found = the_account(states)
    if found is None and states:
        raise Refused(
            f"there are several users {user} at {session.server}, and it is not known which one is meant; keep only "
            f"one of them"
        )
    return found


def clones_of(session: Session, base: Account, admin: Account) -> tuple[str, ...]:
    """The names of the users that are marked as clones of an account."""
    like = f"Host = {literal(HOST)} AND User LIKE {literal(PREFIX + '%')}"
    issuer = f"JSON_VALUE(Priv, '$.x509_issuer') = {literal(str(base))}"
    rows = _ask(session, base.user, f"SELECT Priv FROM mysql.global_priv WHERE {like} AND {issuer}", admin)
    marks = (Mark.read(str(text)) for (text,) in rows)
    named = {Account(*mark.clone.rpartition("@")[::2]) for mark in marks if mark is not None}
    marked = (each for account in sorted(named) for each in _accounts(session, account.user, admin))
    found = {seen.state.account.user for seen in marked if seen.original == str(base)}
    return tuple(sorted(found | _clones_by_role(session, base.user, admin)))


def _clones_by_role(session: Session, base: str, admin: Account) -> set[str]:
    """Users with the role that was the mark once. Who made it has it WITH ADMIN OPTION."""
    statement = f"SELECT User FROM mysql.roles_mapping WHERE Role = {literal(role_of(base))} AND Admin_option = 'N'"
    return {str(user) for (user,) in _ask(session, base, statement, admin)}


def may(session: Session, privilege: str) -> bool:
    """Whether the session has a privilege on everything, by itself or by a role."""
    with session.doing(f"look what {session.user} may do"):
        own = read(str(row[0]) for row in session.ask("SHOW GRANTS"))
    return bool({Privilege(EVERYTHING, privilege), Privilege(EVERYTHING, ALL)} & own)


def checks_passwords(session: Session) -> tuple[str, ...]:
    """Return the plug-ins that check passwords, because of which the server takes no hashes."""
    with session.doing("look whether the server checks passwords"):
        return tuple(str(row[0]) for row in session.ask(_CHECKING))


def _base(session: Session, user: str, admin: Account) -> Seen:
    accounts = {seen.state.account: seen for seen in _accounts(session, user, admin)}
    if not accounts:
        raise no_such_user(user, session.server)
    account = the_account(accounts)
    if account is None:
        hosts = ", ".join(sorted(each.host for each in accounts))
        raise Refused(
            f"there are several users {user} at {session.server}, from hosts {hosts}, and it is not known which "
            f"one the secret is for; keep only one of them"
        )
    found = accounts[account].state
    if found.is_role:
        raise Refused(f"{user} at {session.server} is a role, not a user; correct the secret value")
    why = unsettable(found.entries)
    if why:
        raise Refused(
            f"user {user} at {session.server} {why}; give it one by "
            f"ALTER USER {account.sql} IDENTIFIED VIA {' or '.join(sorted(PASSWORD_PLUGINS))} USING PASSWORD('…')"
        )
    return _with_rights(session, accounts[account], admin)


def _clone(session: Session, base: Account, user: str, admin: Account) -> Seen | None:
    accounts = {seen.state.account: seen for seen in _accounts(session, user, admin)}
    own = accounts.pop(base.named(user), None)
    others = sorted(account.host for account in accounts if account.host not in LOCAL_HOSTS)
    if others:
        where = ", ".join(host or "nowhere (a role)" for host in others)
        why = f"there is one from {where}, and {base.user} is from {base.host}"
        raise not_provably_the_clone(user, base.user, f"at {session.server}", why)
    return _with_rights(session, own, admin) if own else None


def _accounts(session: Session, user: str, admin: Account) -> tuple[Seen, ...]:
    """The accounts of a user name, with the mark of a clone of this name; their rights are not looked at."""
    mark = account_of_mark(user)
    named = f"User = {literal(user)} OR (User = {literal(mark.user)} AND Host = {literal(mark.host)})"
    rows = _ask(session, user, f"SELECT User, Host, Priv FROM mysql.global_priv WHERE {named}", admin)
    found = next((Mark.read(str(text)) for *account, text in rows if Account(*account) == mark), None)
    try:
        states = [State.read(str(name), str(host), str(text)) for name, host, text in rows if str(name) == user]
    except ValueError as error:
        raise Refused(f"could not look at user {user} at {session.server}: {error} is not understood") from None
    return tuple(Seen(state, frozenset(), found) for state in states)


def _with_rights(session: Session, seen: Seen, admin: Account) -> Seen:
    rights, roles = without_roles(_rights(session, seen.state.account, admin))
    return replace(seen, rights=rights, roles=roles)


def _rights(session: Session, account: Account, admin: Account) -> RightSet:
    rows = _ask(session, account.user, f"SHOW GRANTS FOR {account.sql}", admin)
    return read((str(row[0]) for row in rows), account)


def _ask(session: Session, user: str, statement: str, admin: Account) -> tuple[Row, ...]:
    with session.doing(f"look at user {user}"):
        try:
            return session.ask(statement)
        except ServerError as error:
            if error.code not in NO_PRIVILEGE:
                raise
    raise Refused(
        f"{admin} may not look at user {user} at {session.server}; run: GRANT SELECT ON mysql.* TO {admin.sql}"
    )
