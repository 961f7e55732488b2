"""A real Redis server on a free loopback port, for the demo and the tests.

It is set up as the package does, with a `default` user that needs no password and users in the configuration file. It
speaks TLS with a throw-away authority, writes down all it can (log at level debug, every command in the slow log, an
append-only file), and is gone at the end, also when the process that started it was killed. It knows nothing of the
operator.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from sandbox.debian_releases import Release, release_directory
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
START_SECONDS = 20.0
SETTINGS: Mapping[str, str] = {
    "bind": "127.0.0.1",
    "appendonly": "yes",
    "appendfsync": "no",
    "loglevel": "debug",
    "slowlog-log-slower-than": "0",
    "slowlog-max-len": "10000",
    "tls-auth-clients": "no",
    "repl-diskless-sync-delay": "0",
}
_READY = "Ready to accept connections"


class UsersKept(Enum):
    """Where the server's users are kept over a restart."""

    ACL_FILE = "in a file of their own (aclfile)"
    CONFIG_FILE = "in the configuration file"
    NOWHERE = "nowhere: the configuration came by standard input"


@dataclass(frozen=True)
class RedisServer:
    """A running server. `ca_file` is None where TLS is off."""

    host: str
    port: int
    admin_user: str
    admin_password: str = field(repr=False)
    ca_file: Path | None
    log_file: Path
    data: Path
    users_kept: UsersKept
    program: str
    _configuration: str = field(repr=False)
    _account: Account | None = field(repr=False)
    _processes: list[subprocess.Popen[bytes]] = field(repr=False, compare=False, default_factory=list)

    @property
    def tls(self) -> bool:
        return self.ca_file is not None

    @property
    def ca_pem(self) -> str | None:
        return None if self.ca_file is None else self.ca_file.read_text()

    def client(self, user: str | None = None, password: str | None = None, **options: Any) -> Redis:
        """A client that connects at its first command and never again by itself, as the admin unless told otherwise."""
        if user is None:
            user, password = self.admin_user, self.admin_password
        verify = {"ssl": True, "ssl_ca_certs": str(self.ca_file)} if self.tls else {}
        defaults = {"protocol": 2, "decode_responses": True, "socket_timeout": 10, "retry": Retry(NoBackoff(), 0)}
        return Redis(
            self.host,
            self.port,
            username=user,
            password=password,
            **{**defaults, **verify, **options},
        )

    def command(self, *words: str, user: str | None = None, password: str | None = None) -> Any:
        """Run one command on a connection of its own, and return the answer as the protocol has it."""
        client = self.client(user, password)
        client.response_callbacks.clear()
        with contextlib.closing(client):
            return client.execute_command(*words)  # type: ignore[no-untyped-call]

    def make_user(self, name: str, password: str, *rules: str) -> None:
        """Make or replace a user, and keep it over a restart where users are kept; no log has the password."""
        self.command("ACL", "SETUSER", name, "reset", "on", f"#{digest(password)}", *rules)
        self.keep_users()

    def keep_users(self) -> None:
        if self.users_kept is UsersKept.ACL_FILE:
            self.command("ACL", "SAVE")
        elif self.users_kept is UsersKept.CONFIG_FILE:
            self.command("CONFIG", "REWRITE")

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def written(self) -> str:
        """Everything that the server has in files: log, append-only file, configuration, users."""
        files = [self.log_file, *(path for path in self.data.parent.rglob("*") if path.suffix not in (".pem", ".log"))]
        return "\n".join(path.read_text(errors="replace") for path in files if path.is_file())

    def stop(self) -> None:
        """An orderly outage: the port refuses until `start`."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """A crash."""
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
        from_stdin = self.users_kept is UsersKept.NOWHERE
        with self.log_file.open("ab") as log:
            begin = log.tell()
            process = subprocess.Popen(
                [self.program, "-" if from_stdin else self.data / "redis.conf"],
                stdin=subprocess.PIPE if from_stdin else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.data,
                start_new_session=True,
                **as_account(self._account),
            )
        if process.stdin:
            process.stdin.write(self._configuration.encode())
            process.stdin.close()
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if self._ready(begin):
                self._processes.append(process)
                return
            time.sleep(0.01)
        process.kill()
        process.wait()
        raise ServerStartError(f"redis-server did not start: {self.log()[-2000:]}")

    def _ready(self, log_begin: int) -> bool:
        if _READY not in self.log()[log_begin:]:
            return False
        with contextlib.suppress(RedisError):
            self.command("PING")
        return True

    def _signal(self, signum: signal.Signals) -> None:
        while self._processes:
            process = self._processes.pop()
            process.send_signal(signum)
            process.send_signal(signal.SIGCONT)
            process.wait(START_SECONDS)


@contextlib.contextmanager
def redis_server(
    program: str | None = None,
    *,
    authority: CertificateAuthority | None = None,
    tls: bool = True,
    users_kept: UsersKept = UsersKept.CONFIG_FILE,
    default_user: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
) -> Iterator[RedisServer]:
    """A fresh server, removed at the end: of `program`, else the Redis that is installed here.

    `default_user` are the rules of the user that a connection has before it logs in (none: what `requirepass` and Redis
    itself say); `settings` go into redis.conf on
    top of the sandbox's own. Raises ServerStartError.
    """
    program = program or redis_program()
    account = unprivileged_account("redis")
    processes: list[subprocess.Popen[bytes]] = []
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(server_directory("redis", account))
        stack.callback(lambda: [process.wait() for process in processes])
        stack.enter_context(kept(directory, "redis.pid"))
        data = directory / "data"
        data.mkdir()
        server = RedisServer(
            host="127.0.0.1",
            port=0,
            admin_user=ADMIN_USER,
            admin_password=secrets.token_urlsafe(18),
            ca_file=directory / "ca.pem" if tls else None,
            log_file=directory / "server.log",
            data=data,
            users_kept=users_kept,
            program=program,
            _configuration="",
            _account=account,
            _processes=processes,
        )
        write_file(server.log_file, "", account)
        if server.ca_file is not None:
            authority = authority or CertificateAuthority.create()
            pair = authority.issue()
            write_file(server.ca_file, authority.certificate, account)
            write_file(data / "server.pem", pair.certificate, account)
            write_file(data / "key.pem", pair.key, account)
        if account is not None:
            shutil.chown(data, account.pw_uid, account.pw_gid)
        yield _start_on_free_port(server, {**SETTINGS, **(settings or {})}, default_user)


def digest(password: str) -> str:
    """What the server keeps of a password, and takes instead of it."""
    return hashlib.sha256(password.encode()).hexdigest()


def _start_on_free_port(server: RedisServer, settings: Mapping[str, str], default_user: Sequence[str]) -> RedisServer:
    users = [
        *([f"user default {' '.join(default_user)}"] if default_user else []),
        f"user {ADMIN_USER} on #{digest(server.admin_password)} ~* &* +@all",
    ]
    for last_try in (False, False, True):
        server = replace(server, port=free_port())
        lines = {**settings, "dir": str(server.data), "pidfile": str(server.data.parent / "redis.pid")}
        if server.tls:
            lines |= {"port": "0", "tls-port": str(server.port), "tls-ca-cert-file": str(server.ca_file)}
            lines |= {"tls-cert-file": "server.pem", "tls-key-file": "key.pem"}
        else:
            lines |= {"port": str(server.port)}
        configuration = [f"{name} {value}" if value else f'{name} ""' for name, value in lines.items()]
        if server.users_kept is UsersKept.ACL_FILE:
            write_file(server.data / "users.acl", "".join(f"{user}\n" for user in users), server._account)
            configuration.append("aclfile users.acl")
        else:
            configuration += users
        server = replace(server, _configuration="\n".join(configuration) + "\n")
        if server.users_kept is not UsersKept.NOWHERE:
            write_file(server.data / "redis.conf", server._configuration, server._account)
        try:
            server.start()
            break
        except ServerStartError:
            # Somebody else may have taken the port since it was seen free.
            if last_try or "Address already in use" not in server.log():
                raise
    return server


def redis_program(release: Release | None = None) -> str:
    """Redis on this machine, or the Valkey of a Debian release. Raises ServerStartError."""
    if release is not None:
        valkey = release_directory(release) / "usr" / "bin" / "valkey-server"
        if not valkey.exists():
            raise ServerStartError(f"no Valkey of Debian {release.suite} here: make test-versions unpacks one")
        return str(valkey)
    found = shutil.which("redis-server")
    if found is None:
        raise ServerStartError("there is no redis-server here; install the system's package redis-server")
    return found
