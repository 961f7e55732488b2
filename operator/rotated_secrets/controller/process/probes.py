"""The HTTP server for Kubernetes and Prometheus: ``/healthz``, ``/readyz``, ``/metrics``.

It runs in threads, so that it still answers, and says what is wrong, when the event loop hangs. Knows the checks only
as functions that return what is wrong.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from socketserver import TCPServer, ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

Check = Callable[[], str | None]
"""Returns what is wrong, or None if nothing is. Called from any thread, and never waits."""

BEAT = 1.0
"""Seconds between two beats of the event loop."""
LONGEST_LAG = 30.0
"""Seconds without a beat after which the event loop counts as stuck."""


class CannotServe(Exception):
    """The server cannot listen on its address; the message says why."""


class Heartbeat:
    """Shows other threads whether the event loop runs."""

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
    """The HTTP server. It listens when it is made, and answers between :meth:`start` and :meth:`stop`."""

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
        """``facts`` are shown below the checks and do not affect the result.

        Raises:
            CannotServe: the address is in use, or does not exist on this machine.
        """
        self._checks = {"/healthz": health, "/readyz": readiness}
        self._facts = facts
        self._metrics = make_wsgi_app(metrics)
        server = _Server6 if ":" in host else _Server
        try:
            self._server = server((host, port), _Silent)
        except OSError as error:
            cause = error.strerror or type(error).__name__
            raise CannotServe(f"probes cannot be served on {host} port {port}: {cause}; set --probe-port") from error
        self._server.set_app(self._answer)
        self._thread = Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="probes", daemon=True
        )

    @property
    def port(self) -> int:
        """The port that it listens on, also if the setting was 0."""
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
            lines = [f"{name}: {problem or 'ok'}" for name, problem in found.items()]
            lines += [f"({name}: {fact()})" for name, fact in self._facts.items()]
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [("\n".join(lines) + "\n").encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # Without HTTPServer's own method, which looks up the host's full name: that may take long. TCPServer's sets
        # SO_REUSEADDR: a container that restarts in its pod binds while old connections are in TIME_WAIT.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing: probes come every few seconds."""
