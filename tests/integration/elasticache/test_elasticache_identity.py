"""A user's password is set as whom the resource says, and by nobody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from rotated_secrets.databases.base import AsksCloud, Refused
from rotated_secrets.databases.elasticache.engine import ElastiCacheEngine
from tests.integration.elasticache.conftest import REGION, Tenant

if TYPE_CHECKING:
    from mypy_boto3_elasticache import ElastiCacheClient

ROLE = "role arn:aws:iam::111122223333:role/orders"
SECOND = "the-second-password"

ACCOUNT_HEADER = "x-moto-account-id"
"""By which moto knows whose key it is."""
Clients = Callable[[str, str], Any]


def of_account(account: str, asked: list[tuple[str, str]]) -> Clients:
    session = boto3.session.Session()

    def client(service: str, region: str) -> Any:
        asked.append((service, region))
        made: Any = session.client(service, region_name=region)  # type: ignore[call-overload]
        made.meta.events.register("before-send", lambda request, **_: request.headers.update({ACCOUNT_HEADER: account}))
        return made

    return client


def test_the_given_identity_sets_the_password(tenant: Tenant) -> None:
    asked: list[tuple[str, str]] = []
    given = of_account(tenant.arn.split(":")[4], asked)
    assert isinstance(tenant.engine, AsksCloud)
    engine = ElastiCacheEngine(wait_seconds=10, look_every_seconds=0.02)
    as_role = replace(tenant, engine=engine.asking(given, ROLE))
    as_role.set(tenant.hosted(SECOND))
    assert as_role.verify(tenant.hosted(SECOND)) == []
    assert set(asked) == {("elasticache", REGION)}


def test_without_an_identity_aws_is_not_asked(tenant: Tenant) -> None:
    nobody = replace(tenant, engine=ElastiCacheEngine())
    with pytest.raises(RuntimeError, match="no AWS identity"):
        nobody.set(tenant.hosted(SECOND))
    with pytest.raises(RuntimeError, match="no AWS identity"):
        nobody.verify(tenant.credential())
    assert tenant.times_modified == 0


def test_an_identity_of_another_account_does_not_see_the_user(tenant: Tenant, aws: ElastiCacheClient) -> None:
    elsewhere = replace(tenant, engine=tenant.engine.asking(of_account("111122223333", []), ROLE))
    with pytest.raises(Refused):
        elsewhere.set(tenant.hosted(SECOND))
    assert tenant.times_modified == 0
