"""Run a verify query of MySQL or MariaDB as the application's user.

A query's text and rows are in no message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from rotated_secrets.databases.mysql.errors import (
    READ_ONLY_TRANSACTION,
    TOO_BIG,
    TOOK_TOO_LONG,
    ServerError,
    condition,
    is_temporary,
)
from rotated_secrets.databases.mysql.login import Session, TooMuch
from rotated_secrets.databases.verify_queries import CUT_AFTER_SECONDS, OutOfTime, Query, SessionOver

_SELECT = re.compile(r"[\s(]*(select|with|values|table)\b", re.IGNORECASE)
# A read-only transaction lets SELECT … INTO OUTFILE write a file at the server. It is sought everywhere: in comments,
# which may be code there, and in strings, for where they end depends on the server's sql_mode.
_INTO = re.compile(r"(?<![a-z_$])into(?![a-z0-9_$])", re.IGNORECASE)
_NO_SELECT = "it has to be one SELECT"
_HINTS: Mapping[int, str] = MappingProxyType(
    {
        1064: f"; {_NO_SELECT}",
        READ_ONLY_TRANSACTION: f"; {_NO_SELECT}",
        TOO_BIG: "; the server's max_join_size forbids it: let it read fewer rows",
    }
)


def run(session: Session, query: Query) -> str | None:
    """Run it in a read-only transaction, for its first row where it has no LIMIT; return how it failed.

    Raises:
        OutOfTime, SessionOver.
        Unavailable: it may succeed later.
    """
    if query.number == 1:
        with session.doing("prepare verify queries"):
            # They are the application's, and to be read as the application's are.
            session.ask("SET SESSION sql_mode = @@GLOBAL.sql_mode, max_join_size = @@GLOBAL.max_join_size")
    if not _SELECT.match(query.text):
        return f"failed: {_NO_SELECT}"
    if _INTO.search(query.text):
        return "was not run: it holds the word INTO, which could write a file; leave it out"
    with session.doing(f"run {query}"):
        try:
            _run(session, query.text, query.left)
        except TooMuch:
            raise SessionOver("returns too much; add LIMIT 1, and select fewer columns") from None
        except ServerError as error:
            if error.code in TOOK_TOO_LONG:
                raise OutOfTime from None
            if is_temporary(error):
                raise
            return f"failed: {condition(error)}{_HINTS.get(error.code, '')}"
    # Some functions that are cut short make no error.
    if query.is_late:
        raise OutOfTime
    return None


def _run(session: Session, query: str, left: float) -> None:
    # A query that waits for a lock is tried again later, so the lock's timeout comes before the query's.
    waits = max(1, int(left / 2))
    limits = {"lock_wait_timeout": waits, "innodb_lock_wait_timeout": waits, "sql_select_limit": 1}
    session.pin({**limits, **session.statement_timeout(left)})
    session.ask("START TRANSACTION READ ONLY")
    try:
        session.throw_away(query, left + CUT_AFTER_SECONDS)
    except ServerError:
        session.ask("ROLLBACK")
        raise
    session.ask("ROLLBACK")
