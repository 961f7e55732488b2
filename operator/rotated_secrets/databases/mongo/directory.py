"""The users of a MongoDB server, as far as one session may read them. Reads only; decides nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.errors import PyMongoError

from rotated_secrets.databases.base import Server, SessionCount
from rotated_secrets.databases.mongo.errors import failed_command, is_unauthorized, is_unknown
from rotated_secrets.databases.mongo.login import Document, Login
from rotated_secrets.databases.mongo.users import MARK, Account, read_account

UNKNOWN_CLIENT = "unknown"
MOST_SESSIONS = 10_000
"""The most names of one kind that a message shows."""


class Directory:
    """Finds users by name and database."""

    def __init__(self, login: Login, server: Server, user: str, source: str) -> None:
        """``user`` of database ``source`` is logged in."""
        self._login = login
        self._server = server
        self._user = user
        self._source = source
        self.roles_only = False
        """The server keeps roles of a user and nothing else, as DocumentDB does. Known after the first look."""
        self.privileges = self._told_privileges()
        """What the session may do; None if the server does not show it."""

    def _told_privileges(self) -> Sequence[Mapping[str, Any]] | None:
        try:
            status = self._login.command("admin", {"connectionStatus": 1, "showPrivileges": True})
        except PyMongoError as error:
            if is_unknown(error):
                return None
            raise failed_command(error, self._server, f"look who {self._user} is") from None
        told: Sequence[Mapping[str, Any]] | None = status.get("authInfo", {}).get("authenticatedUserPrivileges")
        return told

    def databases_of(self, user: str) -> list[str]:
        """Return the databases that have a user of this name, as far as this session may read them."""
        visible = self._databases_to_look_at()
        if visible is not None and not visible and user == self._user:
            return [self._source]  # a user that may read no other may still read itself
        look: Document = {"usersInfo": {"forAllDBs": True}, "filter": {"user": user}}
        try:
            answer = self._login.command("admin", look)
            return sorted({str(each["db"]) for each in answer["users"] if each["user"] == user})
        except PyMongoError as error:
            if not (is_unauthorized(error) or is_unknown(error)):
                raise failed_command(error, self._server, f"look for user {user}") from None
        if visible is None:
            visible = {self._source}
        return [database for database in sorted(visible) if self.accounts([user], database)]

    def accounts(self, users: Sequence[str], database: str) -> dict[str, Account]:
        """Those of the users of this database that exist."""
        doing = f"look at user {users[0]} of database {database}"
        documents: list[Document] = []
        if not self.roles_only:
            try:
                documents = self._login.command(
                    database,
                    {
                        "usersInfo": [{"user": user, "db": database} for user in users],
                        "showCustomData": True,
                        "showAuthenticationRestrictions": True,
                    },
                )["users"]
            except PyMongoError as error:
                if not is_unknown(error):
                    raise failed_command(error, self._server, doing) from None
                self.roles_only = True
            else:
                self.roles_only = any("mechanisms" not in each and "userId" not in each for each in documents)
        if self.roles_only:
            # In the words of AWS's template.
            documents = [
                each for user in users for each in self._run(database, {"usersInfo": user}, doing).get("users", ())
            ]
        return {account.name: account for account in map(read_account, documents)}

    def clones_of(self, base: str, database: str) -> tuple[str, ...]:
        """The names of the users of this database that are marked as clones. DocumentDB keeps no marks."""
        if self.roles_only:
            return ()
        marked = {f"customData.{MARK}": base}
        command: Document = {"usersInfo": 1, "showCustomData": True, "filter": marked}
        found = self._run(database, command, f"look for clones of user {base} of database {database}")["users"]
        return tuple(str(each["user"]) for each in found)

    def sessions(self, user: str, database: str) -> tuple[SessionCount, ...] | None:
        """Return who is logged in as this user, without this session; None if that cannot be seen."""
        if self._login.greeting.sharded:
            return None  # a router sees only its own clients
        pipeline = [
            {"$currentOp": {"allUsers": True, "idleConnections": True}},
            {"$match": {"effectiveUsers": {"$elemMatch": {"user": user, "db": database}}}},
            {"$project": {"client": 1, "connectionId": 1}},
            {"$group": {"_id": "$connectionId", "client": {"$first": "$client"}}},
        ]
        command: Document = {"aggregate": 1, "pipeline": pipeline, "cursor": {"batchSize": MOST_SESSIONS}}
        found = self._run("admin", command, f"count sessions of user {user}")["cursor"]["firstBatch"]
        clients = Counter(_address(each.get("client")) for each in found if each["_id"] != self._login.connection_id)
        return tuple(SessionCount(client, database, count) for client, count in sorted(clients.items()))

    def _databases_to_look_at(self) -> set[str] | None:
        """The databases whose users the session may read, one by one; None if the server does not show them."""
        if self.privileges is None:
            return None
        return {
            str(resource["db"])
            for resource in (each.get("resource") or {} for each in self.privileges if "viewUser" in each["actions"])
            if resource.get("collection") == "" and resource.get("db")
        }

    def _run(self, database: str, command: Document, doing: str) -> Document:
        try:
            return self._login.command(database, command)
        except PyMongoError as error:
            raise failed_command(error, self._server, doing) from None


def _address(client: object) -> str:
    """The address of a client that is shown as ``address:port``."""
    return str(client or "").rpartition(":")[0].strip("[]") or UNKNOWN_CLIENT
