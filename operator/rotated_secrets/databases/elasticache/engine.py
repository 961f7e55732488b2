"""The engine for ElastiCache: AWS's API sets passwords on every node, and logins use Redis' protocol.

There is no ``ACL SETUSER``. The admin is an AWS identity; module ``user`` decides which user it may change for which
secret.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from rotated_secrets.api.rotation import Rights, Strategy
from rotated_secrets.databases.base import (
    AdminSession,
    PasswordLimits,
    Refused,
    RightsReport,
    Server,
    SessionCount,
    Unavailable,
    Users,
)
from rotated_secrets.databases.base_classes import BaseAdminSession
from rotated_secrets.databases.elasticache.api import Described, ElastiCacheApi
from rotated_secrets.databases.elasticache.user import CacheUser, check_owner, names_host, user_of
from rotated_secrets.databases.idle import IdleLimit
from rotated_secrets.databases.redis import RedisEngine
from rotated_secrets.values import Credential, VersionId

WAIT_SECONDS = 90.0
"""How long a rotation waits for a user to be active again; what takes longer is checked again later."""
LOOK_EVERY_SECONDS = 2.0
SHORTEST_PASSWORD = 16

_ACTIVE = "active"

Change = tuple[VersionId | None, VersionId | None]
"""The versions whose passwords a user was given: the new one, and the one kept beside it."""


class ElastiCacheEngine:
    """ElastiCache users with passwords (RBAC), of Redis 6 and later and of Valkey."""

    default_port = 6379
    strategies = frozenset({Strategy.SINGLE_USER, Strategy.DUAL_PASSWORD})
    # The characters that AWS's own template leaves out (SecretsManagerElasticacheUserRotation).
    passwords = PasswordLimits(longest=128, shortest=16, excluded="/@\"'\\")

    def __init__(self, wait_seconds: float = WAIT_SECONDS, look_every_seconds: float = LOOK_EVERY_SECONDS) -> None:
        """``wait_seconds``: how long to wait for an active user; ``look_every_seconds``: how often to check."""
        self._api: ElastiCacheApi | None = None
        self._redis = RedisEngine()
        self._patience = wait_seconds, look_every_seconds
        self._under_way: dict[str, Change] = {}
        self._lock = threading.Lock()

    def into_cell(self) -> tuple[type[ElastiCacheEngine], tuple[float, float]]:
        """Make a copy in a cell, which speaks to the server alone and knows no AWS identity."""
        return ElastiCacheEngine, self._patience

    def check_username(self, username: str) -> None:
        self._redis.check_username(username)

    def hosts(self, credential: Credential) -> tuple[tuple[str, int], ...]:
        return ((credential.host, credential.port or self.default_port),) if names_host(credential) else ()

    def verify(self, server: Server, credential: Credential, users: Users, queries: Sequence[str] = ()) -> list[str]:
        """As :meth:`Engine.verify`; without a host in the value, check only that AWS calls the user active."""
        if names_host(credential):
            return self._redis.verify(server, credential, users, queries)
        user = user_of(credential)
        check_owner(user, self.api.tags(user))
        described = self.api.describe(user)
        _check_user(user, described, self.api.whom)
        if described.status != _ACTIVE:
            raise Unavailable(f"{user.arn} is {described.status}, so its passwords may not be everywhere yet")
        return ["verify queries need a host in the secret value"] if queries else []

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        return ElastiCacheSession(self, server, user_of(credential), *self._patience)

    def asking(self, client: Callable[[str, str], Any], whom: str) -> ElastiCacheEngine:
        """See :meth:`AsksCloud.asking`. The returned engines share what is under way."""
        other = copy.copy(self)
        other._api = ElastiCacheApi(client, whom)
        return other

    @property
    def api(self) -> ElastiCacheApi:
        if self._api is None:
            raise RuntimeError("no AWS identity to ask ElastiCache as: use the engine that asking() returns")
        return self._api

    def begin(self, user: CacheUser, change: Change) -> None:
        """Remember which passwords this process is giving a user: AWS never shows them."""
        with self._lock:
            self._under_way[user.arn] = change

    def end(self, user: CacheUser) -> Change | None:
        """Return what the user was being given, and forget it; None if nothing is known."""
        with self._lock:
            return self._under_way.pop(user.arn, None)


class ElastiCacheSession(BaseAdminSession):
    """Changes one user: the one that the secret claims, and whose tag names the secret."""

    def __init__(
        self, engine: ElastiCacheEngine, server: Server, user: CacheUser, wait_seconds: float, look_every: float
    ) -> None:
        self._engine = engine
        self._api = engine.api
        self._user = user
        self._wait_seconds = wait_seconds
        self._look_every = look_every
        # AWS has no session that would end with a frozen operator.
        self._awake = IdleLimit(server)

    def close(self) -> None:
        """There is no connection to close."""

    def try_lock(self, base_user: str) -> bool:
        """Use AWS's own lock: a user that is being modified cannot be modified again."""
        return self._looked_at(base_user).status == _ACTIVE

    def check_users(self, users: Users) -> None:
        if users.clone is not None:
            raise Refused("ElastiCache users are not cloned; write rotation.strategy: DualPassword")
        self._looked_at(users.base)

    def set_password(
        self,
        users: Users,
        credential: Credential,
        rights: Rights,  # noqa: ARG002 - there is one user
        keep: Credential | None = None,
    ) -> RightsReport:
        given = [each for each in (credential, keep) if each is not None]
        for each in given:
            if each.username != users.base or user_of(each) != self._user:
                raise Refused(f"the secret value is for another user than {self._user.arn}, so no password is set")
        if any(len(each.password) < SHORTEST_PASSWORD for each in given):
            raise Refused(
                f"ElastiCache takes passwords of {SHORTEST_PASSWORD} to 128 characters; raise rotation.password.length"
            )
        change = credential.version_id, keep.version_id if keep is not None else None
        self._looked_at(users.base)
        self._wait()
        # If this process asked for the same change and stopped waiting, it need not ask and wait again.
        if self._engine.end(self._user) != change or credential.version_id is None:
            self._looked_at(users.base)
            self._api.modify(self._user, list(dict.fromkeys(each.password.reveal() for each in given)))
            self._engine.begin(self._user, change)
            self._wait()
            self._engine.end(self._user)
        if names_host(credential):
            return RightsReport()
        return RightsReport(
            remaining=(
                f"whether {users.base} logs in with its new password was not tried, because the secret value "
                "names no host; add host and port of the cache",
            )
        )

    def disable_login(self, user: str) -> None:
        raise Refused(f"user {user} of ElastiCache is not locked out; delete it if it must not log in")

    def sessions_of(self, user: str) -> tuple[SessionCount, ...] | None:  # noqa: ARG002 - AWS's API does not show sessions
        return None

    def _wait(self) -> None:
        """Wait until the user is active, that is until its passwords are on every node."""
        end = time.monotonic() + self._wait_seconds
        while (status := self._described().status) != _ACTIVE:
            if time.monotonic() >= end:
                raise Unavailable(
                    f"{self._user.arn} has been {status} for more than {self._wait_seconds:g} s; it is tried again"
                )
            time.sleep(self._look_every)

    def _looked_at(self, name: str) -> Described:
        """Return the user as it is now, once its tag names this secret: both are read again before each change."""
        if name != self._user.name:
            raise Refused(f"the admin's session is for {self._user.name}, and not for {name}")
        self._awake.check()
        check_owner(self._user, self._api.tags(self._user))
        return self._described()

    def _described(self) -> Described:
        self._awake.check()
        described = self._api.describe(self._user)
        _check_user(self._user, described, self._api.whom)
        self._awake.check()
        return described


def _check_user(user: CacheUser, described: Described, whom: str) -> None:
    """Check that AWS has the user of the value. Raises: Refused."""
    if described.arn != user.arn:
        raise Refused(
            f"{whom} sees {described.arn or 'a user without an ARN'} for {user.id}, and the "
            f"secret value says {user.arn}; {whom} has to belong to that account"
        )
    if described.name != user.name:
        raise Refused(f"{user.arn} logs in as {described.name}, and not as {user.name}; correct the secret value")
    if described.authentication != "password" or not described.passwords:
        raise Refused(
            f"{user.arn} logs in by {described.authentication or 'an unknown way'} and not by password; give it "
            "one: aws elasticache modify-user --authentication-mode Type=password"
        )
