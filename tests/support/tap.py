"""A relay in front of a server that keeps what clients send, to see whether it can be read on the way."""

from __future__ import annotations

import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Tap(socketserver.ThreadingTCPServer):
    """Listens on a free loopback port; :attr:`sent` is everything that came from clients."""

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        self.backend = (host, port)
        self.sent = bytearray()
        super().__init__(("127.0.0.1", 0), _Relay)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Relay(socketserver.BaseRequestHandler):
    request: socket.socket

    def handle(self) -> None:
        assert isinstance(self.server, Tap)
        with socket.create_connection(self.server.backend, 10) as upstream:
            while True:
                for end in select.select((self.request, upstream), (), ())[0]:
                    try:
                        data = end.recv(65536)
                    except ConnectionError:
                        return
                    if not data:
                        return
                    if end is self.request:
                        self.server.sent += data
                    (upstream if end is self.request else self.request).sendall(data)


@contextmanager
def tapped(host: str, port: int) -> Iterator[Tap]:
    with Tap(host, port) as tap:
        serving = threading.Thread(target=tap.serve_forever, args=(0.02,), daemon=True)
        serving.start()
        yield tap
        tap.shutdown()
        serving.join()
