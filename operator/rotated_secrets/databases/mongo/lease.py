"""The lock of one base user: a lease in a collection, because MongoDB has no locks that a session could hold.

A document ``{_id: base user, holder, renewed}`` in ``rotated_secrets.locks``. The session that creates it or takes it
over holds the lock, until it was not renewed for a while by the server's clock; the unique index allows one holder. A
holder renews it before each step, so one that was frozen meanwhile finds out that it has lost the lock.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from datetime import timedelta

from pymongo.errors import PyMongoError

from rotated_secrets.databases.base import Refused, Server, Unavailable
from rotated_secrets.databases.mongo.errors import DUPLICATE_KEY, failed_command, is_unauthorized
from rotated_secrets.databases.mongo.login import Document, Login
from rotated_secrets.databases.mongo.users import LOCKS, create_role, grant_role

DATABASE, COLLECTION = "rotated_secrets", "locks"
MAJORITY: Document = {"w": "majority", "j": True, "wtimeout": 10_000}
"""So that no crash undoes a write: a lost password would lock its user out, a lost lock would block the next."""


class Lease:
    """The lock as one session sees it."""

    def __init__(self, login: Login, server: Server, user: str, source: str, seconds: float) -> None:
        """``user`` of database ``source`` is logged in; ``seconds`` without renewal free the lock for others."""
        self._login = login
        self._server = server
        self._user = user
        self._source = source
        self._seconds = seconds
        self._holder = secrets.token_hex(16)
        self._name: str | None = None
        self._renewed = 0.0

    def take(self, name: str) -> bool:
        """Take the lock, or check that it is still held. False: another session has it, or has had it since."""
        if self._name is not None:
            return self._name == name and self._renew()
        try:
            now = self._login.server_time()
            # This time is a moment old. That is safe: fewer locks count as expired.
            self._write({"_id": name, "renewed": {"$lt": now - timedelta(seconds=self._seconds)}}, upsert=True)
        except PyMongoError as error:
            if getattr(error, "code", None) == DUPLICATE_KEY:
                return False
            raise self._failed(error, name) from None
        self._name = name
        return True

    def assert_held(self) -> None:
        """Renew the lock where one was taken.

        Raises:
            Unavailable: it was lost.
        """
        if self._name is not None and not self._renew():
            raise Unavailable(f"the lock of user {self._name} at {self._server} was lost; it is tried again")

    def assert_fresh(self) -> None:
        """Call this just before a password is written: a process may be frozen between any two statements.

        Raises:
            Unavailable: the renewal is so long ago that others may have the lock.
        """
        if self._name is not None and _clock() - self._renewed > self._seconds * 0.9:
            raise Unavailable(f"the lock of user {self._name} at {self._server} is about to be lost; it is tried again")

    def release(self) -> None:
        """Free the lock, at once if possible, else when it expires."""
        if self._name is None:
            return
        mine = {"q": {"_id": self._name, "holder": self._holder}, "limit": 1}
        self._name = None
        with contextlib.suppress(PyMongoError):
            command = {"delete": COLLECTION, "deletes": [mine], "writeConcern": MAJORITY}
            self._login.command(DATABASE, command, seconds=2.0)

    def _renew(self) -> bool:
        try:
            return self._write({"_id": self._name, "holder": self._holder}, upsert=False)
        except PyMongoError as error:
            raise self._failed(error, str(self._name)) from None

    def _write(self, query: Document, *, upsert: bool) -> bool:
        began = _clock()
        answer = self._login.command(
            DATABASE,
            {
                "findAndModify": COLLECTION,
                "query": query,
                "update": {"$set": {"holder": self._holder}, "$currentDate": {"renewed": True}},
                "upsert": upsert,
                "new": True,
                "writeConcern": MAJORITY,
            },
        )
        self._renewed = began
        return answer.get("value") is not None

    def _failed(self, error: BaseException, name: str) -> Exception:
        if not is_unauthorized(error):
            return failed_command(error, self._server, f"lock user {name}")
        return Refused(
            f"{self._user} may not keep the lock of user {name} in collection {DATABASE}.{COLLECTION} at "
            f"{self._server}; run: {create_role('rotatedSecretsLocks', [LOCKS])}; "
            f"{grant_role(self._source, self._user, 'rotatedSecretsLocks', 'admin')}"
        )


def _clock() -> float:
    """Seconds that also pass while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
