"""What Kubernetes and Prometheus ask over HTTP: ``/healthz``, ``/readyz``, ``/metrics``.

Served by threads, so that an event loop that hangs is answered for by a sentence instead of silence. Knows the checks
only as functions that return what is wrong.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

Check = Callable[[], str | None]
"""What is wrong, as a sentence; None where all is well. Called from any thread, and never waits."""

BEAT = 1.0
"""Seconds between two beats of the event loop."""
LONGEST_LAG = 30.0
"""Seconds without a beat after which the event loop counts as stuck."""


class CannotServe(Exception):
    """The address for probes cannot be listened on; the message says why."""


class Heartbeat:
    """Shows from outside whether the event loop turns."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    async def run(self) -> None:
        while True:
            self._last = self._clock()
            await asyncio.sleep(BEAT)

    @property
    def lag(self) -> float:
        """Seconds by which the next beat is late."""
        return max(0.0, self._clock() - self._last - BEAT)

    def check(self) -> str | None:
        return f"the event loop has been blocked for {self.lag:.0f} s" if self.lag > LONGEST_LAG else None


class Probes:
    """The HTTP server. It listens once made, and serves between :meth:`start` and :meth:`stop`."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        health: Mapping[str, Check],
        readiness: Mapping[str, Check],
        facts: Mapping[str, Callable[[], str]],
        metrics: CollectorRegistry,
    ) -> None:
        """``facts`` are told below the checks and change nothing.

        Raises:
            CannotServe: the address is taken, or not ours.
        """
        self._checks = {"/healthz": health, "/readyz": readiness}
        self._facts = facts
        self._metrics = make_wsgi_app(metrics)
        server = _Server6 if ":" in host else _Server
        try:
            self._server = server((host, port), _Silent)
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise CannotServe(f"probes cannot be served on {host} port {port}: {why}; set --probe-port") from error
        self._server.set_app(self._answer)
        self._thread = Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="probes", daemon=True
        )

    @property
    def port(self) -> int:
        """The port it listens on, also where any free one was asked for."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            answer: Iterable[bytes] = self._metrics(environ, start_response)
            return answer
        if path not in self._checks:
            status, lines = "404 Not Found", ["use /healthz, /readyz or /metrics"]
        else:
            found = {name: check() for name, check in self._checks[path].items()}
            status = "503 Service Unavailable" if any(found.values()) else "200 OK"
            lines = [f"{name}: {wrong or 'ok'}" for name, wrong in found.items()]
            lines += [f"({name}: {tell()})" for name, tell in self._facts.items()]
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [("\n".join(lines) + "\n").encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # The standard library's asks the resolver for the host's full name here, which may take long.
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Probes come every few seconds; they are not worth a line."""
