"""Which identity the cluster allows a resource to use; no test makes a request to AWS."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from rotated_secrets.api.key import Key
from rotated_secrets.api.resource import RotatedSecret
from rotated_secrets.controller.aws.identities import MAX_IN_NAMESPACE, Identities, Identity
from rotated_secrets.controller.aws.service_accounts import ServiceAccount
from rotated_secrets.secretstores.aws import AwsSettings, AwsStores
from rotated_secrets.secretstores.base import AccessDenied, StoreUnavailable
from rotated_secrets.secretstores.roles import MAX_SESSION_NAME, session_name
from rotated_secrets.values import SecretText

ROLE = "arn:aws:iam::111122223333:role/orders"
AGREES = ServiceAccount("shop", "orders", "uid-1", ROLE, frozenset({"orders"}))


class Accounts:
    """The ServiceAccounts of namespace shop."""

    def __init__(self, *accounts: ServiceAccount) -> None:
        self.accounts = {each.name: each for each in accounts}
        self.away = False
        self.reads = 0

    def read(self, namespace: str, name: str) -> ServiceAccount:
        self.reads += 1
        if self.away:
            raise StoreUnavailable("the API server does not answer")
        if name not in self.accounts:
            raise AccessDenied(f"there is no ServiceAccount {name} in namespace {namespace}")
        return self.accounts[name]

    def token(self, namespace: str, name: str, audience: str) -> SecretText:
        raise AssertionError("nothing is asked for before it is needed")

    def change(self, name: str, **changes: Any) -> None:
        self.accounts[name] = replace(self.accounts[name], **changes)


@pytest.fixture
def accounts() -> Accounts:
    return Accounts(AGREES)


@pytest.fixture
def identities(accounts: Accounts) -> Identities:
    return Identities(AwsStores(AwsSettings(region="eu-west-1")), accounts, "prod")  # type: ignore[arg-type]


def resource(name: str = "orders", namespace: str = "shop", **credentials: str) -> RotatedSecret:
    source: dict[str, Any] = {"secretId": f"{namespace}/{name}"} | ({"credentials": credentials} if credentials else {})
    metadata = {"namespace": namespace, "name": name, "uid": name, "resourceVersion": "1", "generation": 1}
    return RotatedSecret.parse(
        {
            "apiVersion": "rotatedsecrets.io/v1alpha1",
            "kind": "RotatedSecret",
            "metadata": metadata | {"creationTimestamp": "2026-11-22T00:00:00Z"},
            "spec": {"source": source, "rotation": {"strategy": "RandomValue"}},
        }
    )


def denied(identities: Identities, wanted: RotatedSecret) -> str:
    with pytest.raises(AccessDenied) as caught:
        identities.of(wanted)
    return str(caught.value)


def test_resource_without_credentials_uses_the_operators_identity(identities: Identities, accounts: Accounts) -> None:
    assert identities.of(resource()) is identities.own
    assert accounts.reads == 0


def test_account_that_allows_the_resource_gives_its_role_and_token(identities: Identities) -> None:
    role = identities.of(resource(serviceAccountName="orders")).role
    assert role is not None
    assert (role.arn, role.external_id) == (ROLE, None)
    assert (role.subject, role.subject_uid) == ("system:serviceaccount:shop:orders", "uid-1")
    assert role.session == "shop.orders"


def test_spec_chooses_the_role_before_the_annotation(identities: Identities) -> None:
    other = ROLE.replace("orders", "other")
    found = identities.of(resource(serviceAccountName="orders", roleArn=other)).role
    assert found is not None
    assert found.arn == other
    assert found.subject == "system:serviceaccount:shop:orders"


def test_external_id_is_the_clusters_and_the_namespaces(identities: Identities) -> None:
    found = [identities.of(resource(namespace=each, roleArn=ROLE)).role for each in ("shop", "evil")]
    assert [each.external_id for each in found if each] == ["prod/shop", "prod/evil"]


def test_operator_without_cluster_name_assumes_no_role(accounts: Accounts) -> None:
    nameless = Identities(AwsStores(AwsSettings(region="eu-west-1")), accounts, None)  # type: ignore[arg-type]
    assert "--cluster-name" in denied(nameless, resource(roleArn=ROLE))


@pytest.mark.parametrize(
    ("agreed", "command"),
    [
        (frozenset(), "rotatedsecrets.io/token-for=orders"),
        (frozenset({"payments"}), "rotatedsecrets.io/token-for=orders,payments"),
        (frozenset({"order"}), "rotatedsecrets.io/token-for=order,orders"),
    ],
)
def test_denial_by_an_account_contains_the_command_that_allows_it(
    identities: Identities, accounts: Accounts, agreed: frozenset[str], command: str
) -> None:
    accounts.change("orders", token_for=agreed)
    expected = f"kubectl annotate serviceaccount orders --namespace shop --overwrite {command}"
    assert denied(identities, resource(serviceAccountName="orders")).endswith(expected)


def test_account_may_allow_all_resources(identities: Identities, accounts: Accounts) -> None:
    accounts.change("orders", token_for=frozenset({"*"}))
    assert identities.of(resource("payments", serviceAccountName="orders")).role


@pytest.mark.parametrize("arn", [None, "arn:aws:iam::111122223333:user/root", "orders", f"{ROLE}\n"])
def test_denial_without_a_valid_role_names_the_annotation(
    identities: Identities, accounts: Accounts, arn: str | None
) -> None:
    accounts.change("orders", role_arn=arn)
    assert "eks.amazonaws.com/role-arn=" in denied(identities, resource(serviceAccountName="orders"))


def test_resources_of_one_account_share_an_identity_until_none_uses_it(
    identities: Identities, accounts: Accounts
) -> None:
    accounts.change("orders", token_for=frozenset({"*"}))
    one, two = (resource(name, serviceAccountName="orders") for name in ("one", "two"))
    shared = identities.of(one)
    assert identities.of(two) is shared
    assert identities.of(one) is shared
    identities.forget(Key("shop", "one"))
    assert identities.of(two) is shared
    identities.forget(Key("shop", "two"))
    assert identities.of(two) is not shared


@pytest.mark.parametrize(
    "change", [{"token_for": frozenset({"x"})}, {"uid": "uid-2"}, {"role_arn": ROLE + "2"}], ids=["mind", "uid", "role"]
)
def test_review_finds_a_changed_account_and_the_old_identity_is_not_used_again(
    identities: Identities, accounts: Accounts, change: dict[str, Any]
) -> None:
    before = identities.of(resource(serviceAccountName="orders"))
    assert identities.review() == (set(), set())
    accounts.change("orders", **change)
    assert identities.review() == ({Key("shop", "orders")}, {before})
    if "token_for" in change:
        denied(identities, resource(serviceAccountName="orders"))
    else:
        assert identities.of(resource(serviceAccountName="orders")) is not before
    assert identities.review() == (set(), set())


def test_denial_for_one_resource_does_not_end_a_shared_identity(identities: Identities, accounts: Accounts) -> None:
    accounts.change("orders", token_for=frozenset({"one", "two"}))
    for name in ("one", "two"):
        identities.of(resource(name, serviceAccountName="orders"))
    accounts.change("orders", token_for=frozenset({"two"}))
    accounts.reads = 0
    assert identities.review() == ({Key("shop", "one")}, set())
    assert accounts.reads == 1


def test_review_returns_identities_whose_account_cannot_be_read(identities: Identities, accounts: Accounts) -> None:
    before = identities.of(resource(serviceAccountName="orders"))
    accounts.away = True
    assert identities.review() == (set(), {before})
    accounts.away = False
    assert identities.review() == (set(), set())


def test_resource_that_changes_to_the_operators_identity_leaves_its_old_one(identities: Identities) -> None:
    before = identities.of(resource(roleArn=ROLE))
    assert identities.of(resource()) is identities.own
    assert identities.of(resource(roleArn=ROLE)) is not before


def test_number_of_identities_of_one_namespace_is_limited(identities: Identities) -> None:
    for number in range(MAX_IN_NAMESPACE):
        identities.of(resource(f"r{number}", roleArn=f"{ROLE}{number}"))
    assert "already uses 50 AWS identities" in denied(identities, resource("one-more", roleArn=f"{ROLE}-more"))
    assert identities.of(resource("r0", roleArn=f"{ROLE}-other")).role, "who has one may have another instead"
    assert identities.of(resource("shares", roleArn=f"{ROLE}1")).role
    assert identities.of(resource("r1", namespace="other", roleArn=ROLE)).role


def test_clients_of_the_least_recently_used_identity_are_evicted_and_made_again_when_needed(
    identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rotated_secrets.controller.aws.identities.MAX_IN_MEMORY", 2)
    one, two, three = (identities.of(resource(f"r{each}", roleArn=f"{ROLE}{each}")) for each in range(3))
    assert not one.has_clients, "nothing is made before it is needed"
    first = one.stores
    assert two.stores is not first
    assert one.stores is first
    assert three.stores
    assert [each.has_clients for each in (one, two, three)] == [True, False, True]
    assert identities.of(resource("r1", roleArn=f"{ROLE}1")) is two, "it is still the same identity"
    assert two.stores.account() == "111122223333"
    assert [each.has_clients for each in (one, two, three)] == [False, True, True]
    identities.forget(Key("shop", "r2"))
    assert one.stores
    assert two.has_clients, "who is gone takes no room"
    assert identities.own.stores


def test_use_of_an_identity_that_was_forgotten_evicts_no_other(
    identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rotated_secrets.controller.aws.identities.MAX_IN_MEMORY", 2)
    forgotten, one, two = (identities.of(resource(f"r{each}", roleArn=f"{ROLE}{each}")) for each in range(3))
    identities.forget(Key("shop", "r0"))
    assert one.stores
    assert two.stores
    assert forgotten.stores
    assert one.has_clients
    assert two.has_clients


def test_account_of_a_role_is_in_its_arn_and_only_the_operators_is_asked_for(identities: Identities) -> None:
    by_role = identities.of(resource(roleArn=ROLE))
    assert by_role.account == "111122223333"
    assert not by_role.has_clients
    stores: Any = SimpleNamespace(account=lambda: "999988887777")
    assert Identity(lambda: stores).account == "999988887777"


@pytest.mark.parametrize("name", ["orders", "a" * 253, "orders.v2"])
def test_session_name_is_valid_for_aws(name: str) -> None:
    found = session_name("shop", name)
    assert found.startswith("shop.")
    assert 2 <= len(found) <= MAX_SESSION_NAME


def test_long_names_have_different_session_names() -> None:
    assert session_name("shop", "a" * 100) != session_name("shop", "a" * 101)
