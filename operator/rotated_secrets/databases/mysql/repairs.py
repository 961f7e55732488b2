"""Statements that make a clone equal to its base user, and what it means that one of them failed.

The same for MySQL and MariaDB. Knows nothing of what the statements are for.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from rotated_secrets.databases.base import Refused
from rotated_secrets.databases.mysql.accounts import Account
from rotated_secrets.databases.mysql.errors import GONE, NO_PRIVILEGE, ServerError, is_temporary, reason
from rotated_secrets.databases.mysql.login import Session
from rotated_secrets.databases.parity import ObjectGone

SYSTEM_USER = "SYSTEM_USER"
"""The privilege to change users of MySQL that have it."""
_OPTIONS = (" WITH GRANT OPTION", " WITH ADMIN OPTION")
_ON_PACKAGE = re.compile(r" ON PACKAGE(?: BODY)? `")


def run_repair(session: Session, statement: str, base: Account, clone: Account, admin: Account) -> None:
    """Run one statement that gives the clone something of its base user, or takes something from it.

    Raises:
        ObjectGone: what the right is for does not exist any more: the servers keep such rights, and give none.
        Refused: the statement failed for good, with what to run.
        ServerError, ConnectionLost: it may succeed later.
    """
    try:
        with _mode_of(session, statement):
            session.ask(statement)
    except ServerError as error:
        if is_temporary(error):
            raise
        raise _explained(error, statement, base, clone, admin) from None


@contextlib.contextmanager
def _mode_of(session: Session, statement: str) -> Iterator[None]:
    """The sql_mode that a statement needs: MariaDB before 11.4 has packages in mode ORACLE alone ("CREATE PACKAGE")."""
    if not _ON_PACKAGE.search(statement):
        yield
        return
    ((usual,),) = session.ask("SELECT @@SESSION.sql_mode")
    session.pin({"sql_mode": f"{usual},ORACLE"})
    try:
        yield
    finally:
        session.pin({"sql_mode": str(usual)})


def _explained(error: ServerError, statement: str, base: Account, clone: Account, admin: Account) -> Refused:
    if error.privilege == SYSTEM_USER:
        return Refused(f"the clone has {SYSTEM_USER}, as its base user; run: GRANT {SYSTEM_USER} ON *.* TO {admin.sql}")
    right, to, option = statement.partition(f" TO {clone.sql}")
    if statement.startswith("GRANT ") and to:
        clean_up = f"{_revoked(right, option)} FROM {base.sql}"
        if error.code in GONE:
            return ObjectGone(f"which is gone; run: {_by_hand(clean_up)}")
        if error.code in NO_PRIVILEGE and right.startswith("GRANT PROXY ON "):
            # To pass it on the admin would need more than the same right: one that also holds where the admin is.
            return Refused(f"the admin may not pass it on; run: {statement}")
        if error.code in NO_PRIVILEGE:
            gone = f"; if it is for something that is gone, run: {_by_hand(clean_up)}" if _of_an_object(right) else ""
            statements = "; ".join(_for_admin(right, option, admin))
            return Refused(f"the admin may not pass it on; run: {_by_hand(statements)}{gone}")
    if statement.startswith("REVOKE ") and error.code in NO_PRIVILEGE:
        return Refused(f"the admin may not take it away; run: {_by_hand(statement)}")
    return Refused(reason(error))


def _by_hand(statements: str) -> str:
    """Statements as a person has to run them, in a session with the server's own sql_mode."""
    return f"SET SESSION sql_mode = 'ORACLE'; {statements}" if _ON_PACKAGE.search(statements) else statements


def _for_admin(right: str, option: str, admin: Account) -> list[str]:
    """The statements after which the admin may give a right as the failed statement did."""
    how = "WITH GRANT OPTION" if " ON " in right else "WITH ADMIN OPTION"
    statements = [f"{right} TO {admin.sql} {how}"]
    if right.endswith(" ON *.*") and option:
        # MySQL's grant options of dynamic privileges are each privilege's, but to give one takes that of *.* as well.
        statements.append(f"GRANT USAGE ON *.* TO {admin.sql} WITH GRANT OPTION")
    return list(dict.fromkeys(statements))


def _revoked(right: str, option: str) -> str:
    """The REVOKE of what a GRANT gives, as far as its FROM."""
    if option in _OPTIONS and right.startswith("GRANT USAGE ON "):
        return right.replace("GRANT USAGE", "REVOKE GRANT OPTION", 1)
    return right.replace("GRANT", "REVOKE", 1)


def _of_an_object(right: str) -> bool:
    """Whether it is for one table, column or routine: the admin cannot see those that it has no right to."""
    on = right.rpartition(" ON ")[2]
    return "`.`" in on
