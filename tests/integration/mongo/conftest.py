"""A real MongoDB, and on it a tenant of each test's own."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import AdminSession, RightsReport, Server, Tls, Users
from rotated_secrets.databases.mongo import MongoEngine
from rotated_secrets.values import Credential, SecretText, SecretValue
from sandbox.mongo import Document, MongoServer, mongo_server

ENGINE = MongoEngine()
LOCKS: Document = {
    "resource": {"db": "rotated_secrets", "collection": "locks"},
    "actions": ["find", "insert", "update", "remove"],
}


@pytest.fixture(scope="package")
def mongo() -> Iterator[MongoServer]:
    """One server for the whole run; tests keep to users and databases of their own."""
    with mongo_server() as server:
        server.command({"createRole": "keepsLocks", "privileges": [LOCKS], "roles": []})
        yield server


def reach(server: MongoServer, **changes: Any) -> Server:
    """Where the engine connects to: verified TLS wherever the server has it."""
    tls = Tls(TlsMode.VERIFY_FULL, server.ca_pem) if server.tls else Tls(TlsMode.DISABLE)
    return dataclasses.replace(Server("localhost", (server.host,), server.port, tls), **changes)


def credential_of(user: str, password: str, *, source: str, dbname: str | None = None) -> Credential:
    fields = {"engine": "mongo", "host": "localhost", "username": user, "password": password, "authSource": source}
    return Credential.of(SecretValue.parse(json.dumps(fields | ({"dbname": dbname} if dbname else {}))))


@dataclass(frozen=True)
class Tenant:
    """A base user with rights in a database, and an admin that is no superuser but may change users."""

    server: MongoServer
    users: Users
    password: str = field(repr=False)
    database: str
    """Both the users' own and the one that they work in."""
    admin: Credential
    engine: MongoEngine = ENGINE

    @property
    def reach(self) -> Server:
        return reach(self.server)

    @property
    def base(self) -> str:
        return self.users.base

    @property
    def clone(self) -> str:
        assert self.users.clone is not None
        return self.users.clone

    def credential(self, user: str, password: str) -> Credential:
        return credential_of(user, password, source=self.database, dbname=self.database)

    @property
    def current(self) -> Credential:
        return self.credential(self.base, self.password)

    def open(self, admin: Credential | None = None) -> AdminSession:
        return self.engine.open_admin(self.reach, admin or self.admin)

    def set(
        self, user: str, password: str, rights: Rights = Rights.ENFORCE, admin: Credential | None = None
    ) -> RightsReport:
        """As a rotation does: lock, look, set."""
        with self.open(admin) as session:
            assert session.try_lock(self.base)
            session.check_users(self.users)
            return session.set_password(self.users, self.credential(user, password), rights)

    def set_clone(
        self, password: str = "clone-1", rights: Rights = Rights.ENFORCE, admin: Credential | None = None
    ) -> RightsReport:
        return self.set(self.clone, password, rights, admin)

    def verify(self, user: str, password: str, *queries: str) -> list[str]:
        return self.engine.verify(self.reach, self.credential(user, password), self.users, queries)

    def as_admin(self, command: Document, database: str | None = None) -> Document:
        """A command of the server's superuser, in the tenant's database unless told otherwise."""
        return self.server.command(command, database or self.database)

    def shown(self, user: str) -> Document:
        """A user as the superuser sees it, in what belongs to parity."""
        found = self.as_admin(
            {
                "usersInfo": {"user": user, "db": self.database},
                "showCustomData": True,
                "showAuthenticationRestrictions": True,
            }
        )["users"]
        assert len(found) == 1
        document: Document = found[0]
        restrictions = [
            {key: sorted(addresses) for key, addresses in each.items()}
            for each in document.get("authenticationRestrictions", [])
        ]
        return {
            "roles": sorted((each["role"], each["db"]) for each in document["roles"]),
            "mechanisms": sorted(document["mechanisms"]),
            "restrictions": restrictions,
            "custom": {
                key: value for key, value in document.get("customData", {}).items() if key != "rotatedSecretsCloneOf"
            },
        }

    def exists(self, user: str) -> bool:
        return bool(self.as_admin({"usersInfo": user})["users"])


def make_user(server: MongoServer, name: str, database: str, roles: list[Any], **more: Any) -> Credential:
    password = secrets.token_urlsafe(12)
    server.command({"createUser": name, "pwd": password, "roles": roles, **more}, database)
    return credential_of(name, password, source=database)


def make_tenant(server: MongoServer, **more: Any) -> Tenant:
    """``more`` are fields of the base user's createUser."""
    mark = secrets.token_hex(4)
    database, base = f"shop_{mark}", f"app_{mark}"
    roles = more.pop("roles", ["readWrite"])
    made = make_user(server, base, database, roles, **more)
    admin = make_user(server, f"admin_{mark}", "admin", ["userAdminAnyDatabase", "keepsLocks"])
    return Tenant(server, Users(base, f"{base}_clone"), made.password.reveal(), database, admin)


@pytest.fixture
def tenant(mongo: MongoServer) -> Iterator[Tenant]:
    made = make_tenant(mongo)
    yield made
    made.as_admin({"dropDatabase": 1})


def with_password(credential: Credential, password: str) -> Credential:
    return dataclasses.replace(credential, password=SecretText(password))
