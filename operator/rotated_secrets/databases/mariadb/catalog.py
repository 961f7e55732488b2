"""What MariaDB's own tables and SHOW statements say about accounts. Every name is qualified; reads only."""

from __future__ import annotations

from rotated_secrets.databases.base import Refused, Users
from rotated_secrets.databases.guards import no_such_user, not_provably_the_clone
from rotated_secrets.databases.mariadb.clone import Seen, mark
from rotated_secrets.databases.mariadb.hashes import PASSWORD_PLUGINS
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
    accounts = [state.account for state in _states(session, user, admin)]
    found = the_account(accounts)
    if found is None and accounts:
        raise Refused(
            f"there are several users {user} at {session.server}, and it is not known which one is meant; keep only "
            f"one of them"
        )
    return found


def clones_of(session: Session, base: str, admin: Account) -> tuple[str, ...]:
    """The names of the users that are marked as clones. Who made the role of the mark has it WITH ADMIN OPTION."""
    statement = f"SELECT User FROM mysql.roles_mapping WHERE Role = {literal(mark(base))} AND Admin_option = 'N'"
    return tuple(str(user) for (user,) in _ask(session, base, statement, admin))


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
    states = {state.account: state for state in _states(session, user, admin)}
    if not states:
        raise no_such_user(user, session.server)
    account = the_account(states)
    if account is None:
        hosts = ", ".join(sorted(each.host for each in states))
        raise Refused(
            f"there are several users {user} at {session.server}, from hosts {hosts}, and it is not known which "
            f"one the secret is for; keep only one of them"
        )
    found = states[account]
    if found.is_role:
        raise Refused(f"{user} at {session.server} is a role, not a user; correct the secret value")
    why = unsettable(found.entries)
    if why:
        raise Refused(
            f"user {user} at {session.server} {why}; give it one by "
            f"ALTER USER {account.sql} IDENTIFIED VIA {' or '.join(sorted(PASSWORD_PLUGINS))} USING PASSWORD('…')"
        )
    return Seen(found, _rights(session, account, admin))


def _clone(session: Session, base: Account, user: str, admin: Account) -> Seen | None:
    states = {state.account: state for state in _states(session, user, admin)}
    own = states.pop(base.named(user), None)
    others = sorted(account.host for account in states if account.host not in LOCAL_HOSTS)
    if others:
        where = ", ".join(host or "nowhere (a role)" for host in others)
        why = f"there is one from {where}, and {base.user} is from {base.host}"
        raise not_provably_the_clone(user, base.user, f"at {session.server}", why)
    return Seen(own, _rights(session, own.account, admin)) if own else None


def _states(session: Session, user: str, admin: Account) -> tuple[State, ...]:
    rows = _ask(session, user, f"SELECT User, Host, Priv FROM mysql.global_priv WHERE User = {literal(user)}", admin)
    try:
        return tuple(State.read(str(name), str(host), str(text)) for name, host, text in rows)
    except ValueError as error:
        raise Refused(f"could not look at user {user} at {session.server}: {error} is not understood") from None


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
