"""What the sandbox's proxies share: they count calls, and act when the n-th passes.

With them a test kills an operator exactly when the store or the database has seen a call, or cuts it off from either,
without a hook in the product. They keep names of calls, never what a call carries.
"""

from __future__ import annotations

import http.client
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler
from typing import Any

BACKEND_SECONDS = 60
NOT_PASSED_ON = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"})


class Moment(Enum):
    """When a call is acted upon."""

    SEEN = "read from the client, not yet given to the backend"
    ANSWERED = "answered by the backend, not yet returned to the client"


@dataclass(frozen=True)
class Call:
    """One call that passed: its place in the order, its name, and for the store the secret it names and who asks."""

    number: int
    name: str
    subject: str = ""
    client: int = field(default=0, compare=False)
    """The port that it came from."""
    at: float = field(default_factory=time.monotonic, compare=False)
    """When it came, by the monotonic clock."""
    caller: str = field(default="", compare=False)
    """The id of the access key, at the store."""


@dataclass(eq=False)
class _Trap:
    left: int
    do: Callable[[Call], object]
    moment: Moment
    name: str | None
    cut: bool
    subject: str
    caught: Call | None = None

    def is_for(self, call: Call) -> bool:
        return self.caught is None and self.name in (None, call.name) and self.subject in call.subject


class _CutOff(ConnectionError):
    """This connection ends here."""


class Held:
    """A call that waits in a proxy from the moment on that was asked for, until it is let go."""

    def __init__(self) -> None:
        self._arrived = threading.Event()
        self._gone = threading.Event()
        self._lost = False

    @property
    def has_arrived(self) -> bool:
        return self._arrived.is_set()

    def let_go(self) -> None:
        """It goes on its way, however late it is."""
        self._gone.set()

    def lose(self) -> None:
        """It goes no further, nor does anything else on its connection."""
        self._lost = True
        self._gone.set()

    def hold(self, _: Call) -> None:
        self._arrived.set()
        self._gone.wait()
        if self._lost:
            raise _CutOff("it was lost")


class Proxy:
    """The log of calls, traps, and breaking the network."""

    def __init__(self, backend: tuple[str, int], handler: type[socketserver.BaseRequestHandler]) -> None:
        self.backend = backend
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._traps: list[_Trap] = []
        self._open: set[socket.socket] = set()
        self._flowing = threading.Event()
        self._flowing.set()
        self._refusing = False
        self._delay = 0.0
        self._failures: list[BaseException] = []
        self._server = Server(self, handler)
        self.host, self.port = self._server.socket.getsockname()[:2]

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every call since the start or the last :meth:`clear`, in the order in which they came."""
        with self._lock:
            return tuple(self._calls)

    def count(self, name: str | None = None) -> int:
        """How many calls there were, of this name or in all."""
        return sum(1 for call in self.calls if name in (None, call.name))

    def clear(self) -> None:
        """Forget the calls and the traps, and let everything through again."""
        with self._lock:
            self._calls.clear()
            self._traps.clear()
        self._delay = 0.0

    def trap(
        self,
        number: int,
        do: Callable[[Call], object],
        *,
        moment: Moment = Moment.SEEN,
        name: str | None = None,
        subject: str = "",
        cut: bool = True,
    ) -> None:
        """Do something when the ``number``-th call from now on, of this name or of any, has got that far.

        Of calls about a ``subject`` alone that contains this. The call waits meanwhile. With ``cut`` it then goes no
        further: what was SEEN never reaches the backend, what was ANSWERED never reaches the client.
        """
        with self._lock:
            self._traps.append(_Trap(number, do, moment, name, cut, subject))

    def delay(self, seconds: float) -> None:
        """Hold every call back for so long, until :meth:`clear`."""
        self._delay = seconds

    def cut(self) -> None:
        """End all connections there are."""
        with self._lock:
            connections = tuple(self._open)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def partitioned(self) -> Iterator[None]:
        """Nobody gets through: connections end, new ones are reset."""
        self._refusing = True
        self.cut()
        try:
            yield
        finally:
            self._refusing = False

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Nothing gets through, and nobody is told: connections stay open and silent."""
        self._flowing.clear()
        try:
            yield
        finally:
            self._flowing.set()

    def seen(self, name: str, subject: str = "", client: int = 0, caller: str = "") -> Call:
        """Log a call and spring the traps for it. Raises: ConnectionError where a trap cuts it off."""
        with self._lock:
            call = Call(len(self._calls) + 1, name, subject, client, caller=caller)
            self._calls.append(call)
            for trap in self._traps:
                if trap.is_for(call):
                    trap.left -= 1
                    if trap.left == 0:
                        trap.caught = call
        self._spring(call, Moment.SEEN)
        if self._delay:
            time.sleep(self._delay)
        self.wait_until_it_flows()
        return call

    def answered(self, call: Call) -> None:
        """Spring the traps for a call that has its answer. Raises: as :meth:`seen`."""
        self._spring(call, Moment.ANSWERED)
        self.wait_until_it_flows()

    def wait_until_it_flows(self) -> None:
        """At once, unless this proxy is stalled."""
        self._flowing.wait()

    def _spring(self, call: Call, moment: Moment) -> None:
        with self._lock:
            sprung = [trap for trap in self._traps if trap.caught == call and trap.moment is moment]
            self._traps = [trap for trap in self._traps if trap not in sprung]
        for trap in sprung:
            trap.do(call)
        if any(trap.cut for trap in sprung):
            raise _CutOff(f"{call.name} was cut off")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Pass calls on until the end of the ``with``. Raises: what a trap raised meanwhile."""
        serving = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True, name="sandbox-proxy")
        serving.start()
        try:
            yield
        finally:
            self._server.shutdown()
            serving.join()
            self._flowing.set()
            self.cut()
            self._server.server_close()
        if self._failures:
            raise self._failures[0]


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, proxy: Proxy, handler: type[socketserver.BaseRequestHandler]) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        if self.proxy._refusing:
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        with self.proxy._lock:
            self.proxy._open.add(request)
        return True

    def shutdown_request(self, request: Any) -> None:
        with self.proxy._lock:
            self.proxy._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Broken connections are what these proxies are for; anything else is a failure of the test."""
        error = sys.exception()
        if error is not None and not isinstance(error, (ConnectionError, TimeoutError)):
            self.proxy._failures.append(error)


class HttpHandler(BaseHTTPRequestHandler):
    """What the proxies that speak HTTP share: a connection to the backend for each of a client's, and answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    upstream: http.client.HTTPConnection

    def finish(self) -> None:
        self.upstream.close()
        super().finish()

    def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """The log of calls says it all."""
