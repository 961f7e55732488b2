"""ElastiCache's API with a real Redis behind it, and users there of each test's own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import AdminSession, RightsReport, Server, Tls, Users
from rotated_secrets.databases.elasticache.engine import ElastiCacheEngine
from rotated_secrets.databases.elasticache.user import OWNER_TAG, place_in
from rotated_secrets.observability.logs import silence_aws_debug_logs
from rotated_secrets.values import Arn, Credential, Endpoint, SecretValue, VersionId
from sandbox.redis import RedisServer, redis_server

if TYPE_CHECKING:
    from mypy_boto3_elasticache import ElastiCacheClient
    from mypy_boto3_elasticache.type_defs import TagTypeDef, UserTypeDef

ACCOUNT = "123456789012"
REGION = "eu-west-1"
FIRST = "the-first-password"


@pytest.fixture(scope="session")
def cache() -> Iterator[RedisServer]:
    with redis_server(tls=False) as server:
        yield server


@pytest.fixture(scope="session")
def endpoint(cache: RedisServer) -> Iterator[str]:
    program = Path(__file__).resolve().parents[2] / "support" / "elasticache_server.py"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOTO_"))}
    with subprocess.Popen(
        [sys.executable, program, str(cache.port), cache.admin_user, cache.admin_password],
        env=inherited,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as server:
        assert server.stdin and server.stdout
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()


@pytest.fixture(scope="module")
def aws(endpoint: str) -> Iterator[ElastiCacheClient]:
    """The operator's environment, and a client in it: to make one takes longer than most tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL_ELASTICACHE", endpoint)
        patch.setenv("AWS_ACCESS_KEY_ID", ACCOUNT)
        patch.setenv("AWS_SECRET_ACCESS_KEY", "sandbox")
        yield boto3.session.Session().client("elasticache", region_name=REGION)


@pytest.fixture(scope="module")
def engine(aws: ElastiCacheClient) -> ElastiCacheEngine:
    return operators_engine(wait_seconds=10)


def operators_engine(wait_seconds: float) -> ElastiCacheEngine:
    """An engine that asks AWS as the environment says now."""
    silence_aws_debug_logs()
    clients: dict[tuple[str, str], Any] = {}
    session = boto3.session.Session()

    def client(service: str, region: str) -> Any:
        if (service, region) not in clients:
            clients[service, region] = session.client(service, region_name=region)  # type: ignore[call-overload]
        return clients[service, region]

    engine = ElastiCacheEngine(wait_seconds=wait_seconds, look_every_seconds=0.02)
    return engine.asking(client, "the operator's identity")


@dataclass(frozen=True)
class Tenant:
    """A secret, and the ElastiCache user that is tagged as its."""

    aws: ElastiCacheClient
    cache: RedisServer
    engine: ElastiCacheEngine
    name: str
    id: str
    arn: str
    secret_arn: str

    @property
    def users(self) -> Users:
        return Users(self.name)

    @property
    def server(self) -> Server:
        return Server("localhost", ("127.0.0.1",), self.cache.port, Tls(TlsMode.DISABLE))

    @property
    def nowhere(self) -> Server:
        """Of a value that names no host."""
        return Server(f"elasticache.{REGION}.amazonaws.com", (), 6379, Tls())

    def credential(self, password: str = FIRST, **fields: Any) -> Credential:
        """As in AWS's own template, and besides what ``fields`` say."""
        value = {"username": self.name, "password": password, "user_arn": self.arn, **fields}
        parsed = SecretValue.parse(json.dumps(value))
        version = VersionId(f"version of {password}")
        return Credential.of(parsed, place_in(parsed) or Endpoint(), arn=Arn(self.secret_arn), version_id=version)

    def hosted(self, password: str = FIRST) -> Credential:
        return self.credential(password, host="localhost", port=self.cache.port)

    def open(self, credential: Credential | None = None) -> AdminSession:
        return self.engine.open_admin(self.server, credential or self.hosted())

    def set(self, credential: Credential, keep: Credential | None = None) -> RightsReport:
        with self.open(keep or credential) as session:
            assert session.try_lock(self.name)
            session.check_users(self.users)
            return session.set_password(self.users, credential, Rights.ENFORCE, keep)

    def verify(self, credential: Credential, *queries: str) -> list[str]:
        server = self.server if self.engine.hosts(credential) else self.nowhere
        return self.engine.verify(server, credential, self.users, queries)

    def tag(self, **tags: str) -> None:
        """Each `_` stands for a slash."""
        named: list[TagTypeDef] = [{"Key": key.replace("_", "/"), "Value": value} for key, value in tags.items()]
        self.aws.add_tags_to_resource(ResourceName=self.arn, Tags=named)

    def own(self, secret_arn: str) -> None:
        self.aws.add_tags_to_resource(ResourceName=self.arn, Tags=[{"Key": OWNER_TAG, "Value": secret_arn}])

    def seen(self) -> UserTypeDef:
        return self.aws.describe_users(UserId=self.id)["Users"][0]

    @property
    def times_modified(self) -> int:
        version = self.seen()["MinimumEngineVersion"]
        return 0 if version == "6.0" else int(version)


def make_tenant(
    aws: ElastiCacheClient,
    cache: RedisServer,
    engine: ElastiCacheEngine,
    *,
    owned: bool = True,
    how: dict[str, Any] | None = None,
) -> Tenant:
    mark = secrets.token_hex(4)
    name, user_id = f"app_{mark}", f"app-{mark}"
    how = how or {"Passwords": [FIRST]}
    made = aws.create_user(UserId=user_id, UserName=name, Engine="redis", AccessString="on ~* +@all", **how)
    cache.make_user(name, FIRST, "~*", "+@all")
    secret = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:shop/cache-{mark}-AbCdEf"
    tenant = Tenant(aws, cache, engine, name, user_id, made["ARN"], secret)
    if owned:
        tenant.own(secret)
    return tenant


@pytest.fixture
def tenant(aws: ElastiCacheClient, cache: RedisServer, engine: ElastiCacheEngine) -> Tenant:
    return make_tenant(aws, cache, engine)
