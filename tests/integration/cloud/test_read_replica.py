"""An application that logs in at a read replica: a real one, which lags behind for as long as a test likes."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from psycopg2.sql import SQL, Identifier, Literal

from rotated_secrets.api.rotation import Rights
from rotated_secrets.api.spec import TlsMode, TlsSpec
from rotated_secrets.controller.aws.managed_secrets import ManagedSecrets
from rotated_secrets.controller.look.database_access import DatabaseAccess, Trust
from rotated_secrets.databases.base import AuthenticationFailed, Refused, Unavailable, Users
from rotated_secrets.databases.hosts import HostRules
from rotated_secrets.databases.registry import engine_named
from rotated_secrets.observability.metrics import Metrics
from rotated_secrets.secretstores.aws import AwsStores
from rotated_secrets.values import Arn, Credential, SecretText
from sandbox.postgres import PostgresServer, postgres_server
from sandbox.postgres_replica import PRIMARY_SETTINGS, catch_up, pause, read_replica
from tests.integration.cloud.conftest import Rds
from tests.support.direct import DirectLogins

ADMIN_SECRET = Arn("arn:aws:secretsmanager:eu-west-1:111122223333:secret:shop/admin/orders-AbCdEf")


@pytest.fixture(scope="module")
def primary() -> Iterator[PostgresServer]:
    with postgres_server(settings=PRIMARY_SETTINGS) as server:
        yield server


@pytest.fixture(scope="module")
def replica(primary: PostgresServer) -> Iterator[PostgresServer]:
    with read_replica(primary) as server:
        yield server


@pytest.fixture(autouse=True)
def names_of_rds(monkeypatch: pytest.MonkeyPatch) -> None:
    """RDS's names lead to this machine."""
    real: Callable[..., Any] = socket.getaddrinfo

    def look_up(host: Any, *rest: Any, **more: Any) -> Any:
        return real("127.0.0.1" if str(host).endswith(".rds.amazonaws.com") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@dataclass(frozen=True)
class Tenant:
    """A user, its admin, and the names by which RDS calls their servers."""

    users: Users
    own: Credential
    """Logs in at the replica."""
    admin: Credential
    """Logs in at the primary."""
    connect: Callable[[Credential], DatabaseAccess]
    """As the operator does for an application with this credential."""

    def pending(self, password: str) -> Credential:
        assert self.users.clone is not None
        return replace(self.own, username=self.users.clone, password=SecretText(password))


@pytest.fixture
def tenant(primary: PostgresServer, replica: PostgresServer, rds: Rds, stores: AwsStores) -> Iterator[Tenant]:
    name, password = f"app_{secrets.token_hex(4)}", secrets.token_urlsafe(12)
    primary.sql(SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(Identifier(name), Literal(password)), logged=False)
    catch_up(primary, replica)
    there = rds.instance("orders", port=primary.port)["Endpoint"]["Address"]
    here = rds.replica("orders-near", "orders", port=replica.port)["Endpoint"]["Address"]
    own = Credential("postgres", here, name, SecretText(password), port=replica.port, dbname="postgres")
    admin_password = SecretText(primary.admin_password)
    admin = Credential("postgres", there, primary.admin_user, admin_password, primary.port, ssl=False, arn=ADMIN_SECRET)
    mode = TlsMode.VERIFY_CA if primary.tls else TlsMode.DISABLE

    def connect(application: Credential) -> DatabaseAccess:
        engine = engine_named("postgres")
        return DatabaseAccess(
            engine,
            application=application,
            trust=Trust(TlsSpec(mode=mode), None, primary.ca_pem),
            rules=HostRules.of(allowed=("127.0.0.0/8",)),
            read_admin=lambda: admin,
            logins=DirectLogins(engine),
            metrics=Metrics(),
            is_copy=ManagedSecrets(stores.client).is_copy,
        )

    yield Tenant(Users(name, f"{name}_clone"), own, admin, connect)
    catch_up(primary, replica)


def test_rotation_of_a_user_at_a_replica_waits_for_the_replication(
    tenant: Tenant, primary: PostgresServer, replica: PostgresServer
) -> None:
    connections, pending = tenant.connect(tenant.own), tenant.pending("first")
    assert connections.verify(tenant.own, tenant.users, ()) == []
    with connections.open_admin(tenant.own) as session:
        assert session.try_lock(tenant.users.base)
        session.check_users(tenant.users)
        pause(replica)
        session.set_password(tenant.users, pending, Rights.ENFORCE)
        with pytest.raises(Unavailable, match="tried again until the replication has caught up"):
            connections.verify(pending, tenant.users, ("SELECT 1",))
        catch_up(primary, replica)
        assert connections.verify(pending, tenant.users, ("SELECT 1",)) == []


def test_password_that_an_old_replica_still_takes_moves_no_admin(
    tenant: Tenant, primary: PostgresServer, replica: PostgresServer
) -> None:
    pause(replica)
    changed = SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(tenant.own.username), Literal("leaked, so changed"))
    primary.sql(changed, logged=False)
    connections = tenant.connect(tenant.own)
    assert connections.verify(tenant.own, tenant.users, ()) == []
    before = primary.log().count(f"user={primary.admin_user}")
    with pytest.raises(AuthenticationFailed, match="takes that password"):
        connections.open_admin(tenant.own)
    assert primary.log().count(f"user={primary.admin_user}") == before


def test_replica_of_nobody_gets_no_admin(tenant: Tenant) -> None:
    """The database that a tenant runs, on a host of its own."""
    stranger = replace(tenant.own, host="orders-near.shop.svc")
    with pytest.raises(Refused, match="by RDS's word"):
        tenant.connect(stranger).open_admin(stranger)
