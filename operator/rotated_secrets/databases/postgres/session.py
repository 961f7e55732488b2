"""What sessions have in common in which the operator itself changes something: their settings and transactions.

Knows no statement that changes anything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from rotated_secrets.databases.base import Server
from rotated_secrets.databases.postgres.errors import failed_statement
from rotated_secrets.databases.postgres.login import TIMEOUTS, deadline

# What `ALTER DATABASE … SET` and `ALTER ROLE … SET` could otherwise turn against the session. Temporary objects are
# looked up last: unnamed they would come first.
PINNED: Mapping[str, str] = {
    **TIMEOUTS,
    "search_path": "pg_catalog,pg_temp",
    "role": "none",
    "local_preload_libraries": "",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "default_transaction_isolation": "read\\ committed",
    # A password that a crash takes back would lock its user out.
    "synchronous_commit": "on",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "exit_on_error": "off",
    "debug_print_parse": "off",
    "debug_print_rewritten": "off",
    "debug_print_plan": "off",
    "client_min_messages": "warning",
    "DateStyle": "ISO",
    "TimeZone": "UTC",
}


@contextlib.contextmanager
def transaction(connection: Connection, server: Server, doing: str) -> Iterator[Cursor]:
    """Run statements that hold together. Raises: Unavailable, Refused; ``doing`` completes "could not …"."""
    try:
        with deadline(connection), connection, connection.cursor() as cursor:
            yield cursor
    except psycopg2.Error as error:
        raise failed_statement(error, server, doing) from None
