"""A password in the wrong key of a secret value is shown nowhere: not in status, Events, logs, metrics or annotations.

Runs whole looks and rotations; only AWS, Kubernetes and the database servers are fakes.
"""

from __future__ import annotations

import contextlib
import json
import logging
from typing import Any

import pytest
from prometheus_client import generate_latest

from rotated_secrets.api.value_keys import KNOWN_KEYS
from rotated_secrets.controller.work.queue import RetryLater
from rotated_secrets.databases import hosts, registry
from rotated_secrets.observability.logs import JsonFormatter
from rotated_secrets.rotation.strategies import successor
from rotated_secrets.secretstores.base import StoredVersion
from rotated_secrets.values import SecretValue, Stage, VersionId
from tests.support.fake_aws import CREATED
from tests.support.fake_operator import SPEC, FakeOperator, changed, fake_operator, with_admin

CANARIES = {
    "a word": "hunter2canary77",
    "a DNS name": "hunter2.canary77.x",
    "digits": "3232235777",
    "signs": "hunter2/c@nary 77",
    "short": "s3cr3t",
    "the start of an ARN": "arn:aws:iam::1:hunter2canary77",
    "long": "hunter2canary77" * 30,
    "Markup": "HUNTER2<canary>%s{0}\n77",
}
UNKNOWN = "notes"
PLACES = (*KNOWN_KEYS, UNKNOWN, "nested", "the name of a key", "a list")
STRATEGIES = ("SingleUser", "AlternatingUsers", "DualPassword", "RandomValue", "External")
ENGINES = (*sorted(registry.BUILT_IN), "fake")


@pytest.fixture(autouse=True)
def resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name resolves, and a number is an address, as for glibc."""

    def lookup(name: str) -> tuple[str, ...]:
        if name.isdigit():
            return ("192.0.2.7",)
        raise OSError(name)

    monkeypatch.setattr("rotated_secrets.controller.look.database_access.look_up", lookup)
    monkeypatch.setattr(hosts, "look_up", lookup)


def with_password_in(value: dict[str, Any], place: str, canary: str) -> dict[str, Any]:
    if place == "nested":
        return value | {"more": {"deep": [{"er": canary}]}}
    if place == "the name of a key":
        return value | {canary: "x"}
    if place == "a list":
        return value | {"nodes": [canary]}
    return value | {place: canary}


def shown(operator: FakeOperator, caplog: pytest.LogCaptureFixture) -> str:
    """Everything that people and machines see of the operator, but for the data of the target Secret."""
    formatter = JsonFormatter()
    secrets = [obj["metadata"] for path, obj in operator.cluster.objects.items() if "/secrets/" in path]
    return "\n".join(
        [json.dumps(operator.cluster.objects[path]) for path in operator.cluster.objects if "/rotatedsecrets/" in path]
        + [json.dumps(secrets)]
        + [f"{reason}: {message}" for reason, message in operator.events.recorded]
        + [formatter.format(record) for record in caplog.records]
        + [record.getMessage() for record in caplog.records]
        + [generate_latest(operator.services.metrics.registry).decode()]
    )


def look(operator: FakeOperator) -> list[str]:
    """Look a few times, also because a rotation is asked for; returns what the queue would log."""
    said = []
    for request in ("", "now"):
        if request:
            operator.ask(request)
        for _ in range(3):
            try:
                operator.reconcile()
            except RetryLater as error:
                said += [str(error), str(error.__cause__ or "")]
    return said


def check(operator: FakeOperator, caplog: pytest.LogCaptureFixture, canary: str) -> None:
    said = "\n".join([*look(operator), shown(operator, caplog)])
    secret = canary.rpartition(":")[2]
    pieces = {secret[start : start + 8] for start in range(max(1, len(secret) - 7))}
    lines = [line for line in said.splitlines() if any(each.lower() in line.lower() for each in pieces)]
    assert lines == []


def spec_of(strategy: str) -> dict[str, Any]:
    rotation: dict[str, Any] = {"strategy": strategy}
    if strategy == "RandomValue":
        rotation |= {"adminSecretId": None, "random": {"keys": ["password"]}}
    if strategy == "External":
        rotation |= {"adminSecretId": None}
    spec = changed(SPEC, rotation=rotation)
    spec["rotation"] = {key: value for key, value in spec["rotation"].items() if value is not None}
    return spec


@pytest.mark.parametrize(
    ("strategy", "kind"),
    [*(("SingleUser", kind) for kind in CANARIES), *((strategy, "a word") for strategy in STRATEGIES[1:])],
)
@pytest.mark.parametrize("place", [place for place in PLACES if place != "password"])
def test_password_in_the_wrong_key_of_the_value_is_not_shown(
    operator: FakeOperator, caplog: pytest.LogCaptureFixture, place: str, strategy: str, kind: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with_admin(operator)
    value = operator.credential() if strategy != "RandomValue" else {"password": "first"}
    operator.aws.find("shop/orders").put(with_password_in(value, place, CANARIES[kind]), "broken")
    operator.apply(spec_of(strategy))
    check(operator, caplog, CANARIES[kind])


@pytest.mark.parametrize(
    ("strategy", "kind"),
    [*(("SingleUser", kind) for kind in CANARIES), ("AlternatingUsers", "a word"), ("DualPassword", "a word")],
)
@pytest.mark.parametrize("place", PLACES)
def test_password_in_the_wrong_key_of_the_admin_secret_is_not_shown(
    operator: FakeOperator, caplog: pytest.LogCaptureFixture, place: str, strategy: str, kind: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with_admin(operator)
    admin = with_password_in(operator.credential("admin", "of-the-admin"), place, CANARIES[kind])
    operator.aws.find("shop/admin/orders").put(admin, "broken")
    operator.apply(spec_of(strategy))
    check(operator, caplog, CANARIES[kind])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["a word", "short", "digits"])
def test_password_in_the_wrong_key_of_a_pending_version_is_not_shown(
    operator: FakeOperator, caplog: pytest.LogCaptureFixture, place: str, kind: str
) -> None:
    """A person put AWSPENDING under the id that the operator would give it."""
    caplog.set_level(logging.DEBUG)
    with_admin(operator).apply(spec_of("AlternatingUsers"))
    operator.settle()
    secret = operator.aws.find("shop/orders")
    pending = VersionId(successor(secret.arn, secret.current.version_id, 0))
    value = with_password_in(operator.credential("app_clone"), place, CANARIES[kind])
    secret.versions[pending] = StoredVersion(pending, SecretValue.parse(json.dumps(value)), CREATED, secret.arn)
    secret.stages = {**secret.stages, pending: frozenset({Stage.PENDING})}
    check(operator, caplog, CANARIES[kind])


@pytest.mark.parametrize(
    "target",
    [
        {"includeKeys": "All"},
        {"creationPolicy": "Merge", "deletionPolicy": "Retain"},
        {"template": {"a": "{{ nope }}"}},
    ],
)
@pytest.mark.parametrize("kind", ["a word", "signs", "long"])
def test_password_as_the_name_of_a_key_is_not_shown_by_delivery_or_by_repairs(
    operator: FakeOperator, caplog: pytest.LogCaptureFixture, target: dict[str, Any], kind: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with_admin(operator)
    operator.aws.find("shop/orders").put(operator.credential() | {CANARIES[kind]: "x"}, "broken")
    if target.get("creationPolicy") == "Merge":
        operator.cluster.put(
            "/api/v1/namespaces/shop/secrets/orders",
            {"type": "Opaque", "data": {}, "metadata": {"annotations": {"rotatedsecrets.io/adopt": "orders"}}},
        )
    operator.apply(changed(SPEC, target=target))
    check(operator, caplog, CANARIES[kind])
    live = operator.target()
    if live is not None and operator.condition("Synced")[0] == "True":
        path = "/api/v1/namespaces/shop/secrets/orders"
        operator.cluster.put(path, live | {"data": dict.fromkeys(live["data"], "ZHJpZnQ=")})
        check(operator, caplog, CANARIES[kind])
        assert "SecretDriftRepaired" in operator.events.reasons
    else:
        assert operator.condition("Synced")[1] == "TemplateFailed"


@pytest.mark.parametrize("place", ["engine", "username", "dbname", "host", "ssl", "port", "authSource", UNKNOWN])
@pytest.mark.parametrize("engine", ENGINES)
def test_password_in_the_wrong_key_is_shown_by_no_engine(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, engine: str, place: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with fake_operator(monkeypatch, allowed_networks="127.0.0.0/8", backoff_cap=1) as operator:
        closed = {"engine": engine, "host": "127.0.0.1", "port": 9, "username": "app", "password": "first"}
        operator.secret(value=with_password_in(closed, place, CANARIES["a word"]))
        operator.secret("shop/admin/orders", closed | {"username": "admin"})
        operator.apply(SPEC)
        check(operator, caplog, CANARIES["a word"])


def test_username_is_shown_once_it_has_logged_in(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()
    assert operator.status()["activeUser"] == "app"
    operator.server().passwords["app"] = "changed by a person"
    operator.ask("now")
    with contextlib.suppress(RetryLater):
        operator.reconcile()
    assert "user app was refused" in operator.condition()[2]


def test_user_that_never_logged_in_is_not_called_the_active_user(operator: FakeOperator) -> None:
    operator.secret(value=operator.credential() | {"password": "wrong"})
    operator.apply(changed(SPEC, rotation={"adminSecretId": "shop/admin/orders"}))
    with contextlib.suppress(RetryLater):
        operator.reconcile()
    assert operator.condition()[:2] == ("False", "LoginFailed")
    assert "activeUser" not in operator.status()
