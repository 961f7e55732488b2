"""A proxy in front of the store: it names each call by its operation, and may answer with errors."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from sandbox.proxy import BACKEND_SECONDS, NOT_PASSED_ON, Call, HttpHandler, Proxy, Server

CALLER = re.compile(r"Credential=([^/]+)/")


@dataclass(eq=False)
class _Fault:
    code: str
    message: str
    status: int
    name: str | None
    subject: str | None
    left: int | None


class StoreProxy(Proxy):
    """In front of an AWS endpoint: a call is one HTTP request, its name the operation."""

    def __init__(self, endpoint_url: str) -> None:
        url = urlsplit(endpoint_url)
        assert url.hostname and url.port
        super().__init__((url.hostname, url.port), _StoreHandler)
        self.endpoint_url = f"http://{self.host}:{self.port}"
        self._faults: list[_Fault] = []

    def answer_with(
        self,
        code: str,
        message: str = "",
        *,
        status: int = 400,
        name: str | None = None,
        subject: str | None = None,
        times: int | None = None,
    ) -> None:
        """Answer JSON operations with an error instead of passing them on: of this name and secret or of any.

        Lasts for so many calls, or until :meth:`clear`.
        """
        with self._lock:
            self._faults.append(_Fault(code, message, status, name, subject, times))

    def clear(self) -> None:
        super().clear()
        with self._lock:
            self._faults.clear()

    def fault(self, call: Call) -> tuple[int, bytes] | None:
        """The error this call is to be answered with, if one is."""
        with self._lock:
            for fault in self._faults:
                if fault.left != 0 and fault.name in (None, call.name) and fault.subject in (None, call.subject):
                    if fault.left is not None:
                        fault.left -= 1
                    return fault.status, json.dumps({"__type": fault.code, "message": fault.message}).encode()
        return None


class _StoreHandler(HttpHandler):
    def setup(self) -> None:
        super().setup()
        assert isinstance(self.server, Server)
        assert isinstance(self.server.proxy, StoreProxy)
        self.proxy = self.server.proxy
        self.upstream = http.client.HTTPConnection(*self.proxy.backend, timeout=BACKEND_SECONDS)

    def do_POST(self) -> None:  # noqa: N802 - the base class's name
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        caller = CALLER.search(self.headers.get("Authorization", ""))
        call = self.proxy.seen(*self._name(body), caller=caller[1] if caller else "")
        headers = {"Content-Type": "application/x-amz-json-1.1"}
        fault = self.proxy.fault(call)
        if fault:
            status, answer = fault
        else:
            self.upstream.request("POST", self.path, body, dict(self.headers.items()))
            response = self.upstream.getresponse()
            status, answer = response.status, response.read()
            headers = {name: value for name, value in response.getheaders() if name.lower() not in NOT_PASSED_ON}
        self.proxy.answered(call)
        self.answer(status, headers, answer)

    def _name(self, body: bytes) -> tuple[str, str]:
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        if not operation:
            return parse_qs(body.decode()).get("Action", ["unknown"])[0], ""
        parameters = json.loads(body or b"{}")
        return operation, str(parameters.get("SecretId") or parameters.get("Name") or "")


@contextmanager
def store_proxy(endpoint_url: str) -> Iterator[StoreProxy]:
    """A proxy in front of this endpoint, on a free loopback port."""
    proxy = StoreProxy(endpoint_url)
    with proxy.running():
        yield proxy
