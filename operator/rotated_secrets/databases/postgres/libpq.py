"""One attempt to connect by libpq, and what came of it in codes, whatever language the server speaks.

For a failed login psycopg2 gives the server's text alone, in the language of its `lc_messages`, and fails itself where
that text is not UTF-8. libpq adds the SQLSTATE and the place in the server's source where it is told to be verbose
(PQsetErrorVerbosity, "Control Functions" in PostgreSQL's documentation), between PQconnectStart and PQconnectPoll.
psycopg2 makes these two calls, and lets its user wait between them, while there is a wait callback ("Support for
coroutine libraries" in its documentation); `connection.pgconn_ptr` is there for calls of libpq.

Knows nothing of what the codes mean.
"""

from __future__ import annotations

import ctypes
import re
import select
import threading
import time
from dataclasses import dataclass, replace
from typing import Any

import psycopg2
from psycopg2 import _psycopg
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE, STATUS_SETUP, get_wait_callback, set_wait_callback
from psycopg2.extensions import connection as Connection  # noqa: N812

# The linker finds the functions of the libpq that the driver was built with, whatever that file is called.
_libpq = ctypes.CDLL(_psycopg.__file__)
_libpq.PQsetErrorVerbosity.argtypes = (ctypes.c_void_p, ctypes.c_int)
_libpq.PQsetnonblocking.argtypes = (ctypes.c_void_p, ctypes.c_int)
_libpq.PQerrorMessage.argtypes = (ctypes.c_void_p,)
_libpq.PQerrorMessage.restype = ctypes.c_char_p
_libpq.PQparameterStatus.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
_libpq.PQparameterStatus.restype = ctypes.c_char_p

_DEFAULT, _VERBOSE = 1, 2
"""PGVerbosity in libpq-fe.h."""
_OTHER_ADDRESS = "57P03"
"""cannot_connect_now: another address of the host may be that of a server which is ready."""

_ATTEMPT = re.compile(rb'connection to server at "[^"]*"(?: \([^)]*\))?, port \d+ failed: ')
# pqBuildErrorMessage3 in fe-protocol3.c. The first word and the message are in the server's language and encoding.
_SAID = re.compile(
    rb"[^:\n]*:  (?P<sqlstate>[0-9A-Z]{5}): .*?(?:\nLOCATION:  (?P<routine>\w+), [^\n]*)?\s*\Z", re.DOTALL
)


@dataclass(frozen=True)
class Failure:
    """Why there is no connection."""

    sqlstate: str | None = None
    """The server's code; None where the server said nothing, or no error of PostgreSQL's protocol."""
    routine: str | None = None
    """The function of the server's source that said it: the same in all languages."""
    text: str = ""
    """What libpq itself says, in English, where the server said nothing."""
    password_asked: bool = False
    """Whether the server had asked for the password before."""
    password_missing: bool = False
    """Whether it asked for one, and there was none to send."""
    began: bool = False
    """Whether the session had begun: the server had accepted the password, and let the user in to the database."""
    elsewhere: bool = False
    """Whether another address of the same host may be tried: this one has learned nothing of the password."""


class NotConnected(Exception):
    """There is no connection."""

    def __init__(self, failure: Failure) -> None:
        super().__init__("not connected")
        self.failure = failure


def connect(seconds: float, **parameters: Any) -> Connection:
    """Connect to one address within so many seconds; ``parameters`` are libpq's.

    Raises: NotConnected.
    """
    attempt = _Attempt(seconds)
    with _one_attempt:
        before = get_wait_callback()
        set_wait_callback(attempt)
        try:
            connection: Connection = psycopg2.connect(connection_factory=_Connection, **parameters)
        except psycopg2.Error as error:
            raise NotConnected(Failure(text=str(error), elsewhere=not attempt.answered)) from None
        except UnicodeError:
            raise NotConnected(Failure()) from None
        finally:
            set_wait_callback(before)
    pointer = connection.pgconn_ptr
    _libpq.PQsetErrorVerbosity(pointer, _DEFAULT)
    _libpq.PQsetnonblocking(pointer, 0)
    return connection


_one_attempt = threading.Lock()
"""The callback is the process's. A cell has one login at a time anyway."""


class _Connection(Connection):
    """A connection of :func:`connect`: other threads may make connections of their own meanwhile."""


class _Attempt:
    """The callback: waits until a connection is made, and until the statements are done that the driver sends then."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        self.answered = False
        """Whether there was a connection to wait for an answer on."""

    def __call__(self, connection: Connection) -> None:
        if isinstance(connection, _Connection) and connection.status == STATUS_SETUP:
            self._log_in(connection)
        else:
            while (state := connection.poll()) != POLL_OK:
                if not self._is_ready(connection, state):
                    raise psycopg2.OperationalError("timeout expired")

    def _log_in(self, connection: Connection) -> None:
        pointer = connection.pgconn_ptr
        _libpq.PQsetErrorVerbosity(pointer, _VERBOSE)
        try:
            while (state := connection.poll()) != POLL_OK:
                self.answered = self.answered or state == POLL_READ
                if not self._is_ready(connection, state):
                    asked = connection.info.used_password
                    raise NotConnected(Failure(text="timeout expired", password_asked=asked, elsewhere=not asked))
        except (psycopg2.Error, UnicodeError):
            # The driver decodes the text; what is needed of it is ASCII.
            said = _libpq.PQerrorMessage(pointer) or b""
            failure = read_failure(
                said,
                answered=self.answered,
                asked=connection.info.used_password,
                missing=connection.info.needs_password,
            )
            # The server reports its version when a session begins ("Message Flow": Start-up).
            began = failure.password_asked and _libpq.PQparameterStatus(pointer, b"server_version") is not None
            raise NotConnected(replace(failure, began=began)) from None

    def _is_ready(self, connection: Connection, state: int) -> bool:
        """Wait for the socket; return whether it was ready in time."""
        left = self._ends - time.monotonic()
        waiting = select.poll()
        waiting.register(connection.fileno(), select.POLLOUT if state == POLL_WRITE else select.POLLIN)
        return left > 0 and bool(waiting.poll(left * 1000))


def read_failure(said: bytes, *, answered: bool, asked: bool, missing: bool) -> Failure:
    """Read libpq's verbose message of one attempt to connect. Pure.

    ``answered``: there was a connection; ``asked``: the server asked for the password; ``missing``: there was none.
    """
    text = _ATTEMPT.sub(b"", said, count=1)
    found = _SAID.match(text)
    if found is None:
        return Failure(None, None, text.decode(errors="replace"), asked, missing, elsewhere=not answered)
    sqlstate, routine = (each.decode() if each else None for each in found.group("sqlstate", "routine"))
    return Failure(sqlstate, routine, "", asked, missing, elsewhere=sqlstate == _OTHER_ADDRESS)
