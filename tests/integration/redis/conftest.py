"""A Redis for the whole run, and on it a tenant of each test's own."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import AdminSession, RightsReport, Server, Tls, Users
from rotated_secrets.databases.redis import RedisEngine
from rotated_secrets.databases.redis.node import RULES
from rotated_secrets.values import Credential, SecretText, SecretValue
from sandbox.redis import RedisServer, UsersKept, redis_server

ENGINE = RedisEngine()
OWN_FILE: Mapping[str, Any] = {"users_kept": UsersKept.ACL_FILE, "default_user": ("off",)}
"""As people set up a server whose users are in a file of their own; tests/life has one as the package sets it up."""
RIGHTS = ("~app:*", "&news:*", "+@read", "+@write", "-del", "+client|setname")


@pytest.fixture(scope="package")
def redis() -> Iterator[RedisServer]:
    """One server for the whole run; tests keep to users of their own. Without TLS: handshakes take most of the time."""
    with redis_server(tls=False, **OWN_FILE) as server:
        yield server


@pytest.fixture(scope="package")
def secure_redis() -> Iterator[RedisServer]:
    """The same with TLS alone."""
    with redis_server(**OWN_FILE) as server:
        yield server


def reach(server: RedisServer, *others: RedisServer, **changes: Any) -> Server:
    """Where the engine connects to: verified TLS wherever the server has it."""
    tls = Tls(TlsMode.VERIFY_FULL, server.ca_pem) if server.tls else Tls(TlsMode.DISABLE)
    found = Server("localhost", ("127.0.0.1",), server.port, tls, tuple(reach(other) for other in others))
    return dataclasses.replace(found, **changes)


@dataclass(frozen=True)
class Tenant:
    """A base user with rights of its own, and an admin that may change users and nothing else, on the same servers."""

    servers: tuple[RedisServer, ...]
    users: Users
    password: str
    admin: Credential

    @property
    def server(self) -> RedisServer:
        return self.servers[0]

    @property
    def reach(self) -> Server:
        return reach(*self.servers)

    @property
    def base(self) -> str:
        return self.users.base

    @property
    def clone(self) -> str:
        assert self.users.clone is not None
        return self.users.clone

    @property
    def alone(self) -> Users:
        return Users(self.base)

    def credential(self, user: str, password: str) -> Credential:
        return Credential("redis", "localhost", user, SecretText(password))

    @property
    def current(self) -> Credential:
        return self.credential(self.base, self.password)

    def open(self, admin: Credential | None = None, engine: RedisEngine = ENGINE) -> AdminSession:
        return engine.open_admin(self.reach, admin or self.admin)

    def set(self, user: str, password: str, keep: str | None = None, rights: Rights = Rights.ENFORCE) -> RightsReport:
        """Set a password as a rotation does: of both users where the clone's is asked for, else of the base user."""
        users = self.users if user == self.clone else self.alone
        kept = self.credential(user, keep) if keep is not None else None
        with self.open() as session:
            assert session.try_lock(users.base)
            session.check_users(users)
            return session.set_password(users, self.credential(user, password), rights, kept)

    def verify(self, user: str, password: str, *queries: str) -> list[str]:
        return ENGINE.verify(self.reach, self.credential(user, password), self.users, queries)

    def user(self, name: str, server: RedisServer | None = None) -> dict[str, Any] | None:
        """What the server says of a user."""
        answer = (server or self.server).command("ACL", "GETUSER", name)
        return dict(zip(answer[::2], answer[1::2], strict=True)) if answer else None


def make_tenant(*servers: RedisServer, rights: tuple[str, ...] = RIGHTS, base: str | None = None) -> Tenant:
    mark = secrets.token_hex(4)
    base, admin = base or f"app_{mark}", f"rotator_{mark}"
    password, admin_password = secrets.token_urlsafe(12), secrets.token_urlsafe(12)
    for server in servers:
        server.make_user(base, password, *rights)
        server.make_user(admin, admin_password, *RULES)
    users = Users(base, base + "_clone")
    return Tenant(servers, users, password, Credential("redis", "localhost", admin, SecretText(admin_password)))


def saying(credential: Credential, **fields: Any) -> Credential:
    """A credential whose secret value has more keys."""
    text = {"engine": "redis", "host": "localhost", "username": credential.username, "password": "x", **fields}
    return dataclasses.replace(credential, value=SecretValue.parse(json.dumps(text)))


@pytest.fixture
def tenant(redis: RedisServer) -> Tenant:
    return make_tenant(redis)


@pytest.fixture
def secure(secure_redis: RedisServer) -> Tenant:
    """A tenant of the server with TLS."""
    return make_tenant(secure_redis)
