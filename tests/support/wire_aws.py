"""The AWS in memory, as the SDK reaches it: Secrets Manager, STS and an agent for credentials by HTTP, with faults."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs

import pytest

from rotated_secrets.secretstores.base import SecretNotFound, StoreRefused, VersionExists
from rotated_secrets.values import Arn, SecretId, SecretValue, Stage, VersionId
from tests.support.fake_aws import HOME, REGION, FakeAws, FakeStore

AGENT: Final = "GET credentials"
"""Operation of a request to the agent."""
EXPIRES: Final = "2126-01-01T00:00:00Z"
JSON: Final = "application/x-amz-json-1.1"
_CALLER: Final = re.compile(r"Credential=([^/]+)/")

Reply = tuple[int, str, bytes]
"""Status, content type and body."""
Fault = Callable[[str, Callable[[], Reply]], Reply | None]
"""Answers an operation, of which the second argument is what would be done; None closes the connection."""


@dataclass(frozen=True)
class Call:
    """One request that arrived."""

    operation: str
    caller: str
    """The access key that it was signed with."""


@dataclass
class WireAws:
    """An AWS at one address."""

    aws: FakeAws
    url: str = ""
    calls: list[Call] = field(default_factory=list)
    faults: dict[str, tuple[Fault, int]] = field(default_factory=dict)
    """By operation, with how many times it is answered so."""
    keys: Iterator[int] = field(default_factory=lambda: iter(range(1, 10_000)))

    def fail(self, operation: str, fault: Fault, times: int = 1_000_000) -> None:
        self.faults[operation] = (fault, times)

    def operations(self) -> list[str]:
        return [call.operation for call in self.calls]

    def reply(self, operation: str, asked: dict[str, Any]) -> Reply | None:
        def do() -> Reply:
            return self._done(operation, asked)

        fault, left = self.faults.get(operation, (None, 0))
        if fault is None or not left:
            return do()
        self.faults[operation] = (fault, left - 1)
        return fault(operation, do)

    def _done(self, operation: str, asked: dict[str, Any]) -> Reply:
        if operation == AGENT:
            return 200, "application/json", json.dumps(self._credentials("ASIAAGENT", "Token")).encode()
        if operation == "GetCallerIdentity":
            return _xml(operation, f"<Account>{HOME}</Account>")
        if operation.startswith("AssumeRole"):
            given = self._credentials("ASIAROLE", "SessionToken")
            inner = "".join(f"<{name}>{value}</{name}>" for name, value in given.items())
            return _xml(operation, f"<Credentials>{inner}</Credentials>")
        try:
            answer = _asked(FakeStore(self.aws, HOME, REGION, "wire"), operation, asked)
        except SecretNotFound:
            return _refusal("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
        except VersionExists:
            return _refusal("ResourceExistsException", "")
        except StoreRefused as refusal:
            return _refusal("InvalidParameterException", str(refusal))
        return 200, JSON, json.dumps(answer).encode()

    def _credentials(self, key: str, token: str) -> dict[str, str]:
        key = f"{key}{next(self.keys)}"
        return {"AccessKeyId": key, "SecretAccessKey": "s" * 20, token: "t" * 20, "Expiration": EXPIRES}


def _refusal(code: str, message: str, status: int = 400) -> Reply:
    return status, JSON, json.dumps({"__type": code, "message": message}).encode()


def _xml(operation: str, inner: str) -> Reply:
    body = f"<{operation}Response><{operation}Result>{inner}</{operation}Result></{operation}Response>"
    return 200, "text/xml", body.encode()


def _asked(store: FakeStore, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
    secret = SecretId(asked.get("SecretId", ""))
    stage = Stage(asked["VersionStage"]) if "VersionStage" in asked else None
    match operation:
        case "DescribeSecret":
            found = store.describe(secret)
            stages = {version: sorted(labels) for version, labels in found.stages.items()}
            return {
                "ARN": found.arn,
                "Name": found.name,
                "VersionIdsToStages": stages,
                "RotationEnabled": found.rotation_enabled,
            }
        case "GetSecretValue":
            version = VersionId(asked["VersionId"]) if "VersionId" in asked else None
            got = store.get(secret, stage=stage, version_id=version)
            return {
                "ARN": got.arn,
                "VersionId": got.version_id,
                "CreatedDate": got.created_at.timestamp(),
                "SecretString": got.value.text.reveal(),
            }
        case "PutSecretValue":
            value, version = SecretValue.parse(asked["SecretString"]), VersionId(asked["ClientRequestToken"])
            before = store.aws.secrets[Arn(secret)].versions.get(version)
            if before is None or before.value.text.reveal() != asked["SecretString"]:
                store.put_pending(Arn(secret), version, value)
            return {"ARN": secret, "VersionId": version}
        case "UpdateSecretVersionStage":
            to, away = asked.get("MoveToVersionId"), asked.get("RemoveFromVersionId")
            store.move_stage(
                Arn(secret),
                stage or Stage.CURRENT,
                to=VersionId(to) if to else None,
                remove_from=VersionId(away) if away else None,
            )
            return {"ARN": secret}
        case "RotateSecret":
            store.rotate(Arn(secret), VersionId(asked["ClientRequestToken"]))
            return {"ARN": secret}
        case "ListSecrets":
            rows = [
                {
                    "ARN": row.arn,
                    "Name": row.name,
                    "SecretVersionsToStages": {v: sorted(s) for v, s in row.stages.items()},
                }
                for row in store.list_summaries()
            ]
            return {"SecretList": rows}
    raise AssertionError(f"nothing is asked of {operation}")


# ---- faults


def error(code: str, message: str = "", status: int = 400) -> Fault:
    """An error as AWS writes it."""

    def answer(operation: str, do: Callable[[], Reply]) -> Reply:
        if operation == AGENT:
            return status, "text/plain", f"{code}: {message}".encode()
        if operation.startswith("AssumeRole") or operation == "GetCallerIdentity":
            body = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
            return status, "text/xml", body.encode()
        return _refusal(code, message, status)

    return answer


def page(status: int, body: bytes = b"<html>Sign in</html>", content_type: str = "text/html") -> Fault:
    """What a proxy answers."""
    return lambda operation, do: (status, content_type, body)


def dropped(operation: str, do: Callable[[], Reply]) -> Reply | None:
    """The connection is closed, and nothing is done."""
    return None


def lost(operation: str, do: Callable[[], Reply]) -> Reply | None:
    """It is done, and the answer does not arrive."""
    do()
    return None


# ---- the server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else the body waits for the client's delayed ACK of the head, 40 ms
    wire: WireAws

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        operation = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        asked = json.loads(body) if operation else {key: values[0] for key, values in parse_qs(body.decode()).items()}
        self._answer(operation or asked["Action"], asked)

    def do_GET(self) -> None:
        self._answer(AGENT, {})

    def _answer(self, operation: str, asked: dict[str, Any]) -> None:
        caller = _CALLER.search(self.headers.get("Authorization", ""))
        self.wire.calls.append(Call(operation, caller[1] if caller else ""))
        reply = self.wire.reply(operation, asked)
        if reply is None:
            self.close_connection = True
            return
        status, content_type, body = reply
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """The calls say it all."""


@contextlib.contextmanager
def wire_aws(aws: FakeAws | None = None) -> Iterator[WireAws]:
    """An AWS at a free loopback port."""
    wire = WireAws(aws or FakeAws())
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"wire": wire}))
    server.daemon_threads = True
    wire.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield wire
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def without_aws_settings(monkeypatch: pytest.MonkeyPatch, wire: WireAws) -> None:
    """Have the SDK find no credentials, and ask this AWS."""
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_ENDPOINT_URL", wire.url)
