"""A real PostgreSQL server on a free loopback port, for the demo and the tests.

It is set up as Debian's package does: locale, superuser `postgres`, and who may log in how. It speaks TLS with a
throw-away authority where the build can, logs every statement, and is gone at the end, also when the process that
started it was killed. It knows nothing of the operator.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql as pgsql
from psycopg2.extensions import connection as Connection  # noqa: N812

from sandbox.postgres_installations import Installation, PostgresStartError, default_installation, installations
from sandbox.servers import (
    Account,
    as_account,
    free_port,
    kept,
    server_directory,
    unprivileged_account,
    write_file,
)
from sandbox.tls import CertificateAuthority

__all__ = [
    "Installation",
    "PostgresServer",
    "PostgresStartError",
    "default_installation",
    "installations",
    "postgres_server",
]

ADMIN_USER = "postgres"
LOCALE = "C.UTF-8"
"""The one that Debian itself has, without any package of locales."""
START_SECONDS = 20.0
# As a package sets it up, but for addresses, sizes, logs, and waiting for the disk.
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "16MB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_statement": "all",
    "log_connections": "on",
    "log_disconnections": "on",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}
HBA = (
    "local all postgres peer",
    "local all all peer",
    "host all all 127.0.0.1/32 scram-sha-256",
    "host all all ::1/128 scram-sha-256",
    "local replication all peer",
    "host replication all 127.0.0.1/32 scram-sha-256",
    "host replication all ::1/128 scram-sha-256",
)


@dataclass(frozen=True)
class PostgresServer:
    """A running server. `ca_file` is None where TLS is off; `log_file` has every statement and login."""

    installation: Installation
    host: str
    port: int
    admin_user: str
    admin_password: str = field(repr=False)
    ca_file: Path | None
    log_file: Path
    data: Path
    _account: Account | None = field(repr=False)
    _processes: list[subprocess.Popen[bytes]] = field(repr=False, compare=False, default_factory=list)

    @property
    def tls(self) -> bool:
        return self.ca_file is not None

    @property
    def major(self) -> int:
        return self.installation.major

    @property
    def ca_pem(self) -> str | None:
        return None if self.ca_file is None else self.ca_file.read_text()

    def connect(
        self, user: str | None = None, password: str | None = None, dbname: str = "postgres", **options: Any
    ) -> Connection:
        """A login over TLS where the server has it, as the admin unless told otherwise. The caller closes it."""
        if user is None:
            user, password = self.admin_user, self.admin_password
        verify = {"sslmode": "verify-full", "sslrootcert": str(self.ca_file)} if self.tls else {"sslmode": "disable"}
        login = {
            "host": self.host,
            "port": self.port,
            "connect_timeout": 10,
            "sslcertmode": "disable",
            **verify,
            **options,
        }
        connection: Connection = psycopg2.connect(user=user, password=password, dbname=dbname, **login)
        return connection

    def sql(
        self,
        *statements: str | pgsql.Composable,
        params: Sequence[Any] | None = None,
        dbname: str = "postgres",
        user: str | None = None,
        password: str | None = None,
        logged: bool = True,
    ) -> list[tuple[Any, ...]]:
        """Run statements one by one, each committed, on a connection of their own; the last one's rows.

        ``logged=False``, for the admin alone, keeps passwords of users that a test or demo makes out of the log.
        """
        options = {} if logged else {"options": "-c log_statement=none"}
        with contextlib.closing(self.connect(user, password, dbname, **options)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement, params)
                return cursor.fetchall() if cursor.description else []

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def stop(self) -> None:
        """An orderly outage: clients are disconnected, and the port refuses until `start`."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """A crash: nothing is flushed or said goodbye to; `start` goes through recovery."""
        self._signal(signal.SIGQUIT)

    def start(self) -> None:
        """Come back on the same port after `stop` or `kill`; returns when logins are accepted."""
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(
                [self.installation.directory / "postgres", "-D", self.data],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.data,
                env=_environment(),
                start_new_session=True,
                **as_account(self._account),
            )
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if self._ready(process.pid):
                self._processes.append(process)
                return
            time.sleep(0.01)
        process.kill()
        process.wait()
        raise PostgresStartError(f"{self.installation} did not start: {self.log()[-2000:]}")

    def _ready(self, pid: int) -> bool:
        with contextlib.suppress(OSError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"
        return False

    def _signal(self, signum: signal.Signals) -> None:
        while self._processes:
            process = self._processes.pop()
            process.send_signal(signum)
            process.wait(START_SECONDS)


@contextlib.contextmanager
def postgres_server(
    installation: Installation | None = None,
    *,
    authority: CertificateAuthority | None = None,
    tls: bool = True,
    settings: Mapping[str, str] | None = None,
    hba: Sequence[str] = HBA,
    locale: str = LOCALE,
) -> Iterator[PostgresServer]:
    """A fresh server, removed at the end.

    `tls=False` turns TLS off where the build has it; `settings` go into postgresql.conf on top of the sandbox's own;
    `hba` are the lines of pg_hba.conf; `locale` decides the language of messages, too. Raises PostgresStartError.
    """
    installation = installation or default_installation()
    account = unprivileged_account("postgres")
    processes: list[subprocess.Popen[bytes]] = []
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(server_directory("postgres", account))
        stack.callback(lambda: [process.wait() for process in processes])
        stack.enter_context(kept(directory, "data/postmaster.pid"))
        installation = _within_reach(installation, account, directory)
        server = PostgresServer(
            installation=installation,
            host="127.0.0.1",
            port=0,
            admin_user=ADMIN_USER,
            admin_password=secrets.token_urlsafe(18),
            ca_file=directory / "ca.pem" if tls and installation.tls else None,
            log_file=directory / "server.log",
            data=directory / "data",
            _account=account,
            _processes=processes,
        )
        _initialise(server, authority or CertificateAuthority.create(), hba, locale)
        yield _start_on_free_port(server, {**SETTINGS, "lc_messages": locale, **(settings or {})})


def _initialise(server: PostgresServer, authority: CertificateAuthority, hba: Sequence[str], locale: str) -> None:
    account, directory = server._account, server.data.parent
    write_file(directory / "password", server.admin_password + "\n", account)
    command: list[str | Path] = [server.installation.directory / "initdb"]
    command += ["--pgdata", server.data, "--username", server.admin_user]
    command += ["--no-sync", "--no-instructions", "--encoding=UTF8", f"--locale={locale}"]
    command += ["--auth=scram-sha-256", "--pwfile", directory / "password"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=directory, env=_environment(), **as_account(account)
    )
    if done.returncode:
        raise PostgresStartError(f"initdb of {server.installation} failed: {done.stderr.strip()[-2000:]}")
    (directory / "password").unlink()
    if server.ca_file is not None:
        pair = authority.issue()
        write_file(server.ca_file, authority.certificate, account)
        write_file(server.data / "server.crt", pair.certificate, account)
        write_file(server.data / "server.key", pair.key, account)
    write_file(server.data / "pg_hba.conf", "".join(f"{line}\n" for line in hba), account)


def _start_on_free_port(server: PostgresServer, settings: Mapping[str, str]) -> PostgresServer:
    for last_try in (False, False, True):
        server = replace(server, port=free_port())
        lines = {**settings, "ssl": "on" if server.tls else "off", "port": str(server.port)}
        text = "".join("{} = '{}'\n".format(name, value.replace("'", "''")) for name, value in lines.items())
        write_file(server.data / "postgresql.conf", text, server._account)
        try:
            server.start()
            break
        except PostgresStartError:
            # Somebody else may have taken the port since it was seen free.
            if last_try or "Address already in use" not in server.log():
                raise
    return server


def _within_reach(installation: Installation, account: Account | None, directory: Path) -> Installation:
    """The installation, copied if the server's account cannot reach where it is (a virtual environment in /root)."""
    if account is None:
        return installation
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        subprocess.run(
            [installation.directory / "postgres", "--version"],
            check=True,
            capture_output=True,
            cwd="/",
            **as_account(account),
        )
        return installation
    # A wheel's programs look for their libraries beside the package: keep the layout.
    package = installation.directory.parent.parent
    for folder in (installation.directory.parent, package.with_name(f"{package.name}.libs")):
        if folder.exists():
            copied = directory / folder.relative_to(package.parent)
            shutil.copytree(folder, copied, symlinks=True, ignore=shutil.ignore_patterns("include"))
    return replace(installation, directory=directory / installation.directory.relative_to(package.parent))


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return {**kept, "LANG": "C", "LC_ALL": "C", "TZ": "UTC"}
