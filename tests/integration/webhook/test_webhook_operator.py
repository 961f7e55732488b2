"""A RotatedSecret with a webhook on a real API: the operator's reconcile reads its Secrets, rotates and delivers."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import datetime
from typing import Any

import boto3
import pytest

from rotated_secrets import cluster as connection
from rotated_secrets import cluster_access
from rotated_secrets.api import names
from rotated_secrets.api.key import Key
from rotated_secrets.controller.aws.change_feeds import ChangeFeeds
from rotated_secrets.controller.aws.identities import Identities
from rotated_secrets.controller.aws.service_accounts import ServiceAccounts
from rotated_secrets.controller.journal import Journal
from rotated_secrets.controller.reconcile.reconciler import reconciler
from rotated_secrets.controller.services import Services
from rotated_secrets.controller.settings import Settings
from rotated_secrets.controller.watch.index import Index
from rotated_secrets.controller.watch.resources import Resources
from rotated_secrets.controller.work.limits import Limits
from rotated_secrets.controller.work.observed_cache import ObservedCache
from rotated_secrets.controller.work.queue import RetryLater
from rotated_secrets.observability.events import Events
from rotated_secrets.observability.metrics import Metrics
from rotated_secrets.secretstores.aws import AwsSettings, AwsStores
from sandbox.kubernetes.client import Api, Json
from sandbox.kubernetes.provider import Cluster
from sandbox.secretsmanager import SecretsManager
from sandbox.stack import install_crd
from tests.integration.webhook.conftest import CLIENT, FIRST, KEY, Hook
from tests.support.direct import DirectLogins, DirectRenderer

NAME = "partner"


@pytest.fixture(scope="module")
def installed(cluster: Cluster) -> None:
    install_crd(cluster)


@dataclasses.dataclass(frozen=True)
class Shop:
    """A namespace with a RotatedSecret, its Secrets, its secret in the store, and an operator's services."""

    api: Api
    namespace: str
    services: Services

    @property
    def path(self) -> str:
        return f"/apis/{names.API_VERSION}/namespaces/{self.namespace}/{names.PLURAL}"

    def create(self, url: str, **rotation: Any) -> None:
        spec = {
            "source": {"secretId": f"{self.namespace}/{NAME}"},
            "database": {"webhook": {"url": url, "authSecretName": "hook", "caSecretName": "hook-ca"}},
            "rotation": {"strategy": "RandomValue", "random": {"keys": ["client_secret"]}, **rotation},
        }
        self.api.create(
            self.path,
            {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "metadata": {"name": NAME, "annotations": {names.ROTATE_ANNOTATION: "1"}},
                "spec": spec,
            },
        )

    def put(self, name: str, **data: bytes) -> None:
        encoded = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}
        self.api.create(f"/api/v1/namespaces/{self.namespace}/secrets", body)

    def replace(self, name: str, **data: bytes) -> None:
        encoded = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()}
        self.api.patch(f"/api/v1/namespaces/{self.namespace}/secrets/{name}", {"data": encoded})

    def reconcile(self) -> datetime | None:
        async def once() -> datetime | None:
            slots = Limits(threads=2, per_host=2, breaker_failures=5, breaker_seconds=1)
            try:
                services = dataclasses.replace(self.services, limits=slots)
                return await reconciler(services)(Key(self.namespace, NAME))
            finally:
                slots.close()

        return asyncio.run(once())

    def told(self) -> str:
        """Ready's sentence after a look that came to nothing."""
        with suppress(RetryLater):
            self.reconcile()
        conditions: list[Json] = self.read()["status"]["conditions"]
        return str(next(each["message"] for each in conditions if each["type"] == "Ready"))

    def read(self) -> Json:
        return self.api.get(f"{self.path}/{NAME}")

    def delivered(self) -> dict[str, str]:
        data = self.api.get(f"/api/v1/namespaces/{self.namespace}/secrets/{NAME}")["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}


@pytest.fixture
def shop(
    cluster: Cluster,
    api: Api,
    namespace: str,
    installed: None,
    running_store: SecretsManager,
    hook: Hook,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Shop]:
    account = running_store.empty_account()
    for name, value in account.environment().items():
        monkeypatch.setenv(name, value)
    value = json.dumps({"client_id": CLIENT, "client_secret": FIRST})
    hook.belongs_to(namespace, account.client().create_secret(Name=f"{namespace}/{NAME}", SecretString=value)["ARN"])
    port = hook.server.server_port
    settings = Settings.parse(
        {
            "aws_region": account.region,
            "allowed_networks": "127.0.0.0/8,::1/128",
            "webhook_hosts": f"*.hooks.example.com, localhost:{port}",
        }
    )
    configuration = cluster_access.configuration(cluster.kubeconfig, None)
    with closing(connection.Cluster(configuration, timeout=10, connections=4, retries=0)) as connected:
        stores = AwsStores(AwsSettings(region=account.region), lambda operation, outcome: None, account.session())
        identities = Identities(stores, ServiceAccounts(connected), None)
        registry, look = Index(account.region), _nothing
        events = Events(connected, api_version=names.API_VERSION, kind=names.KIND, instance="test")
        services = Services(
            settings=settings,
            cluster=connected,
            resources=Resources(connected, ()),
            index=registry,
            journal=Journal(connected, namespace=namespace, lease="rotated-secrets"),
            identities=identities,
            feeds=ChangeFeeds(identities, registry, look),
            limits=Limits(threads=1, per_host=1, breaker_failures=1, breaker_seconds=1),
            observed=ObservedCache(),
            logins=DirectLogins,
            renderer=DirectRenderer(),
            events=events,
            metrics=Metrics(),
            guard=lambda: None,
            look=look,
        )
        made = Shop(api, namespace, services)
        made.put("hook", key=KEY.encode())
        made.put("hook-ca", ca_crt=hook.ca_pem.encode())
        yield made
        services.limits.close()
        events.flush(2)


def _nothing(key: Key) -> None:
    return


def test_a_clients_secret_is_rotated_and_delivered(shop: Shop, hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    shop.create(hook.url)
    with caplog.at_level(logging.DEBUG, logger="rotated_secrets"):
        shop.reconcile()
    status, delivered = shop.read()["status"], shop.delivered()
    assert delivered["client_id"] == CLIENT and hook.secrets == {CLIENT: delivered["client_secret"]}
    assert delivered["client_secret"] != FIRST and status["engine"] == "webhook" and "activeUser" not in status
    assert {each["type"]: each["status"] for each in status["conditions"]}["Ready"] == "True"
    assert hook.received[0].request["data"]["resource"] == {"namespace": shop.namespace, "name": NAME}
    told = caplog.text + json.dumps(status)
    assert not any(secret in told for secret in (FIRST, delivered["client_secret"], KEY, "tenant=7"))


def test_two_users_need_no_admin_secret_beside_a_webhook(shop: Shop, hook: Hook) -> None:
    """The receiver of the documents knows clients alone, so this gets no further than its answer."""
    value = json.dumps({"username": "app", "password": "first", "engine": "snowflake", "masterarn": 7, "port": "x"})
    boto3.client("secretsmanager").put_secret_value(SecretId=f"{shop.namespace}/{NAME}", SecretString=value)
    shop.create(hook.url, strategy="AlternatingUsers", random=None)
    assert "refuses the request (400)" in shop.told()
    assert hook.received[0].request["data"]["users"] == {"base": "app", "clone": "app_clone"}
    assert hook.received[0].request["data"]["keys"] == ["username", "password"]


def test_a_host_that_the_settings_do_not_allow_is_asked_nothing(shop: Shop, hook: Hook) -> None:
    shop.create("https://evil.example.com/")
    told = shop.told()
    assert "do not allow webhooks at evil.example.com (they allow *.hooks.example.com, localhost:" in told
    assert "have it added to --webhook-hosts" in told and hook.received == []


def test_an_address_that_is_guarded_is_not_reached_by_an_allowed_name(shop: Shop, hook: Hook) -> None:
    closed = shop.services.settings.model_copy(update={"allowed_networks": ()})
    shop = dataclasses.replace(shop, services=dataclasses.replace(shop.services, settings=closed))
    shop.create(hook.url)
    # Here it is the API server's machine, too.
    assert "which the operator does not connect to" in shop.told()
    assert hook.received == []


Spoil = Callable[[Shop], None]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda shop: shop.replace("hook", key=b"short"), "the key has 5 bytes; it needs at least 32"),
        (lambda shop: shop.replace("hook-ca", ca_crt=b"none"), "holds no PEM certificates under the key ca.crt"),
        (
            lambda shop: shop.api.delete(_secret(shop, "hook")),
            "named by database.webhook.authSecretName, does not exist",
        ),
        (
            lambda shop: shop.api.delete(_secret(shop, "hook-ca")),
            "named by database.webhook.caSecretName, does not exist",
        ),
    ],
)
def test_a_secret_that_cannot_be_used_is_told_by_its_field(shop: Shop, hook: Hook, spoil: Spoil, told: str) -> None:
    spoil(shop)
    shop.create(hook.url)
    assert told in shop.told() and hook.received == []


def _secret(shop: Shop, name: str) -> str:
    return f"/api/v1/namespaces/{shop.namespace}/secrets/{name}"


def test_a_key_is_rotated_by_writing_it_into_its_secret(shop: Shop, hook: Hook) -> None:
    shop.create(hook.url)
    hook.server.key = b"y" * 32
    assert "rejects the signature (401)" in shop.told()
    shop.replace("hook", key=b"y" * 32)
    shop.reconcile()
    assert hook.secrets[CLIENT] == shop.delivered()["client_secret"] != FIRST
