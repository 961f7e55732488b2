"""The receiver of the documents, on loopback with TLS, with faults that a test can ask for; and a secret it serves."""

from __future__ import annotations

import importlib.util
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from rotated_secrets.secretstores.aws import AwsSettings, AwsStores
from rotated_secrets.values import SecretId
from sandbox.secretsmanager import SecretsManager
from sandbox.tls import CertificateAuthority
from tests.support.webhook_driver import Rotating

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "webhook" / "receiver.py"
KEY = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
CLIENT = "partner-portal"
FIRST = "the-first-secret-of-the-client"
NAMESPACE = "shop"
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/partner-AbCdEf"
CLIENTS = {CLIENT: {"secret": FIRST, "namespace": NAMESPACE, "arn": ARN}}


def load_example() -> Any:
    spec = importlib.util.spec_from_file_location("example_receiver", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example = load_example()


@dataclass(frozen=True)
class Received:
    """One request, as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["Webhook-Id"]

    @property
    def request(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def verb(self) -> str:
        verb: str = self.request["type"].rpartition(".")[2]
        return verb


Fault = Callable[[Any, Received], bool]
"""Answers in the receiver's place, on its handler; False lets the receiver answer."""


@dataclass
class Hook:
    """The running receiver, what it was asked, and what it is to do wrong."""

    url: str
    ca_pem: str
    server: Any
    received: list[Received] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    """Each for one request, in their order."""

    @property
    def secrets(self) -> dict[str, str]:
        secrets: dict[str, str] = self.server.clients.secrets
        return secrets

    def belongs_to(self, namespace: str, arn: str) -> None:
        """From now on the client is this secret's."""
        self.server.clients.owners[CLIENT] = namespace, arn

    @property
    def verbs(self) -> list[str]:
        return [each.verb for each in self.received]

    def sets(self) -> list[Received]:
        return [each for each in self.received if each.verb == "set"]


def answers(status: int, content: Any = None, **headers: str) -> Fault:
    """A fault: this answer instead of the receiver's, which is not asked."""

    def answer(handler: BaseHTTPRequestHandler, received: Received) -> bool:
        body = content if isinstance(content, bytes) else json.dumps(content).encode() if content is not None else b""
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)
        return True

    return answer


def passes(handler: BaseHTTPRequestHandler, received: Received) -> bool:
    """No fault."""
    return False


def drips(handler: BaseHTTPRequestHandler, received: Received) -> bool:
    """A byte now and then, each in time for a socket's timeout, and never an end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n")
    try:
        for _ in range(200):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            if handler.server.ended.wait(0.05):  # type: ignore[attr-defined]
                break
    except OSError:
        pass
    handler.close_connection = True
    return True


def loses_the_answer(handler: Any, received: Received) -> bool:
    """The receiver does what it was asked, and the connection ends before it can say so."""
    handler.server.answer(handler.headers, received.body)
    handler.connection.shutdown(2)
    handler.close_connection = True
    return True


def make_hook(directory: Path, authority: CertificateAuthority, key: str = KEY) -> Hook:
    pair = authority.issue()
    chain = directory / "receiver.pem"
    chain.write_text(pair.certificate + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    server = example.Receiver(("127.0.0.1", 0), example.Clients(CLIENTS), key, context)
    server.daemon_threads, server.ended = True, threading.Event()
    hook = Hook(f"https://localhost:{server.server_port}/hooks/oauth?tenant=7", authority.certificate, server)

    class Faulty(example.Handler):  # type: ignore[misc, name-defined]
        def do_POST(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received = Received(dict(self.headers), body)
            assert self.path == "/hooks/oauth?tenant=7"
            hook.received.append(received)
            fault = hook.faults.pop(0) if hook.faults else passes
            if not fault(self, received):
                answers(*server.answer(self.headers, body))(self, received)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            return

    server.RequestHandlerClass = Faulty
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return hook


@pytest.fixture(scope="package")
def authority() -> CertificateAuthority:
    return CertificateAuthority.create()


@pytest.fixture
def hook(tmp_path: Path, authority: CertificateAuthority) -> Iterator[Hook]:
    made = make_hook(tmp_path, authority)
    yield made
    made.server.ended.set()
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def rotating(running_store: SecretsManager, hook: Hook) -> Rotating:
    """The client's secret in a store of the test's own."""
    account = running_store.empty_account()
    session = account.session()
    settings = AwsSettings(region=account.region, endpoint_url=account.endpoint_url)
    store = AwsStores(settings, lambda operation, outcome: None, session).at()
    value = {"client_id": CLIENT, "client_secret": FIRST, "engine": "keycloak", "port": "any"}
    aws = account.client()
    hook.belongs_to(NAMESPACE, aws.create_secret(Name="shop/partner", SecretString=json.dumps(value))["ARN"])
    rotation = {"strategy": "RandomValue", "random": {"keys": ["client_secret"], "prefix": "cs_"}}
    return Rotating(store, aws, SecretId("shop/partner"), hook.url, KEY, hook.ca_pem, rotation)


def wait_a_second() -> None:
    """Until a timestamp of the next second is due: a receiver takes a request of the same second for a replay."""
    second = int(time.time())
    while int(time.time()) == second:
        time.sleep(0.02)
