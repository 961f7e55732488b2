"""RDS and Redshift of the sandbox, an account of its own for each test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from rotated_secrets.cloud.instances import Databases
from rotated_secrets.secretstores.aws import AwsSettings, AwsStores
from sandbox.secretsmanager import SecretsManager

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient


@pytest.fixture
def account(running_store: SecretsManager) -> SecretsManager:
    return running_store.empty_account()


@dataclass
class Rds:
    """A person who makes instances and clusters."""

    account: SecretsManager

    def client(self, region: str | None = None) -> RDSClient:
        return self.account.client("rds", region)

    def instance(self, name: str, engine: str = "postgres", *, port: int = 5432, **more: Any) -> dict[str, Any]:
        owner: dict[str, Any] = (
            {} if "DBClusterIdentifier" in more else {"MasterUsername": "root", "ManageMasterUserPassword": True}
        )
        made = self.client().create_db_instance(
            DBInstanceIdentifier=name, DBInstanceClass="db.r5.large", Engine=engine, Port=port, **owner, **more
        )
        return dict(made["DBInstance"])

    def replica(self, name: str, of: str, *, region: str | None = None, port: int = 5432) -> dict[str, Any]:
        made = self.client(region).create_db_instance_read_replica(
            DBInstanceIdentifier=name, SourceDBInstanceIdentifier=of, Port=port
        )
        return dict(made["DBInstance"])

    def cluster(self, name: str, engine: str = "aurora-postgresql", *, members: int = 0, **more: Any) -> dict[str, Any]:
        made = self.client().create_db_cluster(
            DBClusterIdentifier=name, Engine=engine, MasterUsername="root", ManageMasterUserPassword=True, **more
        )
        for number in range(members):
            self.instance(f"{name}-{number}", engine, DBClusterIdentifier=name)
        return dict(made["DBCluster"])


@pytest.fixture
def rds(account: SecretsManager) -> Rds:
    return Rds(account)


@dataclass
class Clock:
    """What the operator takes for the time, and what it has asked AWS."""

    now: float = 0.0
    asked: list[str] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stores(account: SecretsManager, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> AwsStores:
    """The operator's identity; its clients find RDS and Redshift by the environment alone."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_RDS", account.endpoint_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_REDSHIFT", account.endpoint_url)
    session = account.session()
    settings = AwsSettings(region=account.region, read_timeout=5, attempts=2)
    return AwsStores(settings, lambda operation, outcome: clock.asked.append(f"{operation} {outcome}"), session)


@pytest.fixture
def databases(stores: AwsStores, clock: Clock) -> Databases:
    """What the operator sees of them."""
    return Databases(stores.client, clock)
