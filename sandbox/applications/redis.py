"""Applications at a Redis server: their keys begin with their user's name."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from sandbox.applications.base import Account, LoginFailed, ServerMissing
from sandbox.applications.versions import INSTALLED, Version
from sandbox.redis import RedisServer, digest, redis_program, redis_server
from sandbox.servers import ServerStartError, free_port
from sandbox.tls import CertificateAuthority

SHARED = "stock"
"""A key that is no application's; the right to read it is given and taken."""
_ADMIN = (
    "+acl|getuser",
    "+acl|list",
    "+acl|setuser",
    "+acl|save",
    "+config|rewrite",
    "+client|id",
    "+client|setname",
    "+client|list",
    "+client|kill",
    "+cluster|info",
)
_OWN = ("+ping", "+get", "+set", "+publish")
_TRIED = (("GET",), ("SET", "x"), ("STRLEN",), ("DEL",), ("LPOS", "x"))
"""Commands whose first argument is a key."""


class RedisSide:
    """A :class:`~sandbox.applications.base.DatabaseSide`."""

    engine = "redis"
    longest_name: int | None = None
    lacking = "+acl|setuser"
    keeps_two_itself = True
    query: str | None = f"STRLEN {SHARED}"

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self._plain_port = free_port()
        self._onlooker = server.client()
        self._onlooker.response_callbacks.clear()
        self._open_plain_port()

    @property
    def product(self) -> str:
        said = dict(line.split(":", 1) for line in self._look("INFO", "server").splitlines() if ":" in line)
        # Valkey's redis_version is the last one that it is compatible with.
        valkey = said.get("valkey_version")
        return f"Valkey {valkey}" if valkey else f"Redis {said['redis_version']}"

    @property
    def owner(self) -> Account:
        return Account(self.server.admin_user, self.server.admin_password)

    @property
    def host(self) -> str:
        return self.server.host

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def plain_port(self) -> int | None:
        return self._plain_port

    @property
    def ca_pem(self) -> str | None:
        return self.server.ca_pem

    def value(self, account: Account) -> dict[str, Any]:
        return {"engine": self.engine, "username": account.user, "password": account.password}

    def create_user(self, account: Account) -> None:
        keys = (f"~{account.user}:*", f"~{SHARED}", f"&{account.user}:*")
        self._make_user(account, *keys, *_OWN)

    def create_object(self, account: Account) -> None:
        self._look("SET", f"{account.user}:price", "1")

    def create_admin(self, admin: Account, user: str) -> None:  # noqa: ARG002 - it reaches every user
        self._make_user(admin, *_ADMIN)

    def let_change_itself(self, account: Account) -> None:
        self._change(account.user, *_ADMIN)

    def create_bystander(self, account: Account) -> None:
        self._make_user(account, f"~{SHARED}", "+ping", "+strlen")

    def give(self, account: Account) -> None:
        self._change(account.user, "+strlen")

    def take(self, account: Account) -> None:
        self._change(account.user, "-strlen")

    def spoil(self, account: Account) -> None:
        self._change(account.user, f"!{digest(account.password)}")

    def log_in(self, account: Account) -> None:
        with self._session(account) as client:
            client.ping()

    def may(self, account: Account) -> bool:
        with self._session(account) as client:
            try:
                client.strlen(SHARED)
            except NoPermissionError:
                return False
            return True

    def users(self, prefix: str) -> set[str]:
        return {name for name in self._look("ACL", "USERS") if name.startswith(prefix)}

    def rights(self, account: Account) -> frozenset[str]:
        """As the server describes them, and as it answers when a command is tried."""
        answer = self._look("ACL", "GETUSER", account.user) or []
        shown = dict(zip(answer[::2], answer[1::2], strict=True))
        selectors = [dict(zip(each[::2], each[1::2], strict=True)) for each in shown.get("selectors", ())]
        keys = {"own": f"{account.user.removesuffix('_clone')}:price", "shared": SHARED, "elsewhere": "elsewhere"}
        tried = (
            f"{words[0]} {of}: {self._dry_run(account.user, words[0], key, *words[1:])}"
            for words in _TRIED
            for of, key in keys.items()
        )
        return frozenset(
            (
                f"flags {sorted(shown.get('flags', ()))}",
                *(f"{what} {shown.get(what)}" for what in ("commands", "keys", "channels")),
                # One without any command is a right to nothing.
                *(f"selector {json.dumps(each, sort_keys=True)}" for each in selectors if each["commands"] != "-@all"),
                *tried,
            )
        )

    def log(self) -> str:
        commands = str(self._look("SLOWLOG", "GET", "-1"))
        self._look("SLOWLOG", "RESET")  # it holds what the next look is not to read again
        return self.server.written() + commands

    def close(self) -> None:
        """End the onlooker's session."""
        self._onlooker.close()

    def kill(self) -> None:
        self.close()
        self.server.kill()

    def start(self) -> None:
        self.server.start()
        self._open_plain_port()

    def expire_locks(self) -> None:
        """They end with their connections."""

    def _open_plain_port(self) -> None:
        self._look("CONFIG", "SET", "port", str(self._plain_port))

    def _look(self, *words: str) -> Any:
        return self._onlooker.execute_command(*words)  # type: ignore[no-untyped-call]

    def _dry_run(self, user: str, *words: str) -> str:
        # Valkey's answer names the user.
        return str(self._look("ACL", "DRYRUN", user, *words)).replace(f"User {user} ", "User … ")

    def _make_user(self, account: Account, *rules: str) -> None:
        self._change(account.user, "reset", "on", f"#{digest(account.password)}", *rules)

    def _change(self, user: str, *rules: str) -> None:
        self._look("ACL", "SETUSER", user, *rules)
        self.server.keep_users()

    @contextlib.contextmanager
    def _session(self, account: Account) -> Iterator[Redis]:
        # By the plain port: with TLS the driver reads all authorities of the system for each client.
        login: dict[str, Any] = {"username": account.user, "password": account.password, "retry": Retry(NoBackoff(), 0)}
        with contextlib.closing(Redis(self.host, self._plain_port, protocol=2, **login)) as client:
            try:
                yield client
            except RedisError as error:
                raise LoginFailed(f"{account.user}: {error}") from None


@contextlib.contextmanager
def running(authority: CertificateAuthority | None = None, version: Version = INSTALLED) -> Iterator[RedisSide]:
    """A server for applications. Raises: ServerMissing."""
    try:
        program = redis_program(version.release)
    except ServerStartError as error:
        raise ServerMissing(str(error)) from None
    with redis_server(program, authority=authority) as server, contextlib.closing(RedisSide(server)) as side:
        yield side
