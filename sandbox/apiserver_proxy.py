"""A proxy in front of the API server, one for each operator, so that each can be told from the others and be cut off.

It speaks plain HTTP to the operator on loopback, and TLS to the API server, to which it hands on the operator's token:
so a test sees each request's verb and kind, and no test needs a certificate for another address.
"""

from __future__ import annotations

import base64
import http.client
import json
import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import yaml

from sandbox.kubernetes.kubeconfig import write_kubeconfig
from sandbox.proxy import BACKEND_SECONDS, NOT_PASSED_ON, HttpHandler, Proxy, Server

WATCH = "WATCH"
_ENDS_WITH_THE_HOP = NOT_PASSED_ON | {"accept-encoding", "host"}


class ApiServerProxy(Proxy):
    """A call is one request; its name the verb and the resource (``PATCH rotatedsecrets/status``)."""

    def __init__(self, kubeconfig: Path) -> None:
        """``kubeconfig`` is the operator's own way in, by a token."""
        body = yaml.safe_load(kubeconfig.read_text())
        cluster = body["clusters"][0]["cluster"]
        url = urlsplit(cluster["server"])
        assert url.hostname
        assert url.port
        super().__init__((url.hostname, url.port), _ApiHandler)
        self._user = body["users"][0]["user"]
        self.tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        self._refusals: list[tuple[int, str]] = []

    def write_kubeconfig(self, path: Path) -> Path:
        """By which an operator comes here."""
        write_kubeconfig(path, f"http://{self.host}:{self.port}", b"", self._user)
        return path

    @contextmanager
    def refusing(self, status: int, name: str) -> Iterator[None]:
        """Requests whose name ends so are answered with this status, and a wish to be left alone for an hour."""
        refusal = (status, name)
        self._refusals.append(refusal)
        try:
            yield
        finally:
            self._refusals.remove(refusal)

    def refusal(self, name: str) -> int | None:
        return next((status for status, refused in tuple(self._refusals) if name.endswith(refused)), None)


class _ApiHandler(HttpHandler):
    def setup(self) -> None:
        super().setup()
        assert isinstance(self.server, Server)
        assert isinstance(self.server.proxy, ApiServerProxy)
        self.proxy = self.server.proxy
        host, port = self.proxy.backend
        self.upstream = http.client.HTTPSConnection(host, port, timeout=BACKEND_SECONDS, context=self.proxy.tls)

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name, subject = _named(self.command, self.path)
        call = self.proxy.seen(name, subject, self.client_address[1])
        kept = {key: value for key, value in self.headers.items() if key.lower() not in _ENDS_WITH_THE_HOP}
        refused = self.proxy.refusal(name)
        if refused is not None:
            answer = json.dumps({"kind": "Status", "code": refused, "message": "not now"}).encode()
            self.answer(refused, {"Content-Type": "application/json", "Retry-After": "3600"}, answer)
        elif name.startswith(WATCH):
            self._relay(kept)
        else:
            response, answer = self._ask(body, kept)
            self.proxy.answered(call)
            headers = {key: value for key, value in response.getheaders() if key.lower() not in NOT_PASSED_ON}
            self.answer(response.status, headers, answer)

    def _ask(self, body: bytes, headers: dict[str, str]) -> tuple[http.client.HTTPResponse, bytes]:
        if self.upstream.sock is not None and select.select((self.upstream.sock,), (), (), 0)[0]:
            self.upstream.close()  # the API server has closed it: nobody has said anything for long
        try:
            self.upstream.request(self.command, self.path, body or None, headers)
            response = self.upstream.getresponse()
            return response, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionError("the API server is gone") from error

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815 - the base class's names

    def _relay(self, headers: dict[str, str]) -> None:
        """A watch: bytes as they come, until either end has had enough."""
        self.close_connection = True
        host, port = self.proxy.backend
        with (
            suppress(ssl.SSLError),
            socket.create_connection((host, port), BACKEND_SECONDS) as plain,
            self.proxy.tls.wrap_socket(plain, server_hostname=host) as upstream,
        ):
            lines = [f"GET {self.path} HTTP/1.1", f"Host: {host}:{port}", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            upstream.sendall("\r\n".join([*lines, "", ""]).encode())
            upstream.settimeout(None)
            while True:
                if not upstream.pending():
                    readable, _, _ = select.select((self.connection, upstream), (), ())
                    if self.connection in readable:
                        return
                data = upstream.recv(65536)
                if not data:
                    return
                self.proxy.wait_until_it_flows()
                self.connection.sendall(data)


def _named(method: str, path: str) -> tuple[str, str]:
    """Verb and resource, and the object's name; ``path`` is one of the Kubernetes API's."""
    url = urlsplit(path)
    parts = url.path.strip("/").split("/")
    rest = parts[2 if parts[0] == "api" else 3 :]
    if len(rest) > 2 and rest[0] == "namespaces":
        rest = rest[2:]
    resource, name, subresource = [*rest, "", "", ""][:3]
    verb = WATCH if parse_qs(url.query).get("watch", ["false"])[0] in ("true", "1") else method
    return f"{verb} {resource}{'/' if subresource else ''}{subresource}", name


@contextmanager
def apiserver_proxy(kubeconfig: Path) -> Iterator[ApiServerProxy]:
    """A proxy in front of the API server that this file names, on a free loopback port."""
    proxy = ApiServerProxy(kubeconfig)
    with proxy.running():
        yield proxy
