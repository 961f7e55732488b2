"""A proxy in front of a database server: it sees connections, and what is sent on them."""

from __future__ import annotations

import select
import socket
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.proxy import BACKEND_SECONDS, Call, Proxy, Server

CONNECT = "connect"
"""The database's first kind of call: a connection, which is an attempt to log in."""
SEND = "send"
"""Its second: what a client sends before the server speaks again. TLS hides more, but statements come one by one."""


class DatabaseProxy(Proxy):
    """In front of a database server: bytes go through untouched, TLS and all. Calls are CONNECT and SEND."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__((host, port), _TcpHandler)


class _TcpHandler(socketserver.BaseRequestHandler):
    request: socket.socket

    def handle(self) -> None:
        assert isinstance(self.server, Server)
        proxy = self.server.proxy
        connected = proxy.seen(CONNECT, client=self.client_address[1])
        with socket.create_connection(proxy.backend, BACKEND_SECONDS) as upstream:
            upstream.settimeout(None)
            for end in (upstream, self.request):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            proxy.answered(connected)
            self._relay(proxy, upstream)

    def _relay(self, proxy: Proxy, upstream: socket.socket) -> None:
        asked: Call | None = None
        while True:
            readable, _, _ = select.select((self.request, upstream), (), ())
            if self.request in readable:
                data = self.request.recv(65536)
                if not data:
                    return
                if asked is None:
                    asked = proxy.seen(SEND, client=self.client_address[1])
                upstream.sendall(data)
            if upstream in readable:
                data = upstream.recv(65536)
                if not data:
                    return
                if asked is not None:
                    proxy.answered(asked)
                    asked = None
                self.request.sendall(data)


@contextmanager
def database_proxy(host: str, port: int) -> Iterator[DatabaseProxy]:
    """A proxy in front of this server, on a free loopback port."""
    proxy = DatabaseProxy(host, port)
    with proxy.running():
        yield proxy
