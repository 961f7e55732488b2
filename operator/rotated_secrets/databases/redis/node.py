"""One Redis server as the admin sees it: its users, its connections, its lock, its files.

Each server has its own users: neither replicas nor the nodes of a cluster copy them from one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rotated_secrets.databases.base import Refused, Server
from rotated_secrets.databases.redis.errors import ErrorReply, Lost, TooLong, failed_command
from rotated_secrets.databases.redis.users import User, marked_in, read_user
from rotated_secrets.databases.redis.wire import Wire

RULES = (
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
"""What the admin needs, on no key and no channel."""

_NO_ACL_FILE = "not configured to use an ACL file"
_NO_CONFIG_FILE = "running without a config file"
_NO_CLUSTER = "cluster support disabled"


@dataclass(frozen=True)
class Client:
    """A connection that the server has."""

    number: int
    user: str
    name: str
    address: str
    idle_seconds: int
    database: str
    is_replica: bool


class Node:
    """An open connection to one server, by which its users are changed."""

    def __init__(self, wire: Wire, server: Server, user: str) -> None:
        self._wire = wire
        self.server = server
        self._user = user
        self._number: int | None = None
        """The server's number of this connection, once it was asked for."""

    def close(self) -> None:
        self._wire.close()

    def user(self, name: str) -> User | None:
        answer = self._ask(f"look at user {name}", "ACL", "GETUSER", name)
        return None if answer is None else read_user(name, answer)

    def clones_of(self, base: str) -> list[str]:
        """The users that are marked as clones."""
        return marked_in(self._ask(f"look for clones of user {base}", "ACL", "LIST"), base)

    def set_user(self, name: str, rules: Sequence[str]) -> None:
        """All rules or none: the server applies them to a copy (ACLSetUser and its callers in acl.c)."""
        self._ask(f"change user {name}", "ACL", "SETUSER", name, *rules)

    def keep_users(self) -> None:
        """Write the users to where they are read from at a restart.

        Raises: Refused, if the server has no such file.
        """
        doing = "save the users for the next restart"
        try:
            self._answer("ACL", "SAVE")
        except ErrorReply as error:
            if _NO_ACL_FILE not in str(error):
                raise self._unwritable(error, doing, "its aclfile") from None
        else:
            return
        try:
            self._answer("CONFIG", "REWRITE")
        except ErrorReply as error:
            if _NO_CONFIG_FILE in str(error):
                raise Refused(
                    f"could not {doing} at {self.server}: it has neither an aclfile nor a configuration file, and "
                    "would come back with old passwords; start it with one"
                ) from None
            raise self._unwritable(error, doing, "its configuration file") from None

    def lock(self, name: str, idle_seconds: float) -> bool:
        """Take a lock, without waiting, that lasts as long as this connection: it is the connection's name.

        A session that sees another connection with that name, of the same user, has not got the lock: two that try at
        once may both fail, and never both succeed. A holder that has sent nothing for so long is frozen; its
        connection is closed, so that what it sends later is not received.
        """
        self._ask("take the lock", "CLIENT", "SETNAME", name)
        frozen = [other for other in self._holders(name) if other.idle_seconds >= idle_seconds]
        for other in frozen:
            self._ask("end a frozen holder of the lock", "CLIENT", "KILL", "ID", str(other.number))
        if not self._holders(name):
            return True
        self.unlock()
        return False

    def unlock(self) -> None:
        self._ask("release the lock", "CLIENT", "SETNAME", "")

    def is_there(self) -> None:
        """Check the connection. Raises: Unavailable, if it is lost, and its lock with it."""
        self._ask("look at the connection", "CLIENT", "ID")

    def other_clients(self) -> list[Client]:
        """Every connection that the server has beside this one."""
        if self._number is None:
            self._number = int(self._ask("look at the connection", "CLIENT", "ID"))
        listed = self._ask("look at connections", "CLIENT", "LIST")
        clients = [_client(line) for line in listed.splitlines() if line]
        return [client for client in clients if client.number != self._number]

    def cluster_nodes(self) -> int | None:
        """Return how many nodes the server's cluster has; None if it is not in a cluster."""
        try:
            answer = self._answer("CLUSTER", "INFO")
        except ErrorReply as error:
            if _NO_CLUSTER in str(error):
                return None
            raise self._failed(error, "look at the cluster") from None
        fields = dict(line.partition(":")[::2] for line in answer.splitlines())
        return int(fields.get("cluster_known_nodes", 1))

    def _holders(self, name: str) -> list[Client]:
        # Any connection can take a name, but not another user.
        return [other for other in self.other_clients() if other.name == name and other.user == self._user]

    def _ask(self, doing: str, *words: str) -> Any:
        try:
            return self._answer(*words, doing=doing)
        except ErrorReply as error:
            raise self._failed(error, doing) from None

    def _answer(self, *words: str, doing: str = "look") -> Any:
        """Raises: ErrorReply, and of the protocol's errors those in which the connection is lost."""
        try:
            return self._wire.ask(*words)
        except (Lost, TooLong) as error:
            raise failed_command(error, self.server, doing) from None

    def _unwritable(self, error: ErrorReply, doing: str, what: str) -> Exception:
        if error.code != "ERR":
            return self._failed(error, doing)
        return Refused(f"could not {doing} at {self.server}: it cannot write {what}; see its log")

    def _failed(self, error: ErrorReply, doing: str) -> Exception:
        return failed_command(error, self.server, doing, f"ACL SETUSER {self._user} {' '.join(RULES)}")


def _client(line: str) -> Client:
    """A line of `CLIENT LIST`: words of the form key=value."""
    fields = dict(word.partition("=")[::2] for word in line.split(" "))
    return Client(
        int(fields.get("id", 0)),
        fields.get("user", ""),
        fields.get("name", ""),
        fields.get("addr", "").rpartition(":")[0].strip("[]"),
        int(fields.get("idle", 0)),
        fields.get("db", ""),
        "S" in fields.get("flags", ""),
    )
