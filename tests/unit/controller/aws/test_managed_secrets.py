"""What AWS adds to a secret's value, and how its refusals are translated."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from rotated_secrets.controller.aws.managed_secrets import ManagedSecrets
from rotated_secrets.databases.base import Refused
from rotated_secrets.secretstores.base import AccessDenied, SecretDescription, StoreUnavailable
from rotated_secrets.values import Arn, Credential, Endpoint, SecretText, SecretValue

ARN = Arn("arn:aws:secretsmanager:eu-west-1:111122223333:secret:rds!db-1-AbCdEf")
INSTANCE = "arn:aws:rds:eu-west-1:111122223333:db:orders"
MANAGED = SecretDescription(ARN, "rds!db-1", {}, tags={"aws:rds:primaryDBInstanceArn": INSTANCE})
ORDERS = Endpoint("postgres", "orders.x.eu-west-1.rds.amazonaws.com", 5432)
ADMIN = Credential("postgres", str(ORDERS.host), "root", SecretText("b"), port=5432, arn=ARN)
APPLICATION = Credential("postgres", "near.x.eu-west-1.rds.amazonaws.com", "app", SecretText("a"), port=5432)


@dataclass
class Rds:
    """RDS with one instance, or with an error for every request."""

    failure: tuple[str, int] | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)

    def client(self, service: str, region: str) -> Rds:
        self.asked.append((service, region))
        return self

    def describe_db_instances(self, **_: object) -> dict[str, Any]:
        if self.failure is not None:
            code, status = self.failure
            answer: Any = {"Error": {"Code": code, "Message": "…"}, "ResponseMetadata": {"HTTPStatusCode": status}}
            raise ClientError(answer, "DescribeDBInstances")
        endpoint = {"Address": ORDERS.host, "Port": ORDERS.port}
        return {"DBInstances": [{"DBInstanceIdentifier": "orders", "Engine": "postgres", "Endpoint": endpoint}]}


def value(**keys: object) -> SecretValue:
    return SecretValue.parse(json.dumps(keys))


def not_called() -> SecretDescription:
    raise AssertionError("a value that names its host needs no description")


def test_value_that_names_its_host_costs_no_call() -> None:
    rds = Rds()
    assert ManagedSecrets(rds.client).missing_endpoint(value(engine="postgres", host="db"), not_called) == Endpoint()
    assert rds.asked == []


def test_value_with_username_and_password_only_is_completed_from_the_secrets_tag() -> None:
    rds = Rds()
    assert ManagedSecrets(rds.client).missing_endpoint(value(username="root", password="b"), lambda: MANAGED) == ORDERS
    assert rds.asked == [("rds", "eu-west-1")]


def test_value_without_host_of_an_unmanaged_secret_is_not_completed() -> None:
    plain = SecretDescription(ARN, "shop/orders", {})
    found = ManagedSecrets(Rds().client).missing_endpoint(value(username="root", password="b"), lambda: plain)
    assert found == Endpoint()


@pytest.mark.parametrize(
    ("followed", "place"),
    [
        (SecretValue.parse("sk_live_1"), None),
        (value(token="sk_live_1"), None),
        (value(engine="db2", host="db", username="app", password="a"), None),
        (value(engine="postgres", host="db", username="app", password="a"), Endpoint()),
        (value(username="root", password="b"), ORDERS),
    ],
    ids=["plain text", "no engine", "an engine that is not known", "all there", "managed"],
)
def test_value_that_others_write_has_a_login_endpoint_if_its_engine_is_known(
    followed: SecretValue, place: Endpoint | None
) -> None:
    described = MANAGED if place is ORDERS else SecretDescription(ARN, "shop/orders", {})
    assert ManagedSecrets(Rds().client).login_endpoint(followed, described) == place


@pytest.mark.parametrize(
    ("failure", "expected", "says"),
    [
        (("AccessDenied", 403), AccessDenied, "allow rds:DescribeDBInstances"),
        (("Throttling", 400), StoreUnavailable, "tried again later"),
        (("InvalidParameterValue", 400), Refused, "AWS refuses DescribeDBInstances"),
    ],
)
def test_aws_refusals_are_translated(failure: tuple[str, int], expected: type[Exception], says: str) -> None:
    with pytest.raises(expected, match=says):
        ManagedSecrets(Rds(failure).client).missing_endpoint(value(username="root", password="b"), lambda: MANAGED)


def test_denial_of_a_replica_lookup_names_the_missing_permission() -> None:
    with pytest.raises(Refused, match=r"may be a read replica of .* allow rds:DescribeDBInstances"):
        ManagedSecrets(Rds(("AccessDenied", 403)).client).is_copy(APPLICATION, ADMIN)


def test_denial_of_a_lookup_names_the_role() -> None:
    role = "role arn:aws:iam::111122223333:role/orders"
    denied = ManagedSecrets(Rds(("AccessDenied", 403)).client, role)
    with pytest.raises(AccessDenied, match=f"allow rds:DescribeDBInstances to {role}"):
        denied.missing_endpoint(value(username="root", password="b"), lambda: MANAGED)
    with pytest.raises(Refused, match=f"but {role} may not look that up"):
        denied.is_copy(APPLICATION, ADMIN)


def test_database_is_looked_up_in_the_region_of_the_admin_secret() -> None:
    rds = Rds()
    assert not ManagedSecrets(rds.client).is_copy(APPLICATION, ADMIN)
    assert rds.asked == [("rds", "eu-west-1")]
