"""The session of a Redis user that sets passwords and rights, on every node that its secret names.

Knows nothing of the order of a rotation's steps.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Sequence

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import Refused, RightsReport, Server, SessionCount, Users
from rotated_secrets.databases.base_classes import BaseAdminSession
from rotated_secrets.databases.guards import (
    check_is_base_or_clone,
    check_is_no_clone,
    check_is_only_clone,
    check_keeps_own,
    check_names,
    no_such_user,
    not_provably_the_clone,
)
from rotated_secrets.databases.redis.node import Node
from rotated_secrets.databases.redis.users import (
    User,
    differences,
    digest,
    not_the_clone,
    original_of,
    rules_of_clone,
    unusable_name,
)
from rotated_secrets.databases.redis.wire import log_in
from rotated_secrets.values import Credential

NODES_KEY = "nodes"
PERSISTENCE_KEY = "acl_persistence"
EXTERNAL = "external"


def open_session(server: Server, credential: Credential, idle_seconds: float) -> RedisAdminSession:
    """Log in to every node, or to none, so that a node that is down is found before another is changed."""
    with contextlib.ExitStack() as opened:
        nodes = []
        for one in (server, *server.others):
            node = Node(log_in(one, credential), one, credential.username)
            opened.callback(node.close)
            nodes.append(node)
        opened.pop_all()
    fields = (credential.value.fields if credential.value else None) or {}
    return RedisAdminSession(
        nodes,
        idle_seconds,
        keeps_users=fields.get(PERSISTENCE_KEY) != EXTERNAL,
        knows_replicas=NODES_KEY in fields,
    )


class RedisAdminSession(BaseAdminSession):
    """Open connections of the admin, or of a user that changes itself."""

    def __init__(self, nodes: Sequence[Node], idle_seconds: float, *, keeps_users: bool, knows_replicas: bool) -> None:
        """``keeps_users``: the operator has to save users for the next restart.

        ``knows_replicas``: the secret's author listed the nodes, so any others were left out on purpose.
        """
        self._nodes = nodes
        self._idle_seconds = idle_seconds
        self._keeps_users = keeps_users
        self._knows_replicas = knows_replicas
        self._locked: str | None = None

    def close(self) -> None:
        for node in self._nodes:
            node.close()

    def try_lock(self, base_user: str) -> bool:
        if self._locked == base_user:
            for node in self._nodes:
                node.is_there()
            return True
        name = f"rotated-secrets:{hashlib.sha256(base_user.encode()).hexdigest()[:32]}"
        taken: list[Node] = []
        for node in self._nodes:
            if not node.lock(name, self._idle_seconds):
                for held in taken:
                    held.unlock()
                return False
            taken.append(node)
        self._locked = base_user
        return True

    def check_users(self, users: Users) -> None:
        self._check_nodes(users)
        for node in self._nodes:
            _examined(node, users)
        if self._keeps_users:
            # Only writing shows whether the files can be written; this writes what is in force already.
            for node in self._nodes:
                node.keep_users()

    def set_password(
        self, users: Users, credential: Credential, rights: Rights, keep: Credential | None = None
    ) -> RightsReport:
        user = credential.username
        check_is_base_or_clone(users, user)
        check_keeps_own(user, keep)
        passwords = [digest(each.password) for each in (keep, credential) if each is not None]
        found = [_examined(node, users) for node in self._nodes]
        repaired: Counter[str] = Counter()
        remaining: Counter[str] = Counter()
        for node, (base, clone) in zip(self._nodes, found, strict=True):
            # On either user's turn the clone gets what its base user has now.
            differing = [] if clone is None or rights is Rights.IGNORE else list(differences(base, clone))
            enforced = bool(differing) and rights is Rights.ENFORCE
            (repaired if enforced else remaining).update(differing)
            rules = ["resetpass", *passwords, "on"]
            if user == users.clone and (clone is None or enforced):
                rules = [*rules_of_clone(base), *passwords, "on"]
            elif clone is not None and enforced:
                node.set_user(clone.name, [*rules_of_clone(base), *clone.ways_in()])
            node.set_user(user, rules)
            if self._keeps_users:
                node.keep_users()
        return RightsReport(self._told(repaired), self._told(remaining))

    def disable_login(self, user: str) -> None:
        for node in self._nodes:
            # ACL SETUSER would create a user that does not exist.
            if node.user(user) is not None:
                node.set_user(user, ["off"])
                if self._keeps_users:
                    node.keep_users()

    def sessions_of(self, user: str) -> tuple[SessionCount, ...] | None:
        counted: Counter[tuple[str, str]] = Counter()
        try:
            for node in self._nodes:
                mine = [client for client in node.other_clients() if client.user == user]
                counted.update((client.address, client.database) for client in mine)
        except Refused:
            return None
        return tuple(SessionCount(*where, count) for where, count in sorted(counted.items()))

    def _check_nodes(self, users: Users) -> None:
        """Check that all nodes are named: each has its own users, so any other would keep the old passwords."""
        named = len(self._nodes)
        for node in self._nodes:
            replicas = [client for client in node.other_clients() if client.is_replica]
            replicating = sorted({client.user for client in replicas} & {users.base, users.clone})
            if replicating:
                raise Refused(
                    f"replicas of {node.server} log in to it as {', '.join(replicating)} (masteruser), and could not "
                    "after a rotation; give replication its own user"
                )
            cluster = node.cluster_nodes()
            known = cluster or (1 + len(replicas))
            if known > named and (cluster or not self._knows_replicas):
                raise Refused(
                    f"{node.server} belongs to {known} servers, each with its own users, and the secret value names "
                    f"{named}; write the others into its key {NODES_KEY}, as a list of host:port, and into the admin "
                    "secret's as well"
                )

    def _told(self, sentences: Counter[str]) -> tuple[str, ...]:
        """Each once; with several nodes, on how many of them."""
        several = len(self._nodes) > 1
        return tuple(
            f"{each} (on {n} of {len(self._nodes)} nodes)" if several else each for each, n in sentences.items()
        )


def _examined(node: Node, users: Users) -> tuple[User, User | None]:
    """Return both users as they are, once it is certain that they may be changed."""
    check_names(users, unusable_name)
    base = node.user(users.base)
    if base is None:
        raise no_such_user(users.base, node.server)
    if base.needs_no_password:
        raise Refused(
            f"user {users.base} at {node.server} needs no password (nopass), so a new one would lock out its clients; "
            f"give it the one in the secret value: ACL SETUSER {users.base} >…"
        )
    if users.clone is None:
        return base, None
    if not base.has_selectors:
        raise Refused(
            f"{node.server} is older than Redis 7, which AlternatingUsers needs; write strategy: DualPassword"
        )
    clone = node.user(users.clone)
    why = not_the_clone(base, clone) if clone else None
    if why:
        raise not_provably_the_clone(users.clone, users.base, f"at {node.server}", why)
    check_is_no_clone(base.name, original_of(base), f"at {node.server}")
    if clone is None:
        check_is_only_clone(base.name, node.clones_of(base.name), f"at {node.server}")
    return base, clone
