"""A read replica of a real PostgreSQL server, by streaming replication, whose lag a test decides on.

The primary is started with :data:`PRIMARY_SETTINGS`. Knows nothing of the operator, nor of RDS.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from sandbox.postgres import SETTINGS, PostgresServer, _start_on_free_port
from sandbox.servers import give, kept, server_directory, write_file
from sandbox.waiting import eventually

PRIMARY_SETTINGS: Final = {"wal_keep_size": "64MB"}
"""What a server needs, on top of the sandbox's own settings, to be a primary."""


@contextlib.contextmanager
def read_replica(primary: PostgresServer) -> Iterator[PostgresServer]:
    """A server that follows ``primary``, which is stopped for a moment to be copied; removed at the end."""
    account = primary._account
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(server_directory("postgres", account))
        processes: list[subprocess.Popen[bytes]] = []
        stack.callback(lambda: [process.wait() for process in processes])
        stack.enter_context(kept(directory, "data/postmaster.pid"))
        primary.stop()
        try:
            subprocess.run(["cp", "-a", primary.data, directory / "data"], check=True)
        finally:
            primary.start()
        give(directory / "data", account)
        server = replace(primary, data=directory / "data", log_file=directory / "server.log", _processes=processes)
        server.log_file.touch()
        give(server.log_file, account)
        write_file(server.data / "standby.signal", "", account)
        source = f"host={primary.host} port={primary.port} user={primary.admin_user} password={primary.admin_password}"
        settings = {**SETTINGS, **PRIMARY_SETTINGS, "primary_conninfo": f"{source} sslmode=prefer"}
        server = _start_on_free_port(server, settings)
        catch_up(primary, server)
        yield server


def pause(replica: PostgresServer) -> None:
    """From now on, nothing of what the primary does is to be seen at the replica."""
    replica.sql("SELECT pg_wal_replay_pause()")
    eventually(
        lambda: replica.sql("SELECT pg_get_wal_replay_pause_state()") == [("paused",)], "the replica stands still"
    )


def catch_up(primary: PostgresServer, replica: PostgresServer) -> None:
    """Have the replica see everything that the primary has done, and go on so."""
    replica.sql("SELECT pg_wal_replay_resume()")
    ((position,),) = primary.sql("SELECT pg_current_wal_lsn()")

    def caught_up() -> bool:
        return replica.sql("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", params=(position,)) == [(True,)]

    eventually(caught_up, "the replica has caught up", every=0.05)
