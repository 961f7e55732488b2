"""Where the operator connects for a tenant, by whose admin, and whom it trusts there."""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path
from typing import Any

import pytest

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.controller.work.queue import RetryLater
from rotated_secrets.databases.base import Unavailable
from tests.support.fake_operator import SPEC, FakeOperator, changed, fake_operator, with_admin, write_policy

PEM = "-----BEGIN CERTIFICATE-----\nof the {}\n-----END CERTIFICATE-----\n"


def asks(operator: FakeOperator, spec: Any = SPEC) -> None:
    """A rotation is asked for, and one look is taken at it."""
    operator.apply(spec)
    for request in ("", "now"):
        if request:
            operator.ask(request)
        with contextlib.suppress(RetryLater):
            operator.reconcile()


def ca_secret(operator: FakeOperator, name: str = "ca") -> None:
    data = {"ca.crt": base64.b64encode(PEM.format("tenant").encode()).decode()}
    operator.cluster.put(f"/api/v1/namespaces/shop/secrets/{name}", {"data": data})


def test_admin_secret_that_the_policy_denies_is_not_read_and_is_no_end_of_delivery(operator: FakeOperator) -> None:
    with_admin(operator)
    operator.secret("billing/admin/x", operator.credential("admin", "of-the-admin"))
    asks(operator, changed(SPEC, rotation={"adminSecretId": "billing/admin/x"}))
    assert operator.condition()[:2] == ("False", "AccessDenied")
    assert "AccessDenied" in operator.events.reasons
    assert operator.aws.operations(of="billing") == []
    assert operator.target() is not None
    assert "admin" not in operator.server().users


def test_admin_secret_that_aws_returned_is_held_against_the_policy_before_anyone_logs_in(
    operator: FakeOperator,
) -> None:
    with_admin(operator)
    other = operator.secret("billing/admin/x", operator.credential("boss", "of-the-boss"))
    operator.aws.returns["shop/admin/orders"] = other.arn
    asks(operator)
    assert "boss" not in operator.server().users
    assert "billing/admin/x" in str(operator.status())
    assert operator.status()["activeUser"] == "app"
    assert operator.server().passwords["app"] == "first"


def test_masterarn_of_a_value_is_a_request_like_any_other(operator: FakeOperator) -> None:
    admin = operator.secret("billing/admin/x", operator.credential("admin", "of-the-admin"))
    operator.secret(value=operator.credential(masterarn=admin.arn))
    asks(operator, {"source": {"secretId": "shop/orders"}, "rotation": {"strategy": "SingleUser"}})
    assert operator.condition()[:2] == ("False", "AccessDenied")
    assert operator.aws.operations(of="billing") == []


def test_masterarn_means_nothing_to_a_secret_that_someone_else_rotates(operator: FakeOperator) -> None:
    admin = operator.secret("billing/admin/x", operator.credential("admin", "of-the-admin"))
    operator.secret(value=operator.credential(masterarn=admin.arn))
    operator.apply({"source": {"secretId": "shop/orders"}, "rotation": {"strategy": "External"}})
    operator.settle()
    assert operator.condition()[0] == "True"


def test_admin_secret_that_is_denied_leaves_the_user_unchanged_and_no_pending_version(operator: FakeOperator) -> None:
    with_admin(operator)
    operator.secret("billing/admin/x", operator.credential("admin", "of-the-admin"))
    asks(operator, changed(SPEC, rotation={"adminSecretId": "billing/admin/x"}))
    assert operator.server().passwords["app"] == "first"
    assert "PutSecretValue" not in operator.aws.operations()


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "203.0.113.1"])
def test_host_that_must_not_be_reached_is_not_connected_to(operator: FakeOperator, host: str) -> None:
    """The machine itself, the cloud's metadata, the API server."""
    operator.secret(value=operator.credential(host=host, port=6443))
    operator.secret("shop/admin/orders", operator.credential("admin", "x", host=host, port=6443))
    asks(operator)
    assert operator.server(host, 6443).logins == []
    assert operator.condition()[0] == "False"


def test_host_of_a_denied_network_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_operator(monkeypatch, denied_networks="192.0.2.0/24") as operator:
        with_admin(operator)
        asks(operator)
        assert operator.server().logins == []


def test_host_that_the_settings_allow_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_operator(monkeypatch, allowed_networks="127.0.0.0/8") as operator:
        operator.secret(value=operator.credential(host="127.0.0.1"))
        operator.secret("shop/admin/orders", operator.credential("admin", "x", host="127.0.0.1"))
        asks(operator)
        assert operator.condition("Rotated")[0] == "True"


def test_authorities_of_a_tenant_are_trusted_for_its_own_user_and_not_for_the_admin(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "ca.pem"
    own.write_text(PEM.format("operator"))
    with fake_operator(monkeypatch, database_ca_file=own) as operator:
        with_admin(operator)
        ca_secret(operator)
        asks(operator, changed(SPEC, database={"tls": {"caSecretName": "ca"}}))
        trusted = {user: server.tls.ca_bundle or "" for user, server in operator.server().logins}
        assert "of the tenant" in trusted["app"]
        assert "of the operator" in trusted["admin"]


def test_authorities_that_are_not_there_leave_the_database_alone(operator: FakeOperator) -> None:
    with_admin(operator).apply(changed(SPEC, database={"tls": {"caSecretName": "ca"}}))
    with pytest.raises(RetryLater):
        operator.reconcile()
    assert operator.server().logins == []
    ca_secret(operator)
    operator.settle()
    assert "app" in operator.server().users


def test_tls_of_the_admin_is_never_weakened_by_a_tenant(operator: FakeOperator) -> None:
    with_admin(operator)
    asks(operator, changed(SPEC, database={"tls": {"mode": "Disable"}}))
    modes = {user: server.tls.mode for user, server in operator.server().logins}
    assert modes == {"app": TlsMode.DISABLE, "admin": TlsMode.VERIFY_FULL}


def test_admin_secret_that_is_a_source_is_trusted_like_an_admin(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is rotated, and its owner's TLS settings could hand its password to somebody who listens."""
    policy = write_policy(tmp_path / "policy", {"namespaces": ["shop"], "adminSecrets": ["shop/admin/*"]})
    with fake_operator(monkeypatch, access_policy_file=policy) as operator:
        operator.secret("shop/admin/orders", operator.credential("admin", "of-the-admin"))
        operator.apply(
            {
                "source": {"secretId": "shop/admin/orders"},
                "rotation": {"strategy": "SingleUser"},
                "target": {"creationPolicy": "None"},
                "database": {"tls": {"mode": "Disable"}},
            }
        )
        operator.settle()
        assert {server.tls.mode for _, server in operator.server().logins} == {TlsMode.VERIFY_FULL}


def test_admin_that_changes_between_reading_and_login_is_read_once_more(operator: FakeOperator) -> None:
    with_admin(operator)
    admin = next(each for each in operator.aws.secrets.values() if each.name == "shop/admin/orders")
    operator.apply(SPEC)
    operator.settle()
    operator.server().passwords["admin"] = "changed"
    reads = 0

    def follows(operation: str, asked: str) -> None:
        nonlocal reads
        if operation == "GetSecretValue" and "admin" in asked:
            reads += 1
            if reads == 2:
                admin.put(operator.credential("admin", "changed"), "changed")

    operator.aws.before_call = follows
    operator.ask("now")
    operator.reconcile()
    assert reads == 2
    assert operator.condition("Rotated")[0] == "True"


def test_without_an_admin_secret_the_user_changes_its_own_password(operator: FakeOperator) -> None:
    operator.secret()
    asks(operator, {"source": {"secretId": "shop/orders"}, "rotation": {"strategy": "SingleUser"}})
    assert operator.condition("Rotated")[0] == "True"
    assert set(operator.server().users) == {"app"}


def dies_in_set_secret(operator: FakeOperator, spec: Any) -> None:
    """A rotation is under way: AWSPENDING is there, and its password may be set."""

    def goes(statement: str) -> None:
        operator.server().before_statement = lambda _: None
        raise Unavailable("the server went")

    operator.apply(spec)
    operator.settle()
    operator.server().before_statement = goes
    operator.ask("now")
    with pytest.raises(RetryLater, match="the server went"):
        operator.reconcile()
    assert operator.status()["rotation"]["step"] == "SetSecret"
    operator.server().logins.clear()
    operator.aws.calls.clear()


def test_rotation_under_way_does_not_go_on_with_an_admin_secret_that_is_denied(operator: FakeOperator) -> None:
    dies_in_set_secret(with_admin(operator), SPEC)
    operator.secret("billing/admin/x", operator.credential("admin", "of-the-admin"))
    operator.apply(changed(SPEC, rotation={"adminSecretId": "billing/admin/x"}))
    with pytest.raises(RetryLater, match="may not use billing/admin/x"):
        operator.reconcile()
    assert "admin" not in operator.server().users
    assert operator.aws.operations(of="billing") == []
    assert operator.server().passwords["app"] == "first"


def test_rotation_under_way_does_not_go_on_as_the_user_itself_where_it_needs_an_admin(operator: FakeOperator) -> None:
    with_admin(operator)
    alternating = changed(SPEC, rotation={"strategy": "AlternatingUsers"})
    dies_in_set_secret(operator, alternating)
    del alternating["rotation"]["adminSecretId"]
    operator.apply(alternating)
    with pytest.raises(RetryLater, match="needs an admin secret"):
        operator.reconcile()
    assert "app_clone" not in operator.server().passwords


def test_masterarn_that_is_no_arn_of_a_secret_is_an_obstacle_by_its_form(operator: FakeOperator) -> None:
    operator.secret(value=operator.credential(masterarn="shop/admin/hunter2"))
    asks(operator, {"source": {"secretId": "shop/orders"}, "rotation": {"strategy": "SingleUser"}})
    status, reason, message = operator.condition()
    assert (status, reason) == ("False", "InvalidSecretValue")
    assert "masterarn in the secret value is not the ARN of a secret" in message
    assert "hunter2" not in str(operator.status())
    assert operator.server().passwords["app"] == "first"
