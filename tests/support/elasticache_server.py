"""ElastiCache's users as a process of its own: moto, with what it lacks.

ModifyUser takes its time, as at AWS: the user is "modifying" for the seconds that its tag `test/seconds` says, keeps
its old passwords meanwhile, and takes no other change. Where a Redis server is given, the passwords go there, by hash.

Run it with the port of that server and its admin's name and password, or without; it prints where it listens, and ends
when its standard input does.
"""

from __future__ import annotations

import hashlib
import sys
import time
from typing import Any

from moto.core.responses import ActionResult
from moto.elasticache import models
from moto.elasticache.exceptions import ElastiCacheException, InvalidParameterValueException
from moto.elasticache.responses import ElastiCacheResponse
from moto.server import ThreadedMotoServer
from redis import Redis

SECONDS_TAG = "test/seconds"


class InvalidUserState(ElastiCacheException):
    """Source: "Errors", ModifyUser, Amazon ElastiCache API Reference."""

    code = "InvalidUserState"
    message = "The user is not in active state."


def cache() -> Redis | None:
    if len(sys.argv) < 4:
        return None
    return Redis("127.0.0.1", int(sys.argv[1]), username=sys.argv[2], password=sys.argv[3])


def settle(user: models.User) -> None:
    """Let a change take effect whose time has come."""
    due = getattr(user, "due", None)
    if user.status == "modifying" and due is not None and time.monotonic() >= due:
        user.passwords, user.status = user.pending, "active"  # type: ignore[attr-defined]
        if redis := cache():
            hashes = [f"#{hashlib.sha256(each.encode()).hexdigest()}" for each in user.passwords]
            redis.execute_command("ACL", "SETUSER", user.name, "resetpass", *hashes)  # type: ignore[no-untyped-call]


def describe_users(self: ElastiCacheResponse) -> ActionResult:
    users = self.elasticache_backend.describe_users(self._get_params().get("UserId"))
    for user in users:
        settle(user)
    return ActionResult({"Users": users})


def modify_user(self: ElastiCacheResponse) -> ActionResult:
    parameters: dict[str, Any] = self._get_params()
    backend = self.elasticache_backend
    [user] = backend.describe_users(parameters.get("UserId"))
    settle(user)
    passwords = parameters.get("Passwords", [])
    if user.status != "active":
        raise InvalidUserState
    if not 1 <= len(passwords) <= 2 or not all(16 <= len(each) <= 128 for each in passwords):
        # The worst that a message can do.
        raise InvalidParameterValueException(f"Invalid passwords: {passwords}")
    tags = {tag["Key"]: tag["Value"] for tag in backend.list_tags_for_resource(user.arn)["Tags"]}
    user.status = "modifying"
    user.pending = passwords  # type: ignore[attr-defined]
    user.due = time.monotonic() + float(tags.get(SECONDS_TAG, "0"))  # type: ignore[attr-defined]
    user.modified = getattr(user, "modified", 0) + 1  # type: ignore[attr-defined]
    # So that a test sees how often.
    user.minimum_engine_version = str(user.modified)  # type: ignore[attr-defined]
    return ActionResult(user)


def main() -> None:
    ElastiCacheResponse.describe_users = describe_users  # type: ignore[method-assign]
    ElastiCacheResponse.modify_user = modify_user  # type: ignore[attr-defined]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    sys.stdout.write(f"http://{host}:{port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    main()
