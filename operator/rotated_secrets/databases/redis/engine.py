"""The engine for Redis: verifies by logging in as a user, and opens sessions for admins, on every named node."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Sequence

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.databases.base import (
    AdminSession,
    AuthenticationFailed,
    PasswordLimits,
    Refused,
    Server,
    Users,
)
from rotated_secrets.databases.base_classes import BaseEngine
from rotated_secrets.databases.deadline import judged_in_time
from rotated_secrets.databases.redis.admin import NODES_KEY, open_session
from rotated_secrets.databases.redis.errors import NOT_NOW, ErrorReply, Lost, TooLong, failed_command
from rotated_secrets.databases.redis.users import unusable_name
from rotated_secrets.databases.redis.wire import Wire, log_in
from rotated_secrets.databases.verify_queries import OutOfTime, Query, SessionOver, VerifyQueries
from rotated_secrets.host_names import host_name
from rotated_secrets.values import Credential

LOGIN_SECONDS = 8.0
MOST_NODES = 100
MOST_BYTES = 1 << 20
"""Of a verify query's answer: the server sends it whole or not at all."""
DEFAULT_PORT = 6379

_HOST_AND_PORT = re.compile(r"(?:\[(?P<address>[^\[\]]+)\]|(?P<host>[^\[\]:\s]+))(?::(?P<port>[0-9]{1,5}))?")
_ELSEWHERE = ("MOVED", "ASK")
"""Another node of the cluster has the key. The server looks at the user's rights first (processCommand in server.c)."""
_READ_ONLY = """
    bitcount bitpos dbsize dump exists expiretime geodist geohash geopos geosearch get getbit getrange hexists hget
    hgetall hkeys hlen hmget hrandfield hscan hstrlen hvals keys lcs lindex llen lolwut lpos lrange mget pexpiretime
    pfcount ping pttl randomkey scan scard sdiff sinter sintercard sismember smembers smismember sort_ro srandmember
    sscan strlen substr sunion touch ttl type xlen xpending xrange xrevrange zcard zcount zdiff zinter zintercard
    zlexcount zmscore zrandmember zrange zrangebylex zrangebyscore zrank zrevrange zrevrangebylex zrevrangebyscore
    zrevrank zscan zscore zunion
"""
"""What changes nothing, so that the server need not be asked: few users may run COMMAND INFO."""
_PROGRAMS = ("eval", "fcall")
"""How the commands begin that run a program: one that does not end would block all clients of the server."""
_WAITING = frozenset({"blocking", "noscript"})
"""Flags of commands that wait for others, or run a program."""


class RedisEngine(BaseEngine):
    """Redis 6 and later, Valkey, and what speaks their protocol and has their access control lists."""

    default_port = DEFAULT_PORT
    strategies = BaseEngine.strategies | {Strategy.DUAL_PASSWORD}
    # CONFIG_AUTHPASS_MAX_LEN in server.h.
    passwords = PasswordLimits(longest=512)
    idle_seconds = 10.0
    """After this time of silence a holder of the lock is taken for frozen: another may end it and take the lock."""

    def hosts(self, credential: Credential) -> tuple[tuple[str, int], ...]:
        own = credential.host, credential.port or self.default_port
        fields = (credential.value.fields if credential.value else None) or {}
        further = fields.get(NODES_KEY) or []
        if isinstance(further, str):
            further = [part.strip() for part in further.split(",") if part.strip()]
        if not isinstance(further, list) or len(further) > MOST_NODES:
            raise Refused(f"{NODES_KEY} in the secret value must be a list of at most {MOST_NODES} host:port")
        named = [own, *(_host_and_port(each, own[1]) for each in further)]
        each_once: dict[tuple[str, int], tuple[str, int]] = {}
        for host, port in named:
            each_once.setdefault((host_name(host).removesuffix("."), port), (host, port))
        return tuple(each_once.values())

    def verify(
        self,
        server: Server,
        credential: Credential,
        users: Users,  # noqa: ARG002 - a user cannot see its own rights: the admin's session compares them
        queries: Sequence[str] = (),
    ) -> list[str]:
        failed: dict[str, None] = {}
        verified = VerifyQueries(queries, self.verify_seconds)
        for node in (server, *server.others):
            with log_in(node, credential, LOGIN_SECONDS) as wire, judged_in_time():
                _check_identity(wire, node, credential.username)
                failed |= dict.fromkeys(verified.failures(functools.partial(_run, wire, node)))
        return list(failed)

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        return open_session(server, credential, self.idle_seconds)

    def _unusable_name(self, username: str) -> str | None:
        return unusable_name(username)


def _host_and_port(text: object, port: int) -> tuple[str, int]:
    """One node, as people write them: host, host:port, [address]:port, or an IPv6 address as it is."""
    if isinstance(text, str) and text.count(":") > 1 and "[" not in text:
        return host_name(text), port
    found = _HOST_AND_PORT.fullmatch(text) if isinstance(text, str) else None
    if found is None or not 0 < int(found["port"] or port) < 65536:
        raise Refused(f"{NODES_KEY} in the secret value must be host:port each, for example redis-2.example.com:6379")
    return host_name(found["address"] or found["host"]), int(found["port"] or port)


def _check_identity(wire: Wire, server: Server, user: str) -> None:
    try:
        who = wire.ask("ACL", "WHOAMI")
    except ErrorReply as error:
        if error.code != "NOPERM":
            raise failed_command(error, server, f"look who {user} is") from None
        # Few users may ask; the server has taken their name with the password.
        return
    except (Lost, TooLong) as error:
        raise failed_command(error, server, f"look who {user} is") from None
    if who != user:
        raise AuthenticationFailed(
            f"user {user} at {server} does not log in: the session belongs to another user, so the password of "
            f"{user} was not checked; name the server itself in host, not a proxy that has its own users"
        )


def _run(wire: Wire, server: Server, query: Query) -> str | None:
    """Run a query that changes nothing."""
    try:
        words = shlex.split(query.text)
    except ValueError:
        words = []
    if not words:
        return "is not a command: write one command of Redis with its arguments, quotes in pairs"
    if query.is_late:
        raise OutOfTime
    try:
        if not _changes_nothing(wire, words, query):
            return "was not run: it has to be a command that only reads, and does not wait"
        wire.ask(*words, seconds=query.left, most_bytes=MOST_BYTES)
    except ErrorReply as error:
        if error.code in _ELSEWHERE:
            return None
        if error.code in NOT_NOW:
            raise failed_command(error, server, f"run {query}") from None
        return f"failed at {server}: {error.code}"
    except TooLong:
        raise SessionOver(f"answers more than {MOST_BYTES >> 20} MiB; read less") from None
    except Lost as error:
        if error.late:
            raise OutOfTime from None
        raise failed_command(error, server, f"run {query}") from None
    return None


def _changes_nothing(wire: Wire, words: Sequence[str], query: Query) -> bool:
    name = words[0].lower()
    if name in _READ_ONLY.split():
        return True
    if name.startswith(_PROGRAMS):
        return False
    told = wire.ask("COMMAND", "INFO", words[0], seconds=query.left, most_bytes=MOST_BYTES)
    try:
        flags = frozenset(told[0][2])
    except (IndexError, TypeError):
        return False
    return "readonly" in flags and not flags & _WAITING
