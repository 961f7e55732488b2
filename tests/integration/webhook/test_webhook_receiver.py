"""The receiver of the documents: what it lets in, and what the operator makes of receivers for two users."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3

from rotated_secrets.api.status import Outcome
from rotated_secrets.databases.webhook import SigningKey
from rotated_secrets.values import Stage
from sandbox.tls import CertificateAuthority
from tests.integration.webhook.conftest import (
    ARN,
    CLIENT,
    CLIENTS,
    EXAMPLE,
    FIRST,
    KEY,
    NAMESPACE,
    Hook,
    answers,
    example,
    passes,
)
from tests.support.webhook_driver import Rotating

DOCUMENT = EXAMPLE.parents[2] / "docs" / "webhook.md"
Send = Callable[..., tuple[int, dict[str, Any]]]


def request(verb: str, secret: str, client: object = CLIENT, namespace: str = NAMESPACE, arn: str = ARN) -> bytes:
    value = {"client_id": client, "client_secret": secret}
    data = {"resource": {"namespace": namespace}, "secret": {"arn": arn}, "value": value}
    return json.dumps({"type": f"rotated_secrets.v1.{verb}", "data": data}).encode()


@pytest.fixture
def send(hook: Hook) -> Send:
    """Anybody's request."""

    def sent(body: bytes, request_id: str = "1", *, ago: int = 0, key: str = KEY, **headers: str) -> Any:
        signed = SigningKey.parse(key.encode()).headers(request_id, int(time.time()) - ago, body)
        return hook.server.answer({**signed, **headers}, body)

    return sent


def test_a_request_with_another_signature_is_refused(send: Send, hook: Hook) -> None:
    body = request("set", "evil")
    assert send(body, key="x" * 32)[0] == 401
    assert send(body, **{"Webhook-Signature": ""})[0] == 401
    assert send(body, **{"Webhook-Id": "2"})[0] == 401
    assert send(body, **{"Webhook-Timestamp": str(int(time.time()) + 1)})[0] == 401
    assert hook.secrets == {CLIENT: FIRST}


def test_an_old_request_is_refused(send: Send, hook: Hook) -> None:
    assert send(request("set", "old"), ago=301)[0] == 401
    assert send(request("set", "early"), ago=-400)[0] == 401
    assert hook.secrets == {CLIENT: FIRST}


def test_a_replayed_request_is_refused(rotating: Rotating, hook: Hook) -> None:
    rotating.rotate()
    hook.secrets[CLIENT] = "changed since"
    for each in hook.received:
        status, said = hook.server.answer(each.headers, each.body)
        assert (status, said["message"]) == (409, "this very request was here before")
    assert hook.secrets == {CLIENT: "changed since"}


def test_a_late_request_does_not_undo_a_newer_one(send: Send, hook: Hook) -> None:
    assert send(request("set", "one"), "1", ago=20) == (200, {"ok": True})
    assert send(request("set", "two"), "2", ago=10) == (200, {"ok": True})
    assert send(request("set", "one"), "1", ago=5)[0] == 409, "done before, and another since"
    assert send(request("set", "none"), "0", ago=15)[0] == 409, "made before the last one was"
    assert send(request("set", "two"), "2") == (200, {"ok": True}), "repeated, because the answer was lost"
    assert hook.secrets == {CLIENT: "two"}


@pytest.mark.parametrize("verb", ["set", "test"])
@pytest.mark.parametrize(
    "whose",
    [{"namespace": "another"}, {"arn": f"{ARN}x"}, {"client": "nobody"}, {"client": ""}],
)
@pytest.mark.parametrize("secret", [FIRST, "stolen", ""])
def test_a_client_is_set_and_tested_for_its_own_secret_alone(
    send: Send, hook: Hook, verb: str, whose: dict[str, str], secret: str
) -> None:
    assert send(request(verb, secret, **whose))[0] == 422
    assert hook.secrets == {CLIENT: FIRST}


def test_who_writes_another_clients_name_into_a_value_is_refused(rotating: Rotating, hook: Hook) -> None:
    hook.belongs_to(NAMESPACE, ARN)
    assert "not this namespace's and secret's to set" in str(rotating.rotate())
    assert hook.secrets == {CLIENT: FIRST} and rotating.delivered is None


@pytest.mark.parametrize("key", [KEY, "0123456789-0123456789-0123456789-", "plain text of 32 bytes or more.."])
def test_a_key_is_read_as_the_operator_reads_it(key: str) -> None:
    with example.Receiver(("127.0.0.1", 0), example.Clients(CLIENTS), key) as receiver:
        body = request("test", FIRST)
        headers = SigningKey.parse(key.encode()).headers("1", int(time.time()), body)
        assert receiver.answer(headers, body) == (200, {"ok": True})


@pytest.mark.parametrize(
    "body", [b"no json", b"[]", b'{"type": "rotated_secrets.v1.test"}', b'{"type": "x", "data": {}}']
)
def test_what_is_no_request_is_refused(send: Send, body: bytes) -> None:
    assert send(body)[0] == 400


def test_the_documents_command_serves(tmp_path: Path, authority: CertificateAuthority) -> None:
    pair = authority.issue()
    for name, content in {
        "tls.crt": pair.certificate,
        "tls.key": pair.key,
        "clients.json": json.dumps(CLIENTS),
        "ca.crt": authority.certificate,
    }.items():
        (tmp_path / name).write_text(content)
    (command,) = re.findall(r"^python examples/webhook/receiver\.py (.*)$", DOCUMENT.read_text(), re.MULTILINE)
    arguments = command.replace("0.0.0.0:8443", "127.0.0.1:0").split()
    with subprocess.Popen(
        [sys.executable, str(EXAMPLE), *arguments],
        cwd=tmp_path,
        env={**os.environ, "WEBHOOK_KEY": KEY},
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stderr is not None
            url = server.stderr.readline().split()[-1]
            body = request("test", FIRST)
            headers = SigningKey.parse(KEY.encode()).headers("1", int(time.time()), body)
            with urllib3.PoolManager(ca_certs=str(tmp_path / "ca.crt")) as pool:
                assert pool.request("POST", url, body=body, headers=headers, timeout=5).json() == {"ok": True}
        finally:
            server.terminate()


def test_the_documents_show_the_examples_heart() -> None:
    (shown,) = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    methods = re.sub(r"\n{3,}", "\n\n", shown)  # a formatter sets them apart as functions there
    assert textwrap.indent(methods, "    ") in EXAMPLE.read_text()


# ---- users


class Service:
    """A service with users and passwords, in the place of the example's clients."""

    def __init__(self, **passwords: str) -> None:
        self.passwords = passwords

    def carried_out(self, request_id: str, sent: int, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        value = request["data"]["value"]
        name, password = value["username"], value["password"]
        if request["type"].endswith(".set"):
            self.passwords[name] = password
            return 200, {"ok": True}
        if self.passwords.get(name) == password:
            return 200, {"ok": True}
        return 200, {"ok": False, "failure": "authentication"}


@pytest.fixture
def service(rotating: Rotating, hook: Hook) -> Service:
    made = Service(app="first-password")
    hook.server.carried_out = made.carried_out
    value = json.dumps({"username": "app", "password": "first-password", "account": "xy12345", "port": "none"})
    rotating.aws.put_secret_value(SecretId=rotating.name, SecretString=value)
    return made


def logs_in(service: Service, value: Any) -> bool:
    return service.passwords[value["username"]] == str(value["password"])


def test_a_single_users_password_is_set_by_itself(rotating: Rotating, hook: Hook, service: Service) -> None:
    rotating.rotation = {"strategy": "SingleUser"}
    for _ in range(3):
        rotating.rotate()
        assert logs_in(service, rotating.value()) and rotating.value()["account"] == "xy12345"
    assert set(service.passwords) == {"app"} and rotating.status.active_user == "app"
    assert rotating.last.outcome is Outcome.SUCCEEDED


def test_two_users_alternate_and_what_is_delivered_always_works(
    rotating: Rotating, hook: Hook, service: Service
) -> None:
    rotating.rotation = {"strategy": "AlternatingUsers", "rights": "Report"}

    def delivered_works(_: object) -> None:
        if rotating.delivered is not None:
            assert logs_in(service, rotating.delivered.value.fields)

    rotating.before = rotating.after = delivered_works
    active = []
    for _ in range(4):
        rotating.rotate()
        active.append(rotating.status.active_user)
    assert active == ["app_clone", "app", "app_clone", "app"]
    assert set(service.passwords) == {"app", "app_clone"}
    data = hook.sets()[0].request["data"]
    assert data["users"] == {"base": "app", "clone": "app_clone"} and data["rights"] == "Report"


def test_a_clone_that_fails_its_first_test_is_left_alone(rotating: Rotating, hook: Hook, service: Service) -> None:
    rotating.rotation = {"strategy": "AlternatingUsers"}
    hook.faults = [passes, passes, answers(200, {"ok": False, "failure": "authentication"})]
    rotating.rotate()
    assert rotating.last.outcome is Outcome.ROLLED_BACK and rotating.stages == {Stage.CURRENT, Stage.PREVIOUS}
    assert logs_in(service, rotating.value()) and rotating.value()["username"] == "app"
    rotating.later += timedelta(hours=1)
    rotating.look()
    assert [entry.outcome for entry in rotating.status.history] == [Outcome.SUCCEEDED, Outcome.ROLLED_BACK]
    assert rotating.value()["username"] == "app_clone"
    assert set(service.passwords) == {"app", "app_clone"}
