"""Running a server of the MySQL family, for `sandbox.mysql` and `sandbox.mariadb`, which know how the two differ.

It speaks TLS and plaintext, keeps a general log of every statement and a binary log, and is gone at the end, also when
the process that started it was killed. It knows nothing of the operator.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from sandbox.servers import (
    Account,
    ServerStartError,
    as_account,
    cache_directory,
    free_port,
    give,
    kept,
    made_once,
    server_directory,
    unprivileged_account,
    write_file,
)
from sandbox.tls import CertificateAuthority

ADMIN_USER = "sandbox_admin"
START_SECONDS = 30.0
PID_FILE = "server.pid"
# As a package sets it up, but for addresses, sizes, logs, and waiting for the disk.
SETTINGS: Mapping[str, str] = {
    "bind-address": "127.0.0.1",
    # Applications have addresses of this machine here. As localhost, MariaDB's anonymous user would be logged in.
    "skip-name-resolve": "ON",
    "max-connections": "60",
    "server-id": "1",
    "general-log": "ON",
    "sync-binlog": "0",
    "innodb-buffer-pool-size": "32M",
    "innodb-flush-log-at-trx-commit": "2",
    "innodb-doublewrite": "0",
    "innodb-flush-method": "nosync",
    "innodb-fast-shutdown": "2",
    "secure-file-priv": "",
}


@dataclass(frozen=True)
class Program:
    """A server of the family that is on this machine."""

    kind: str
    """What people call it: MySQL or MariaDB."""
    version: str
    command: tuple[str, ...]
    """How to run it, without `--no-defaults` and settings."""
    settings: Mapping[str, str]
    """What this one needs on top of SETTINGS."""
    initialise: Callable[[Program, Path, Account | None], None] = field(repr=False)
    """Makes a data directory, the account's."""
    first_statements: Callable[[str, str], tuple[str, ...]] = field(repr=False)
    """Creates the admin by name and password, which no log may show. Others log in by no password over TCP."""
    without_tls: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind.lower()}-{self.version}"


@dataclass(frozen=True)
class MysqldServer:
    """A running server. `ca_file` is None where TLS is off."""

    program: Program
    host: str
    port: int
    admin_user: str
    admin_password: str = field(repr=False)
    ca_file: Path | None
    directory: Path
    settings: Mapping[str, str]
    _account: Account | None = field(repr=False)
    _processes: list[subprocess.Popen[bytes]] = field(repr=False, compare=False, default_factory=list)

    @property
    def tls(self) -> bool:
        return self.ca_file is not None

    @property
    def version(self) -> str:
        return self.program.version

    @property
    def ca_pem(self) -> str | None:
        return None if self.ca_file is None else self.ca_file.read_text()

    def connect(
        self, user: str | None = None, password: str | None = None, dbname: str | None = None, **options: Any
    ) -> Connection[Cursor]:
        """A login over TLS where the server has it, as the admin unless told otherwise. The caller closes it.

        `options` are the driver's; `ssl_disabled=True` logs in without TLS.
        """
        if user is None:
            user, password = self.admin_user, self.admin_password
        protection: dict[str, Any] = {"ssl_disabled": True}
        if self.tls and not options.get("ssl_disabled"):
            protection = {"ssl_ca": str(self.ca_file), "ssl_verify_cert": True, "ssl_verify_identity": True}
        login = {"host": self.host, "port": self.port, "connect_timeout": 10, "charset": "utf8mb4", **protection}
        connection: Connection[Cursor] = pymysql.connect(
            user=user, password=password or "", database=dbname, autocommit=True, **{**login, **options}
        )
        return connection

    def sql(
        self,
        *statements: str,
        params: Sequence[Any] | None = None,
        dbname: str | None = None,
        user: str | None = None,
        password: str | None = None,
        logged: bool = True,
    ) -> list[tuple[Any, ...]]:
        """Run statements one by one, each committed, on a connection of their own; the last one's rows.

        ``logged=False``, for the admin alone, keeps passwords of users that a test or demo makes out of the logs.
        """
        with contextlib.closing(self.connect(user, password, dbname)) as connection, connection.cursor() as cursor:
            if not logged:
                cursor.execute("SET SESSION sql_log_off = 1, SESSION sql_log_bin = 0")
            for statement in statements:
                cursor.execute(statement, params)
            return list(cursor.fetchall())

    def log(self) -> str:
        """Every statement and login that the server has seen, then what it said itself."""
        statements = self.directory / "general.log"
        return (statements.read_text(errors="replace") if statements.exists() else "") + self._said()

    def binlog(self) -> bytes:
        """What would go to replicas."""
        return b"".join(path.read_bytes() for path in sorted(self.directory.glob("binlog.[0-9]*")))

    def stop(self) -> None:
        """An orderly outage: clients are disconnected, and the port refuses until `start`."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """A crash: nothing is flushed or said goodbye to; `start` goes through recovery."""
        self._signal(signal.SIGKILL)

    def start(self) -> None:
        """Come back on the same port after `stop` or `kill`; returns when logins are accepted."""
        self._start([])

    def _start(self, options: Sequence[str]) -> None:
        command = [*self.program.command, "--no-defaults", *_as_options(self._places()), *_as_options(self.settings)]
        with (self.directory / "error.log").open("ab") as log:
            process = subprocess.Popen(
                [*command, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory / "data",
                env=environment(),
                start_new_session=True,
                **as_account(self._account),
            )
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(pymysql.Error):
                self.connect().close()
                self._processes.append(process)
                return
            time.sleep(0.02)
        process.kill()
        process.wait()
        raise ServerStartError(f"{self.program} did not start: {self._said()[-2000:]}")

    def _said(self) -> str:
        return (self.directory / "error.log").read_text(errors="replace")

    def _places(self) -> dict[str, str]:
        names = {"datadir": "data", "tmpdir": "tmp", "log-bin": "binlog", "general-log-file": "general.log"}
        names |= {"socket": "s", "pid-file": PID_FILE}
        if self.tls:
            names |= {"ssl-ca": "ca.pem", "ssl-cert": "server.crt", "ssl-key": "server.key"}
        return {name: str(self.directory / place) for name, place in names.items()} | {"port": str(self.port)}

    def _signal(self, signum: signal.Signals) -> None:
        while self._processes:
            process = self._processes.pop()
            process.send_signal(signum)
            process.wait(START_SECONDS)


@contextlib.contextmanager
def running(
    program: Program,
    *,
    authority: CertificateAuthority | None = None,
    tls: bool = True,
    settings: Mapping[str, str] | None = None,
) -> Iterator[MysqldServer]:
    """A fresh server, removed at the end.

    `tls=False` turns TLS off; `settings` go on top of the sandbox's own, named as the command line's options.
    Raises ServerStartError.
    """
    account = server_account()
    processes: list[subprocess.Popen[bytes]] = []
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(server_directory(program.kind.lower(), account))
        stack.callback(lambda: [process.wait() for process in processes])
        stack.enter_context(kept(directory, PID_FILE))
        server = MysqldServer(
            program=program,
            host="127.0.0.1",
            port=0,
            admin_user=ADMIN_USER,
            admin_password=secrets.token_urlsafe(18),
            ca_file=directory / "ca.pem" if tls else None,
            directory=directory,
            settings={**SETTINGS, **program.settings, **({} if tls else program.without_tls), **(settings or {})},
            _account=account,
            _processes=processes,
        )
        _furnish(server, authority or CertificateAuthority.create())
        yield _start_on_free_port(server)


def server_account() -> Account | None:
    return unprivileged_account("mysql")


def environment() -> dict[str, str]:
    kept_names = {name: value for name, value in os.environ.items() if not name.startswith(("MYSQL", "MARIADB", "LC_"))}
    return {**kept_names, "LANG": "C", "LC_ALL": "C", "TZ": "UTC"}


def _furnish(server: MysqldServer, authority: CertificateAuthority) -> None:
    account, directory = server._account, server.directory
    template = made_once(
        cache_directory(account) / f"{server.program}-as-packaged",
        lambda path: server.program.initialise(server.program, path, account),
    )
    shutil.copytree(template, directory / "data")
    (directory / "tmp").mkdir()
    give(directory, account)
    if server.ca_file is not None:
        pair = authority.issue()
        write_file(server.ca_file, authority.certificate, account)
        write_file(directory / "server.crt", pair.certificate, account)
        write_file(directory / "server.key", pair.key, account)
    statements = [
        *server.program.first_statements(server.admin_user, server.admin_password),
        f"GRANT ALL ON *.* TO `{server.admin_user}`@`%` WITH GRANT OPTION",
    ]
    write_file(directory / "admin.sql", "".join(f"{statement};\n" for statement in statements), account)


def _start_on_free_port(server: MysqldServer) -> MysqldServer:
    for last_try in (False, False, True):
        server = replace(server, port=free_port())
        try:
            server._start([f"--init-file={server.directory / 'admin.sql'}"])
            break
        except ServerStartError:
            # Somebody else may have taken the port since it was seen free.
            if last_try or "Address already in use" not in server._said():
                raise
    (server.directory / "admin.sql").unlink()
    return server


def _as_options(settings: Mapping[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in settings.items()]
