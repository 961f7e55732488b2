"""The engines for MongoDB and DocumentDB: verify by logging in as a user, and open sessions for admins.

Source of the values of ``engine``: "JSON structure of AWS Secrets Manager secrets", AWS Secrets Manager User Guide.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from pymongo.errors import PyMongoError

from rotated_secrets.databases.base import (
    AdminSession,
    AuthenticationFailed,
    PasswordLimits,
    Server,
    Unavailable,
    Users,
)
from rotated_secrets.databases.base_classes import VERIFY_SECONDS, LoggedIn, LoginEngine
from rotated_secrets.databases.mongo.admin import MongoAdminSession
from rotated_secrets.databases.mongo.errors import (
    TOOK_TOO_LONG,
    condition,
    failed_command,
    is_temporary,
    is_unauthorized,
    is_unknown,
)
from rotated_secrets.databases.mongo.login import Document, Login, authentication_database, log_in
from rotated_secrets.databases.mongo.queries import NotAQuery, read_query
from rotated_secrets.databases.mongo.users import Account, Part, differences, read_account, unusable_name
from rotated_secrets.databases.verify_queries import CUT_AFTER_SECONDS, OutOfTime, Query
from rotated_secrets.values import Credential

LEASE_SECONDS = 5.0
ROUTERS_LAG_SECONDS = 40.0
"""Routers of a sharded cluster look for changed users every 30 seconds (userCacheInvalidationIntervalSecs)."""

_GUARD = threading.Lock()
"""Not the engine's: engines are copied."""


class MongoEngine(LoginEngine[Login]):
    """MongoDB 4.4 and later, and what speaks its protocol and keeps users as it does."""

    default_port = 27017

    def __init__(self, lease_seconds: float = LEASE_SECONDS, verify_seconds: float = VERIFY_SECONDS) -> None:
        """``lease_seconds``: after which others may take a lock that its holder doesn't renew."""
        super().__init__(lease_seconds, verify_seconds)
        self._written: dict[tuple[str, str], float] = {}

    def open_admin(self, server: Server, credential: Credential) -> AdminSession:
        return self._open(server, credential)

    def open_admin_for(
        self,
        server: Server,
        credential: Credential,
        proven_at: Server,  # noqa: ARG002 - the same server, and the proof says itself of which database it is
        proof: Credential,
    ) -> AdminSession:
        """Users of one name in several databases are different users: the proof's database shows which is meant."""
        return self._open(server, credential, proven_in=self._source(proof))

    def _unusable_name(self, username: str) -> str | None:
        return unusable_name(username)

    def _log_in(self, server: Server, credential: Credential) -> Login:
        lagging = self._was_written(server, credential.username)
        return log_in(server, credential, self._source(credential), lagging=lagging)

    def _wrong_rights(self, login: LoggedIn[Login]) -> Iterator[str]:
        connection, server, users = login.connection, login.server, login.users
        source, user = self._source(login.credential), login.credential.username
        try:
            sessions = _authenticated(connection.command("admin", {"connectionStatus": 1}))
            accounts = _both(connection, users, source) if user == users.clone else {}
        except PyMongoError as error:
            raise failed_command(error, server, f"look who {user} is") from None
        # DocumentDB has its users in admin, whatever database they log in by.
        if sessions not in ([(user, source)], [(user, "admin")]):
            raise AuthenticationFailed(
                f"user {user} at {server} does not log in: the session does not belong to that user of database "
                f"{source}; name the server itself in host, and correct authSource in the secret value"
            )
        base, clone = accounts.get(users.base), accounts.get(user)
        if base is not None and clone is not None:
            yield from (each.sentence for each in differences(base, clone) if each.part is Part.LACKS_ROLE)

    def _run(self, login: LoggedIn[Login], query: Query) -> str | None:
        connection, left = login.connection, query.left
        database = login.credential.dbname or self._source(login.credential)
        try:
            command = {**read_query(query.text), "maxTimeMS": max(1, int(left * 1000))}
            answer = connection.command(database, command, left + CUT_AFTER_SECONDS)
            _forget(connection, database, answer)
        except NotAQuery as error:
            return f"is refused: {error}"
        except PyMongoError as error:
            if getattr(error, "code", None) == TOOK_TOO_LONG:
                raise OutOfTime from None
            if is_temporary(error):
                raise failed_command(error, login.server, f"run {query}") from None
            return f"failed: {condition(error)}"
        return None

    def _open(self, server: Server, credential: Credential, proven_in: str | None = None) -> AdminSession:
        source, user = self._source(credential), credential.username
        login = self._log_in(server, credential)
        try:
            if not login.greeting.writable:
                raise Unavailable(
                    f"{server} takes no writes now: it is a secondary of its replica set; name the primary in host, "
                    f"or better a DNS name with the addresses of all members"
                )
            return MongoAdminSession(
                login,
                server,
                user,
                source,
                lease_seconds=self.idle_seconds,
                source_of=self._source,
                wrote=self.wrote,
                proven_in=proven_in,
            )
        except BaseException:
            login.close()
            raise

    def _source(self, credential: Credential) -> str:
        """As AWS's template: the user belongs to ``dbname``, where the value has no ``authSource``."""
        return authentication_database(credential, credential.dbname)

    def wrote(self, server: Server, user: str) -> None:
        """See :meth:`RemembersWrites.wrote`."""
        now = time.monotonic()
        with _GUARD:
            recent = {key: then for key, then in self._written.items() if now - then < ROUTERS_LAG_SECONDS}
            self._written = {**recent, (server.host, user): now}

    def _was_written(self, server: Server, user: str) -> bool:
        """Whether the user's password was set so short a time ago that a router may not know it."""
        then = self._written.get((server.host, user))
        return then is not None and time.monotonic() - then < ROUTERS_LAG_SECONDS


class DocumentDbEngine(MongoEngine):
    """Amazon DocumentDB under its own name; as ``mongo``, which is AWS's word for it, it works as well.

    Source of the limits: "Quotas and limits" and "Managing users", Amazon DocumentDB Developer Guide.
    """

    passwords = PasswordLimits(longest=100, excluded='/"@ ')

    def _unusable_name(self, username: str) -> str | None:
        if len(username) > 63:
            return (
                f"user {username[:20]}… has {len(username)} characters, and DocumentDB takes at most 63; "
                f"choose a shorter user name or clone suffix"
            )
        return super()._unusable_name(username)

    def _source(self, credential: Credential) -> str:
        """All users are of database admin."""
        return authentication_database(credential, None)


def _authenticated(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and databases of the users that a connection is logged in as."""
    authenticated = (status.get("authInfo") or {}).get("authenticatedUsers") or ()
    return [(str(each.get("user")), str(each.get("db"))) for each in authenticated]


def _both(login: Login, users: Users, source: str) -> dict[str, Account]:
    """Return both users, if this one may read them: few may."""
    wanted = [{"user": user, "db": source} for user in (users.base, users.clone)]
    try:
        answer = login.command(source, {"usersInfo": wanted})
    except PyMongoError as error:
        if is_unauthorized(error) or is_unknown(error):
            return {}
        raise
    return {account.name: account for account in map(read_account, answer.get("users", ()))}


def _forget(login: Login, database: str, answer: Document) -> None:
    """Close a cursor that has more rows at the server."""
    cursor = answer.get("cursor") or {}
    if cursor.get("id"):
        collection = str(cursor.get("ns", "")).partition(".")[2]
        login.command(database, {"killCursors": collection, "cursors": [cursor["id"]]})
