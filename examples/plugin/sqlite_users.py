"""An engine for an application that keeps its users in a SQLite file: users(name PRIMARY KEY, salt, hash), scrypt.

The file is the operator's to name (SQLITE_USERS), never a tenant's; the value's `host` is looked up and not used.
"""
# ruff: noqa: ARG002 - the protocol has more arguments than every engine needs

import fcntl
import hashlib
import hmac
import os
import sqlite3
from contextlib import AbstractContextManager, closing
from pathlib import Path

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.databases.base import AuthenticationFailed, PasswordLimits, Refused, RightsReport, Unavailable


def hashed(password, salt):
    return hashlib.scrypt(password.reveal().encode(), salt=salt, n=2**14, r=8, p=1)


def run(statement, *values):
    """Run one statement in its own transaction. Messages of SQLite may be repeated, because they quote no value."""
    file = Path(os.environ["SQLITE_USERS"]).absolute().as_uri() + "?mode=rw"
    try:
        with closing(sqlite3.connect(file, uri=True)) as db, db:
            return db.execute(statement, values).fetchall()
    except sqlite3.OperationalError as error:
        raise Unavailable(f"the file of users cannot be used now: {error}; check SQLITE_USERS") from None


class SqliteUsersEngine:
    default_port = 0
    strategies = frozenset({Strategy.SINGLE_USER})
    passwords = PasswordLimits(longest=128)

    def check_username(self, username):
        if len(username) > 64:
            raise Refused(f"user {username[:64]}…: names have at most 64 characters")

    def verify(self, server, credential, users, queries=()):
        found = run("SELECT salt, hash FROM users WHERE name = ?", credential.username)
        if not found or not hmac.compare_digest(found[0][1], hashed(credential.password, found[0][0])):
            raise AuthenticationFailed(f"user {credential.username}: the password is wrong, or there is no such user")
        return [f"query {number} cannot be run here" for number, _ in enumerate(queries, 1)]

    def open_admin(self, server, credential):
        self.verify(server, credential, None)
        return Session()


class Session(AbstractContextManager):
    lock = None

    def __exit__(self, *error):
        if self.lock is not None:
            os.close(self.lock)

    def try_lock(self, base_user):
        if self.lock is None:
            name = hashlib.sha256(base_user.encode()).hexdigest()[:16]
            lock = os.open(f"{os.environ['SQLITE_USERS']}.{name}.lock", os.O_CREAT | os.O_WRONLY, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                return False
            self.lock = lock
        return True

    def check_users(self, users):
        if not run("SELECT 1 FROM users WHERE name = ?", users.base):
            raise Refused(f"there is no user {users.base} in the file; create it first")

    def set_password(self, users, credential, rights, keep=None):
        salt = os.urandom(16)
        new = hashed(credential.password, salt)
        run("UPDATE users SET salt = ?, hash = ? WHERE name = ?", salt, new, credential.username)
        return RightsReport()

    def disable_login(self, user):
        run("UPDATE users SET hash = x'' WHERE name = ?", user)

    def sessions_of(self, user):
        return None
