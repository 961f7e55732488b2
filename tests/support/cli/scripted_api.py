"""An API server that gives the answers of a test in their order, for errors that a real one rarely has."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubernetes import client

from rotated_secrets.cli.kube.client import RotatedSecretClient
from rotated_secrets.cli.kube.kubeconfig import ClusterContext


@dataclass(frozen=True)
class Answer:
    """``pieces`` are sent one after the other, as in a watch. Without any, ``body`` is sent as a whole."""

    status: int = 200
    body: Any = None
    pieces: Sequence[bytes] = ()
    cut: bool = False
    """Whether the connection is closed in the middle."""


def refusal(code: int, message: str = "no", **details: Any) -> Answer:
    """A refusal as Kubernetes sends it: a Status."""
    return Answer(code, {"kind": "Status", "code": code, "message": message, "details": details})


def list_of(*objects: dict[str, Any], version: str = "10", continue_token: str = "") -> Answer:
    return Answer(body={"metadata": {"resourceVersion": version, "continue": continue_token}, "items": objects})


def events(*found: tuple[str, dict[str, Any]], cut: bool = False) -> Answer:
    lines = b"".join(json.dumps({"type": kind, "object": obj}).encode() + b"\n" for kind, obj in found)
    # Split within a line, as a network does.
    return Answer(pieces=[lines[: len(lines) // 3], lines[len(lines) // 3 :]], cut=cut)


@dataclass
class ScriptedApi:
    """Records requests, and gives ``answers`` in their order; when none is left, 503."""

    answers: list[Answer]
    asked: list[str] = field(default_factory=list)
    """Paths of the requests, with their queries except the limit."""
    bodies: list[Any] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    url: str = ""

    def resources(self, namespace: str = "shop", timeout: float = 5) -> RotatedSecretClient:
        configuration = client.Configuration()
        configuration.host = self.url
        return RotatedSecretClient(ClusterContext(configuration, "test", "default"), namespace, timeout=timeout)


@contextmanager
def scripted_api(*answers: Answer) -> Iterator[ScriptedApi]:
    api = ScriptedApi(list(answers))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            split = urlsplit(self.path)
            query = {name: found[0] for name, found in parse_qs(split.query).items() if name != "limit"}
            api.asked.append(split.path + (f" {query}" if query else ""))
            api.tokens.append(self.headers.get("Authorization") or "")
            length = int(self.headers.get("Content-Length") or 0)
            if length:
                api.bodies.append(json.loads(self.rfile.read(length)))
            self._answer(api.answers.pop(0) if api.answers else refusal(503, "the script is over"))

        do_PATCH = do_GET  # noqa: N815

        def _answer(self, answer: Answer) -> None:
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            body = json.dumps(answer.body).encode()
            if answer.pieces:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            for piece in answer.pieces:
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.write(b"" if answer.cut else b"0\r\n\r\n" if answer.pieces else body)
            if answer.cut:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
