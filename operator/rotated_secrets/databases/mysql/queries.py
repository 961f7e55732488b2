"""Verify queries, run as the application's user: do they succeed? Of MySQL and MariaDB.

A query's text and rows stay here and there: they are in no message.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence

from rotated_secrets.databases.mysql.errors import (
    READ_ONLY_TRANSACTION,
    TOOK_TOO_LONG,
    ServerError,
    condition,
    is_temporary,
)
from rotated_secrets.databases.mysql.login import Session, TooMuch

CUT_AFTER_SECONDS = 1.0
"""How much later than by the server's own clock a query is cut that does not end."""

_SELECT = re.compile(r"[\s(]*(select|with|values|table)\b", re.IGNORECASE)
# A read-only transaction lets SELECT … INTO OUTFILE write a file at the server. It is sought everywhere: in comments,
# which may be code there, and in strings, for where they end depends on the server's sql_mode.
_INTO = re.compile(r"(?<![a-z_$])into(?![a-z0-9_$])", re.IGNORECASE)
_NO_SELECT = "it has to be one SELECT"


def failing(session: Session, queries: Sequence[str], seconds: float) -> Iterator[str]:
    """Run each query in a read-only transaction, for its first row where it has no LIMIT; what failed, a sentence each.

    ``seconds`` is for all together: a rotation holds its lock by a session that is idle meanwhile.

    Raises:
        Unavailable: a query may succeed later.
    """
    if not queries:
        return
    with session.doing("prepare verify queries"):
        # They are the application's, and to be read as the application's are.
        session.ask("SET SESSION sql_mode = @@GLOBAL.sql_mode")
    end = time.monotonic() + seconds
    slow = f"verify queries took longer than {seconds:g} s together (at query {{}}); make them cheaper"
    for number, query in enumerate(queries, start=1):
        if not _SELECT.match(query):
            yield f"verify query {number} failed: {_NO_SELECT}"
            continue
        if _INTO.search(query):
            yield f"verify query {number} was not run: it holds the word INTO, which could write a file; leave it out"
            continue
        left = max(end - time.monotonic(), 0.001)
        with session.doing(f"run verify query {number}"):
            try:
                _run(session, query, left)
            except TooMuch:
                yield f"verify query {number} brings too much; add LIMIT 1, and select fewer columns"
                return
            except ServerError as error:
                if error.code in TOOK_TOO_LONG:
                    yield slow.format(number)
                    return
                if is_temporary(error):
                    raise
                hint = f"; {_NO_SELECT}" if error.code in (1064, READ_ONLY_TRANSACTION) else ""
                yield f"verify query {number} failed: {condition(error)}{hint}"
        # Some functions that are cut short make no error.
        if time.monotonic() > end:
            yield slow.format(number)
            return


def _run(session: Session, query: str, left: float) -> None:
    # One that waits for a lock is to be tried again: it is told so before it has taken too long.
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
