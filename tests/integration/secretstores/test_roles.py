"""The operator is somebody else for a while, as far as AWS lets it: by STS, with the account's own policies."""

from __future__ import annotations

import base64
import json
import logging
import re
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rotated_secrets.secretstores.aws import AwsSettings, AwsStores
from rotated_secrets.secretstores.base import AccessDenied, SecretNotFound, StoreError, StoreRefused, StoreUnavailable
from rotated_secrets.secretstores.roles import AssumedRole, Token, stores_for_role
from rotated_secrets.values import Arn, SecretId, SecretText, SecretValue, Stage, VersionId
from sandbox.secretsmanager import SecretsManager
from sandbox.secretsmanager_sessions import SECRET_MARK, TOKEN_MARK
from sandbox.store_proxy import StoreProxy
from sandbox.tenant import ROTATES, Tenant

DOCUMENT = Path(__file__).parents[3] / "docs" / "tenant-credentials.md"
ISSUER = "https://oidc.example.com/id/CLUSTER"
SUBJECT = "system:serviceaccount:shop:orders"
SECRET = SecretId("shop/orders-db")

Connect = Callable[[AwsSettings], AwsStores]


class Tokens:
    """What a cluster gives out: a JWT as far as AWS reads one."""

    def __init__(self, **claims: object) -> None:
        self.claims = {"iss": ISSUER, "sub": SUBJECT, "aud": ["sts.amazonaws.com"], "exp": time.time() + 600, **claims}
        self.given: list[str] = []

    def __call__(self) -> SecretText:
        payload = base64.urlsafe_b64encode(json.dumps(self.claims).encode()).rstrip(b"=").decode()
        self.given.append(f"eyJhbGciOiJub25lIn0.{payload}.canary-signature-{len(self.given)}")
        return SecretText(self.given[-1])


@pytest.fixture
def tenant(running_store: SecretsManager) -> Tenant:
    """Another account than the operator's, with a secret."""
    other = Tenant(running_store.empty_account())
    other.store.client().create_secret(Name=SECRET, SecretString='{"password": "of the tenant"}')
    return other


@pytest.fixture
def own(connect: Connect, account: SecretsManager, proxy: StoreProxy, monkeypatch: pytest.MonkeyPatch) -> AwsStores:
    """The operator's, whose STS is behind the proxy too."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", proxy.endpoint_url)
    return connect(AwsSettings(region=account.region, read_timeout=5, attempts=2))


def by_token(arn: str) -> AssumedRole:
    return AssumedRole(Arn(arn), "shop.orders", subject=SUBJECT, subject_uid="1")


def by_external_id(arn: str, external_id: str = "prod/shop") -> AssumedRole:
    return AssumedRole(Arn(arn), "shop.rotated-secrets", external_id=external_id)


@pytest.fixture
def federated(tenant: Tenant) -> AssumedRole:
    tenant.provider(ISSUER)
    return by_token(tenant.role("orders", tenant.trusting_account(ISSUER, "shop", "orders")))


def password(stores: AwsStores) -> str:
    return stores.at().get(SECRET).value.text.reveal()


def refused(own: AwsStores, role: AssumedRole, token: Token | None = None) -> StoreError:
    with pytest.raises(StoreError) as caught:
        stores_for_role(own, role, token).at().describe(SECRET)
    assert caught.value.__context__ is None
    return caught.value


def test_token_gives_the_role_and_the_role_its_accounts_secret(
    own: AwsStores, federated: AssumedRole, tenant: Tenant, proxy: StoreProxy
) -> None:
    with pytest.raises(SecretNotFound):
        own.at().describe(SECRET)
    stores = stores_for_role(own, federated, Tokens())
    assert "of the tenant" in password(stores)
    assert stores.account() == tenant.account
    # A token is shown without a signature: the operator itself needs no right for it.
    assert {call.caller for call in proxy.calls if call.name == "AssumeRoleWithWebIdentity"} == {""}


def test_external_id_gives_the_role(own: AwsStores, account: SecretsManager, tenant: Tenant) -> None:
    role = by_external_id(tenant.role("orders", tenant.trusting_operator(account, "prod/shop")))
    assert "of the tenant" in password(stores_for_role(own, role, None))


def test_credentials_are_kept_for_all_that_is_asked_and_nothing_is_asked_too_early(
    own: AwsStores, federated: AssumedRole, proxy: StoreProxy
) -> None:
    tokens = Tokens()
    stores = stores_for_role(own, federated, tokens)
    store = stores.at()
    assert proxy.count() == 0
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: store.describe(SECRET), range(32)))
    counted = Counter([call.name for call in proxy.calls])
    assert counted == {"AssumeRoleWithWebIdentity": 1, "DescribeSecret": 32}
    assert len(tokens.given) == 1


def test_what_expires_soon_is_fetched_anew_before_it_fails(
    own: AwsStores, account: SecretsManager, tenant: Tenant, proxy: StoreProxy
) -> None:
    arn = tenant.role("orders", tenant.trusting_operator(account, "prod/shop"), seconds=5)
    store = stores_for_role(own, by_external_id(arn), None).at()
    for _ in range(3):
        store.describe(SECRET)
    assert len({call.caller for call in proxy.calls if call.name == "DescribeSecret"}) == 3


def test_what_aws_takes_back_before_it_expires_is_fetched_anew(
    own: AwsStores, federated: AssumedRole, proxy: StoreProxy
) -> None:
    tokens = Tokens()
    store = stores_for_role(own, federated, tokens).at()
    store.describe(SECRET)
    proxy.answer_with("ExpiredTokenException", "The security token included in the request is expired", times=1)
    with pytest.raises(
        AccessDenied, match=r"does not accept the credentials of role \S+:role/orders .* new ones are requested"
    ):
        store.describe(SECRET)
    store.describe(SECRET)
    assert len(tokens.given) == 2


def test_requests_of_every_identity_are_counted(
    own: AwsStores, federated: AssumedRole, requests: list[tuple[str, str]]
) -> None:
    stores_for_role(own, federated, Tokens()).at().describe(SECRET)
    assert requests == [("AssumeRoleWithWebIdentity", "ok"), ("DescribeSecret", "ok")]


def test_what_a_role_may_not_do_is_said_of_the_role(own: AwsStores, federated: AssumedRole, tenant: Tenant) -> None:
    tenant.allow("orders", set(ROTATES) - {"secretsmanager:DescribeSecret"})
    told = str(refused(own, federated, Tokens()))
    assert f"allow secretsmanager:DescribeSecret to role {federated.arn}" in told


class TestTellsWhatToMend:
    def test_of_a_role_that_does_not_trust_the_namespace(
        self, own: AwsStores, account: SecretsManager, tenant: Tenant
    ) -> None:
        arn = tenant.role("orders", tenant.trusting_operator(account, "prod/shop"))
        told = refused(own, by_external_id(arn, "prod/evil"))
        assert isinstance(told, AccessDenied)
        assert '"Condition": {"StringEquals": {"sts:ExternalId": "prod/evil"}}' in str(told)
        assert "User: arn:aws:iam::" in str(told)

    def test_of_a_role_that_is_not_there(self, own: AwsStores, tenant: Tenant) -> None:
        told = refused(own, by_external_id(f"arn:aws:iam::{tenant.account}:role/nobody"))
        assert isinstance(told, AccessDenied)

    def test_of_a_role_that_does_not_trust_the_account(self, own: AwsStores, federated: AssumedRole) -> None:
        other = "system:serviceaccount:shop:payments"
        told = refused(own, AssumedRole(federated.arn, "shop.payments", subject=other), Tokens(sub=other))
        assert isinstance(told, AccessDenied)
        host = ISSUER.partition("://")[2]
        assert f'"StringEquals": {{"{host}:sub": "{other}", "{host}:aud": "sts.amazonaws.com"}}' in str(told)
        assert f"oidc-provider/{host}" in str(told)

    def test_of_an_account_that_does_not_know_the_cluster(self, own: AwsStores, tenant: Tenant) -> None:
        arn = tenant.role("orders", tenant.trusting_account(ISSUER, "shop", "orders"))
        told = refused(own, by_token(arn), Tokens())
        assert isinstance(told, AccessDenied)
        assert f"aws iam create-open-id-connect-provider --url {ISSUER} --client-id-list sts.amazonaws.com" in str(told)

    def test_of_a_provider_for_another_audience(self, own: AwsStores, tenant: Tenant) -> None:
        tenant.provider(ISSUER, "somebody-else")
        arn = tenant.role("orders", tenant.trusting_account(ISSUER, "shop", "orders"))
        assert "--client-id-list sts.amazonaws.com" in str(refused(own, by_token(arn), Tokens()))

    def test_of_a_token_that_came_too_late(self, own: AwsStores, federated: AssumedRole) -> None:
        assert "clocks" in str(refused(own, federated, Tokens(exp=time.time() - 1)))

    def test_of_a_session_that_aws_would_not_name(self, own: AwsStores) -> None:
        told = refused(own, AssumedRole(Arn("arn:aws:iam::111122223333:role/x"), "s", external_id="prod/shop"))
        assert isinstance(told, StoreRefused)

    def test_of_nothing_where_sts_is_away(self, own: AwsStores, federated: AssumedRole, proxy: StoreProxy) -> None:
        with proxy.partitioned():
            assert isinstance(refused(own, federated, Tokens()), StoreUnavailable)


def test_nothing_secret_is_logged(
    own: AwsStores, federated: AssumedRole, tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = Tokens()
    with caplog.at_level(logging.DEBUG):
        password(stores_for_role(own, federated, tokens))
        tenant.trust("orders", tenant.trusting_account(ISSUER, "shop", "somebody-else"))
        told = str(refused(own, federated, tokens))
    assert "AWS answered AssumeRoleWithWebIdentity" in caplog.text
    for text in (caplog.text, told):
        assert not any(mark in text for mark in (SECRET_MARK, TOKEN_MARK, "canary-signature", *tokens.given))


def test_identities_of_one_account_share_its_quota(
    connect: Connect, account: SecretsManager, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", account.endpoint_url)
    own = connect(AwsSettings(region=account.region, writes_per_second=4))
    trust = tenant.trusting_operator(account, "prod/shop")
    one, two = (stores_for_role(own, by_external_id(tenant.role(name, trust)), None).at() for name in ("one", "two"))
    arn, value = one.describe(SECRET).arn, SecretValue.parse("{}")
    two.describe(SECRET)
    began = time.monotonic()
    for store in (one, two, one):
        store.put_pending(arn, VersionId("5d1b8a00-0000-4000-8000-000000000000"), value)
    assert time.monotonic() - began >= 0.5


class TestWhatTheDocumentsSay:
    """Copied as it stands there, but for the names of accounts."""

    @pytest.fixture
    def policies(self, tenant: Tenant, account: SecretsManager) -> list[dict[str, Any]]:
        text = DOCUMENT.read_text().replace("111122223333", tenant.account)
        text = text.replace("444455556666", account.access_key_id)
        return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]

    def test_trusts_the_account_and_lets_it_rotate(
        self, own: AwsStores, tenant: Tenant, policies: list[dict[str, Any]]
    ) -> None:
        (issuer,) = set(re.findall(r"--url (https://\S+)", DOCUMENT.read_text()))
        tenant.provider(issuer)
        trust, may, *_ = policies
        arn = tenant.role("orders", trust, actions=allowed(may))
        store = stores_for_role(own, by_token(arn), Tokens(iss=issuer)).at()
        version = store.get(SECRET)
        new = VersionId("5d1b8a00-0000-4000-8000-000000000000")
        store.put_pending(version.arn, new, version.value)
        store.move_stage(version.arn, Stage.CURRENT, to=new, remove_from=version.version_id)
        assert store.describe(SECRET).version_at(Stage.CURRENT) == new
        assert [row.name for row in store.list_summaries()] == [SECRET]

    def test_trusts_the_operator_for_one_namespace(
        self, own: AwsStores, tenant: Tenant, policies: list[dict[str, Any]]
    ) -> None:
        _, _, trust, may = policies
        arn = tenant.role("orders", trust)
        assert allowed(may) == {"sts:AssumeRole"}
        stores_for_role(own, by_external_id(arn, "prod/shop"), None).at().describe(SECRET)
        assert isinstance(refused(own, by_external_id(arn, "prod/evil")), AccessDenied)


def allowed(policy: dict[str, Any]) -> set[str]:
    actions = (each["Action"] for each in policy["Statement"])
    return {action for each in actions for action in ([each] if isinstance(each, str) else each)}
