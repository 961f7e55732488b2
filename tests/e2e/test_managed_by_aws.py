"""What AWS rotates itself is asked for, followed and delivered; an admin that RDS manages sets users' passwords."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from psycopg2.sql import SQL, Identifier, Literal

from sandbox.operatorprocess import OperatorProcess
from sandbox.secretsmanager_instances import HOST
from sandbox.waiting import eventually
from tests.e2e.conftest import StartOperator
from tests.support.applied import Applied

FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:rotate"


class RotationFunction:
    """What AWS would invoke: a single user's password is set, and AWSCURRENT moves."""

    def __init__(self, applied: Applied) -> None:
        self.application = applied.application
        self.client = self.application.store.client()
        self.client.rotate_secret(
            SecretId=self.application.secret_id, RotationLambdaARN=FUNCTION, RotateImmediately=False
        )

    def pending(self) -> str | None:
        return next(iter(self.application.stages().get("AWSPENDING", [])), None)

    def run(self, *, works: bool = True) -> str:
        version = eventually(self.pending, "AWS was asked to rotate")
        assert version is not None
        password = secrets.token_urlsafe(12)
        if works:
            self.application.stack.database.sql(
                SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(self.application.user), Literal(password)),
                logged=False,
            )
        value = self.application.value() | {"password": password}
        self.client.put_secret_value(
            SecretId=self.application.secret_id,
            ClientRequestToken=version,
            SecretString=json.dumps(value),
            VersionStages=["AWSCURRENT"],
        )
        return password


def password_of(applied: Applied) -> str | None:
    return (applied.secret() or {}).get("password")


def test_request_has_aws_rotate_once_and_what_it_makes_is_delivered(orders: Applied, operator: OperatorProcess) -> None:
    function = RotationFunction(orders)
    orders.apply({"rotation": {"strategy": "External"}}).until_ready()
    before = password_of(orders)
    orders.ask("now")
    version = eventually(function.pending, "AWS was asked to rotate")
    password = function.run()
    orders.until_served("now")
    assert before != password_of(orders) == password
    assert [entry["versionId"] for entry in orders.status["history"]] == [version]
    assert [call.name for call in orders.store_calls()].count("RotateSecret") == 1
    assert orders.store_writes() == []


def test_what_does_not_log_in_is_not_delivered(orders: Applied, operator: OperatorProcess) -> None:
    function = RotationFunction(orders)
    orders.apply({"rotation": {"strategy": "External"}}).until_ready()
    before = password_of(orders)
    function.client.rotate_secret(SecretId=orders.application.secret_id)
    function.run(works=False)
    orders.until("Ready", "False", "LoginFailed")
    assert password_of(orders) == before


def test_secret_that_aws_does_not_rotate_says_how_to_have_it_so(orders: Applied, operator: OperatorProcess) -> None:
    orders.apply({"rotation": {"strategy": "External"}}).until_ready()
    orders.ask("now")
    found = orders.until("Rotated", "False", "CreateFailed")
    assert "aws secretsmanager rotate-secret" in found["message"]


def test_plain_token_is_followed_without_a_login(orders: Applied, operator: OperatorProcess) -> None:
    client = orders.application.store.client()
    client.put_secret_value(SecretId=orders.application.secret_id, SecretString="sk_live_1")
    orders.apply(
        {
            "rotation": {"strategy": "External"},
            "target": {"template": {"TOKEN": "{{ value }}"}, "includeKeys": "None"},
        }
    ).until_ready()
    client.put_secret_value(SecretId=orders.application.secret_id, SecretString="sk_live_2")
    eventually(lambda: (orders.secret() or {}).get("TOKEN") == "sk_live_2", "the new token is delivered")


def test_binary_secret_is_delivered_as_its_bytes(orders: Applied, operator: OperatorProcess) -> None:
    content = bytes(range(256))
    client = orders.application.store.client()
    client.put_secret_value(SecretId=orders.application.secret_id, SecretBinary=content)
    keys = [{"key": "value", "name": "keystore.p12"}]
    template = {"copy": "{{ value }}", "as-text": '{{ value["value"] | b64encode }}'}
    target = {"includeKeys": "None", "keys": keys, "template": template}
    orders.apply({"rotation": {"strategy": "External"}, "target": target}).until_ready()
    delivered = {key: base64.b64decode(text) for key, text in orders.api.get(orders.secret_path)["data"].items()}
    assert delivered == {"keystore.p12": content, "copy": content, "as-text": base64.b64encode(content)}


@pytest.fixture
def managed_admin(orders: Applied) -> dict[str, Any]:
    """The application's admin, as RDS would manage it: username and password alone."""
    application = orders.application
    made = application.store.client("rds").create_db_instance(
        DBInstanceIdentifier=application.name,
        DBInstanceClass="db.t3.micro",
        Engine="postgres",
        MasterUsername="root",
        ManageMasterUserPassword=True,
        Port=orders.stack.database_proxy.port,
        Tags=[{"Key": HOST, "Value": "127.0.0.1"}],
    )["DBInstance"]
    client = application.store.client()
    arn = made["MasterUserSecret"]["SecretArn"]
    admin = json.loads(client.get_secret_value(SecretId=application.admin_secret_id)["SecretString"])
    own = {key: admin[key] for key in ("username", "password")}
    client.put_secret_value(SecretId=arn, SecretString=json.dumps(own))
    return {"arn": arn, "name": client.describe_secret(SecretId=arn)["Name"]}


def test_admin_that_rds_manages_is_found_by_its_tag(
    orders: Applied,
    managed_admin: dict[str, Any],
    operator: OperatorProcess,
    make_operator: StartOperator,
    home: str,
    tmp_path: Path,
) -> None:
    orders.apply(adminSecretId=managed_admin["arn"])
    found = orders.until("Ready", "False", "AccessDenied")
    assert managed_admin["name"] in found["message"]
    operator.terminate()
    rule = {"namespaces": [home], "secrets": ["{namespace}/*"], "adminSecrets": [managed_admin["name"]]}
    policy = tmp_path / "policy.yaml"
    policy.write_text(json.dumps({"rules": [rule]}))
    with make_operator("managed", "--access-policy-file", str(policy)) as process:
        process.wait_until_it_leads()
        for number, user in enumerate((orders.application.clone, orders.application.user)):
            orders.rotate(f"number {number}", seconds=40)
            assert orders.application.value()["username"] == user
        process.terminate()  # so that the next operator need not wait until its Lease has expired
