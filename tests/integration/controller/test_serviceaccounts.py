"""ServiceAccounts as the API server has them, and tokens that are good for AWS and nothing else."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import closing

import pytest
from kubernetes.client import Configuration

from rotated_secrets.cluster import Cluster as Connection
from rotated_secrets.cluster_access import configuration
from rotated_secrets.controller.aws.service_accounts import TOKEN_SECONDS, ServiceAccounts
from rotated_secrets.secretstores.base import AccessDenied, StoreUnavailable
from rotated_secrets.secretstores.sts_errors import AUDIENCE
from sandbox.kubernetes.client import Api, StatusError
from sandbox.kubernetes.provider import Cluster


@pytest.fixture
def accounts(cluster: Cluster) -> Iterator[ServiceAccounts]:
    with closing(Connection(configuration(cluster.kubeconfig, None), timeout=10, connections=1, retries=0)) as there:
        yield ServiceAccounts(there)


def create(api: Api, namespace: str, name: str, **annotations: str) -> str:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    named = {"agrees": "rotatedsecrets.io/token-for", "role": "eks.amazonaws.com/role-arn"}
    made = api.create(path, {"metadata": {"name": name, "annotations": {named[k]: v for k, v in annotations.items()}}})
    uid: str = made["metadata"]["uid"]
    return uid


def test_what_its_annotations_say_is_read(api: Api, namespace: str, accounts: ServiceAccounts) -> None:
    uid = create(api, namespace, "orders", agrees=" orders-db, ,payments ", role="arn:aws:iam::111122223333:role/x")
    found = accounts.read(namespace, "orders")
    assert (found.uid, found.role_arn) == (uid, "arn:aws:iam::111122223333:role/x")
    assert found.token_for == {"orders-db", "payments"}


@pytest.mark.parametrize("annotations", [{}, {"agrees": "", "role": ""}])
def test_nothing_said_is_no_agreement(
    api: Api, namespace: str, accounts: ServiceAccounts, annotations: dict[str, str]
) -> None:
    create(api, namespace, "orders", **annotations)
    found = accounts.read(namespace, "orders")
    assert (found.token_for, found.role_arn) == (frozenset(), None)
    with pytest.raises(AccessDenied, match="kubectl annotate"):
        found.check_allows("orders")


def test_token_is_short_lived_and_opens_nothing_but_aws(
    cluster: Cluster, api: Api, namespace: str, accounts: ServiceAccounts
) -> None:
    create(api, namespace, "orders")
    token = accounts.token(namespace, "orders", AUDIENCE)
    payload = token.reveal().split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["aud"] == [AUDIENCE]
    assert claims["sub"] == accounts.read(namespace, "orders").subject
    assert claims["exp"] - claims["iat"] == TOKEN_SECONDS
    with pytest.raises(StatusError, match="Unauthorized"):
        cluster.api(token.reveal()).get("/api")


def test_account_that_is_not_there_is_named(namespace: str, accounts: ServiceAccounts) -> None:
    for asked in (
        lambda: accounts.read(namespace, "nobody"),
        lambda: accounts.token(namespace, "nobody", AUDIENCE),
    ):
        with pytest.raises(AccessDenied, match=f"there is no ServiceAccount nobody in namespace {namespace}"):
            asked()


def test_api_server_that_does_not_answer_decides_nothing() -> None:
    nowhere = Configuration(host="http://127.0.0.1:1")
    with closing(Connection(nowhere, timeout=1, connections=1, retries=0)) as there, pytest.raises(StoreUnavailable):
        ServiceAccounts(there).read("shop", "orders")
