"""Applications at a MongoDB server: their users are of the database that they work in."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError

from sandbox.applications.base import Account, LoginFailed, ServerMissing
from sandbox.applications.versions import INSTALLED, Version
from sandbox.mongo import Document, MongoServer, mongo_server
from sandbox.mongo_packages import mongo_directory
from sandbox.tls import CertificateAuthority

SHARED = "stock"
"""A collection in each database that is no application's; a role to read it is given and taken."""
READER, LOCK_KEEPER = "readsStock", "keepsLocks"
_LOCKS: Document = {
    "resource": {"db": "rotated_secrets", "collection": "locks"},
    "actions": ["find", "insert", "update", "remove"],
}
_UNAUTHORIZED, _ROLE_EXISTS = 13, 51002


class MongoSide:
    """A :class:`~sandbox.applications.base.DatabaseSide`."""

    engine = "mongo"
    longest_name: int | None = None
    lacking = "may not keep the lock"
    keeps_two_itself = False
    query: str | None = json.dumps({"find": SHARED})

    def __init__(self, server: MongoServer) -> None:
        self.server = server
        self._onlooker = server.client()

    @property
    def product(self) -> str:
        return f"MongoDB {self._onlooker.server_info()['version']}"

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
        return self.server.port

    @property
    def ca_pem(self) -> str | None:
        return self.server.ca_pem

    def value(self, account: Account) -> dict[str, Any]:
        where = {"dbname": account.database} if account.database else {"authSource": "admin"}
        return {"engine": self.engine, "username": account.user, "password": account.password, **where}

    def create_user(self, account: Account) -> None:
        own = {"resource": {"db": account.database, "collection": account.user}, "actions": ["find", "insert"]}
        self._create_role(account.database, f"owns_{account.user}", own)
        self._create_user(account, [f"owns_{account.user}"])

    def create_object(self, account: Account) -> None:
        self._look({"insert": account.user, "documents": [{"price": 1}]}, account.database)

    def create_admin(self, admin: Account, user: str) -> None:  # noqa: ARG002 - it reaches every user
        self._create_role("admin", LOCK_KEEPER, _LOCKS)
        self._create_user(admin, ["userAdminAnyDatabase", LOCK_KEEPER])

    def let_change_itself(self, account: Account) -> None:
        own = {"resource": {"db": account.database, "collection": ""}, "actions": ["changeOwnPassword"]}
        self._create_role("admin", "rotatesOwnPassword", own, _LOCKS)
        role = {"role": "rotatesOwnPassword", "db": "admin"}
        self._look({"grantRolesToUser": account.user, "roles": [role]}, account.database)

    def create_bystander(self, account: Account) -> None:
        self._create_role(account.database or "admin", READER, _reading(account.database or "admin"))
        self._create_user(account, [READER])

    def give(self, account: Account) -> None:
        self._create_role(account.database, READER, _reading(account.database))
        self._look({"grantRolesToUser": account.user, "roles": [READER]}, account.database)

    def take(self, account: Account) -> None:
        self._look({"revokeRolesFromUser": account.user, "roles": [READER]}, account.database)

    def spoil(self, account: Account) -> None:
        self._look({"updateUser": account.user, "pwd": secrets.token_urlsafe()}, account.database)

    def log_in(self, account: Account) -> None:
        self._as(account, {"ping": 1})

    def may(self, account: Account) -> bool:
        return self._as(account, {"find": SHARED})

    def users(self, prefix: str) -> set[str]:
        query = {"find": "system.users", "filter": {"user": {"$regex": f"^{prefix}"}}, "projection": {"user": 1}}
        return {each["user"] for each in self._look(query, "admin")["cursor"]["firstBatch"]}

    def rights(self, account: Account) -> frozenset[str]:
        who = {"user": account.user, "db": account.database}
        shown = self._look({"usersInfo": who, "showPrivileges": True, "showCustomData": True}, account.database)
        user = shown["users"][0]
        custom = {key: text for key, text in user.get("customData", {}).items() if key != "rotatedSecretsCloneOf"}
        privileges = ({**each, "actions": sorted(each["actions"])} for each in user["inheritedPrivileges"])
        return frozenset(
            (
                *(f"role {each['role']} of {each['db']}" for each in user["roles"]),
                *(f"privilege {json.dumps(each, sort_keys=True)}" for each in privileges),
                f"mechanisms {sorted(user['mechanisms'])}",
                f"custom data {json.dumps(custom, sort_keys=True)}",
                f"restrictions {user.get('inheritedAuthenticationRestrictions')}",
            )
        )

    def log(self) -> str:
        return self.server.log()

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()

    def expire_locks(self) -> None:
        self._look({"delete": "locks", "deletes": [{"q": {}, "limit": 0}]}, "rotated_secrets")

    def close(self) -> None:
        """End the onlooker's session."""
        self._onlooker.close()

    def _look(self, command: Document, database: str) -> Document:
        return self._onlooker[database].command(command)

    def _create_user(self, account: Account, roles: list[str]) -> None:
        self._look({"createUser": account.user, "pwd": account.password, "roles": roles}, account.database or "admin")

    def _create_role(self, database: str, name: str, *privileges: Document) -> None:
        try:
            self._look({"createRole": name, "privileges": privileges, "roles": []}, database)
        except OperationFailure as error:
            if error.code != _ROLE_EXISTS:
                raise

    def _as(self, account: Account, command: Document) -> bool:
        """Whether the user, logged in, may run a command. Raises: LoginFailed."""
        with self.server.client(account.user, account.password, account.database or "admin") as client:
            try:
                client[account.database].command(command)
            except PyMongoError as error:
                if isinstance(error, OperationFailure) and error.code == _UNAUTHORIZED:
                    return False
                raise LoginFailed(f"{account.user}: {error}") from None
        return True


def _reading(database: str) -> Document:
    return {"resource": {"db": database, "collection": SHARED}, "actions": ["find"]}


@contextlib.contextmanager
def running(
    authority: CertificateAuthority | None = None,
    version: Version = INSTALLED,  # noqa: ARG001 - there is one
) -> Iterator[MongoSide]:
    """A server for applications. Raises: ServerMissing."""
    if not mongo_directory().exists():
        raise ServerMissing("there is no MongoDB here; make setup unpacks one")
    fast = ("--setParameter", "scramSHA256IterationCount=5000")
    with (
        mongo_server(authority=authority, tls="preferTLS", arguments=fast) as server,
        contextlib.closing(MongoSide(server)) as side,
    ):
        yield side
