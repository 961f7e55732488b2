"""AWS behind a certificate of a private authority, which the SDK's variable AWS_CA_BUNDLE names."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rotated_secrets.secretstores.aws import AwsSettings, AwsStores
from rotated_secrets.secretstores.base import StoreUnavailable
from rotated_secrets.values import SecretId
from sandbox.servers import free_port
from sandbox.tls import CertificateAuthority

REGION = "eu-west-1"
ARN = f"arn:aws:secretsmanager:{REGION}:111122223333:secret:shop/orders-AbCdEf"


class _Described(BaseHTTPRequestHandler):
    """Answers each request as AWS answers DescribeSecret."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"ARN": ARN, "Name": "shop/orders", "VersionIdsToStages": {}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("x-amzn-RequestId", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def authority() -> CertificateAuthority:
    return CertificateAuthority.create()


@pytest.fixture
def endpoint(authority: CertificateAuthority, tmp_path: Path) -> Iterator[str]:
    pair = authority.issue("localhost")
    for name, text in (("certificate", pair.certificate), ("key", pair.key)):
        (tmp_path / name).write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Described) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"https://localhost:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_the_authorities_of_aws_ca_bundle_are_trusted_for_aws(
    authority: CertificateAuthority, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    bundle = tmp_path / "ca.pem"
    bundle.write_text(authority.certificate)
    settings = AwsSettings(region=REGION, endpoint_url=endpoint, read_timeout=5, attempts=1)
    with pytest.raises(StoreUnavailable):
        AwsStores(settings).at().describe(SecretId("shop/orders"))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    assert AwsStores(settings).at().describe(SecretId("shop/orders")).arn == ARN


class _Refuses(BaseHTTPRequestHandler):
    """A proxy that wants a login."""

    def do_CONNECT(self) -> None:
        self.send_error(407)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def refusing_proxy() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refuses) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def told(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """What is told where AWS cannot be reached with these variables."""
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    keys = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "key"}
    for name, value in (keys | environment).items():
        monkeypatch.setenv(name, value)
    settings = AwsSettings(region=REGION, endpoint_url="https://localhost:1", read_timeout=5, attempts=1)
    with pytest.raises(StoreUnavailable) as caught:
        AwsStores(settings).at().describe(SecretId("shop/orders"))
    return str(caught.value)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_a_proxy_that_refuses_is_named_without_its_password(
    variable: str, refusing_proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = told(monkeypatch, **{variable: f"http://me:hidden@{refusing_proxy}"})
    assert f"through the proxy {refusing_proxy}: 407 " in message
    assert "hidden" not in message


def test_a_proxy_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = f"127.0.0.1:{free_port()}"
    assert f"through the proxy {proxy}: [Errno 111] Connection refused; check HTTPS_PROXY" in told(
        monkeypatch, HTTPS_PROXY=proxy
    )


def test_a_proxy_that_is_no_url_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    message = told(monkeypatch, HTTPS_PROXY="http://me:hidden@proxy:99999")
    assert message.endswith("is no URL; in HTTPS_PROXY, write http://HOST:PORT")


def test_authorities_that_cannot_be_read_are_told_with_their_variable(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").touch()
    for file in (tmp_path / "none", tmp_path / "empty"):
        monkeypatch.setenv("AWS_CA_BUNDLE", str(file))
        settings = AwsSettings(region=REGION, endpoint_url=endpoint, read_timeout=5, attempts=1)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
        with pytest.raises(StoreUnavailable, match="the file that AWS_CA_BUNDLE names"):
            AwsStores(settings).at().describe(SecretId("shop/orders"))
