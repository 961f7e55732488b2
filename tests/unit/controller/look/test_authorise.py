"""Whether a RotatedSecret may ask for its secret, and as which AWS identity: before AWS is asked for anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rotated_secrets.api.key import Key
from rotated_secrets.api.names import ROLE_ANNOTATION, TOKEN_ANNOTATION
from rotated_secrets.controller.work.queue import RetryLater
from rotated_secrets.secretstores.base import AccessDenied, StoreUnavailable
from tests.support.fake_aws import HOME, REGION, FakeSecret, FakeStores
from tests.support.fake_operator import (
    KEY,
    SPEC,
    FakeOperator,
    changed,
    fake_operator,
    path_of,
    with_admin,
    write_policy,
)

ELSEWHERE = "999988887777"
ROLE = f"arn:aws:iam::{ELSEWHERE}:role/orders"
ALLOWED = {"namespaces": ["shop"], "secrets": ["shop/*"], "adminSecrets": ["shop/admin/*"]}
EVERYWHERE = {"namespaces": ["shop"], "secrets": ["shop/*"], "accounts": [ELSEWHERE]}


def denied(operator: FakeOperator) -> str:
    status, reason, message = operator.condition()
    assert (status, reason) == ("False", "AccessDenied")
    assert "AccessDenied" in operator.events.reasons
    return message


def service_account(operator: FakeOperator, **annotations: str) -> None:
    operator.cluster.put("/api/v1/namespaces/shop/serviceaccounts/orders", {"metadata": {"annotations": annotations}})


def test_secret_that_the_policy_denies_costs_no_call_to_aws(operator: FakeOperator) -> None:
    operator.secret("billing/orders")
    operator.apply(changed(SPEC, source={"secretId": "billing/orders"}))
    operator.reconcile()
    assert "may not use billing/orders" in denied(operator)
    assert operator.aws.calls == []


def test_arn_of_another_account_costs_no_call_to_aws(operator: FakeOperator) -> None:
    arn = f"arn:aws:secretsmanager:{REGION}:{ELSEWHERE}:secret:shop/orders-AbCdEf"
    operator.apply(changed(SPEC, source={"secretId": arn}))
    operator.reconcile()
    denied(operator)
    assert operator.aws.calls == []


def test_denied_resource_is_looked_at_again_within_minutes_without_a_failure(operator: FakeOperator) -> None:
    operator.apply(changed(SPEC, source={"secretId": "billing/orders"}))
    assert operator.reconcile() is not None


def test_secret_that_is_denied_after_it_was_followed_is_followed_no_longer(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()
    operator.apply(changed(SPEC, source={"secretId": "billing/orders"}))
    operator.reconcile()
    operator.aws.calls.clear()
    operator.services.feeds.poll()
    assert operator.aws.calls == []


class TestOfTwoOnOneSecret:
    """The older one alone rotates it; but one that may not have it blocks no other."""

    OLD, YOUNG = Key("old", "orders"), Key("shop", "young")

    @pytest.fixture
    def policy(self, tmp_path: Path) -> Path:
        return write_policy(tmp_path / "policy.yaml", ALLOWED)

    @pytest.fixture
    def operator(self, monkeypatch: pytest.MonkeyPatch, policy: Path) -> Iterator[FakeOperator]:
        with fake_operator(monkeypatch, access_policy_file=policy) as running:
            secret = with_admin(running).aws.find("shop/orders")
            spec = changed(SPEC, source={"secretId": secret.arn})
            running.apply(spec, key=self.OLD, creationTimestamp="2020-01-01T00:00:00Z")
            running.apply(spec, key=self.YOUNG)
            yield running

    def held(self, operator: FakeOperator) -> str:
        operator.settle(self.YOUNG)
        return operator.condition("Held", self.YOUNG)[1]

    def test_older_one_that_no_look_was_taken_at_blocks_only_if_it_may_have_the_secret(
        self, operator: FakeOperator, policy: Path
    ) -> None:
        assert self.held(operator) == "NotHeld"
        write_policy(policy, ALLOWED | {"namespaces": ["shop", "old"]})
        assert self.held(operator) == "ManagedElsewhere"

    def test_older_one_that_is_denied_the_secret_does_not_block_the_younger(
        self, operator: FakeOperator, policy: Path
    ) -> None:
        write_policy(policy, ALLOWED | {"namespaces": ["shop", "old"]})
        operator.reconcile(self.OLD)
        assert self.held(operator) == "ManagedElsewhere"
        write_policy(policy, ALLOWED)
        operator.looked_at.clear()
        operator.settle(self.OLD)
        assert operator.condition(key=self.OLD)[1] == "AccessDenied"
        assert self.YOUNG in operator.looked_at
        assert self.held(operator) == "NotHeld"

    def test_older_one_that_is_allowed_again_blocks_the_younger_again(
        self, operator: FakeOperator, policy: Path
    ) -> None:
        operator.reconcile(self.OLD)
        assert self.held(operator) == "NotHeld"
        write_policy(policy, ALLOWED | {"namespaces": ["shop", "old"]})
        operator.looked_at.clear()
        operator.settle(self.OLD)
        assert self.YOUNG in operator.looked_at
        assert self.held(operator) == "ManagedElsewhere"

    def test_older_one_that_is_deleted_does_not_block_the_younger(self, operator: FakeOperator, policy: Path) -> None:
        write_policy(policy, ALLOWED | {"namespaces": ["shop", "old"]})
        assert self.held(operator) == "ManagedElsewhere"
        spec = operator.cluster.objects[path_of(self.OLD)]["spec"]
        operator.apply(spec, key=self.OLD, deletionTimestamp="2026-02-01T00:00:00Z")
        operator.reconcile(self.OLD)
        assert self.held(operator) == "NotHeld"

    def test_older_one_whose_spec_does_not_parse_does_not_block_the_younger(self, operator: FakeOperator) -> None:
        source = operator.cluster.objects[path_of(self.OLD)]["spec"]["source"]
        operator.apply({"source": source, "rotation": {"strategy": "Unheard"}}, key=self.OLD)
        operator.reconcile(self.OLD)
        assert operator.condition(key=self.OLD)[1] == "InvalidSpec"
        assert self.held(operator) == "NotHeld"


def test_spec_that_does_not_parse_gives_up_what_was_followed(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()
    operator.apply({"source": {}})
    assert operator.reconcile() is None
    assert operator.condition()[:2] == ("False", "InvalidSpec")
    operator.aws.calls.clear()
    operator.services.feeds.poll()
    assert operator.aws.calls == []


def test_deleted_resource_is_given_up_and_writes_only_that_it_is_being_deleted(operator: FakeOperator) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()
    written = len(operator.cluster.writes)
    operator.apply(SPEC, deletionTimestamp="2026-02-01T00:00:00Z")
    assert operator.reconcile() is None
    operator.aws.calls.clear()
    operator.services.feeds.poll()
    assert operator.aws.calls == []
    assert operator.cluster.writes[written:] == [("PATCH", f"{path_of(KEY)}/status")]
    del operator.cluster.objects[path_of(KEY)]["metadata"]["deletionTimestamp"]
    assert operator.looks_afresh(), "what was seen of a deleted resource is kept"


def agreed(operator: FakeOperator) -> FakeSecret:
    """The ServiceAccount agrees for every RotatedSecret, and its role's account has the secret."""
    service_account(operator, **{ROLE_ANNOTATION: ROLE, TOKEN_ANNOTATION: "*"})
    return operator.secret("shop/orders", "a-token", account=ELSEWHERE)


class TestOtherIdentities:
    """RotatedSecrets with ``source.credentials``."""

    @pytest.fixture
    def spec(self) -> dict[str, Any]:
        credentials = {"credentials": {"serviceAccountName": "orders"}}
        rotation = {"strategy": "RandomValue"}
        return {"source": {"secretId": "shop/orders", **credentials}, "rotation": rotation}

    @pytest.fixture
    def operator(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
        policy = write_policy(tmp_path / "policy.yaml", EVERYWHERE)
        with fake_operator(monkeypatch, access_policy_file=policy) as running:
            yield running

    def test_service_account_that_does_not_agree_costs_no_call_to_aws(
        self, operator: FakeOperator, spec: dict[str, Any]
    ) -> None:
        service_account(operator, **{ROLE_ANNOTATION: ROLE})
        operator.apply(spec)
        with pytest.raises(RetryLater):
            operator.reconcile()
        assert "does not allow RotatedSecret orders" in denied(operator)
        assert operator.aws.calls == []

    def test_secret_is_asked_for_as_the_role_of_the_service_account(
        self, operator: FakeOperator, spec: dict[str, Any]
    ) -> None:
        service_account(operator, **{ROLE_ANNOTATION: ROLE, TOKEN_ANNOTATION: "orders"})
        operator.secret("shop/orders", "a-token", account=ELSEWHERE)
        operator.secret("shop/orders", "not-this-one", account=HOME)
        operator.apply(spec)
        operator.settle()
        assert operator.condition()[0] == "True"
        assert {identity for _, identity, _ in operator.aws.calls} == {f"role {ROLE}"}

    def test_account_that_only_the_role_tells_is_held_against_the_policy_before_any_call(
        self, operator: FakeOperator, spec: dict[str, Any]
    ) -> None:
        other = ROLE.replace(ELSEWHERE, "555566667777")
        service_account(operator, **{ROLE_ANNOTATION: other, TOKEN_ANNOTATION: "orders"})
        operator.secret("shop/orders", "a-token", account="555566667777")
        operator.apply(spec)
        operator.reconcile()
        denied(operator)
        assert operator.aws.calls == []

    def test_secret_that_the_policy_denies_does_not_even_read_the_service_account(
        self, operator: FakeOperator, spec: dict[str, Any]
    ) -> None:
        operator.apply(changed(spec, source={"secretId": "billing/x", "credentials": {"roleArn": ROLE}}))
        operator.reconcile()
        denied(operator)
        assert not [path for _, path in operator.cluster.requests if "serviceaccounts" in path]

    def test_identity_that_does_not_get_its_secret_does_not_block_a_younger_resource(
        self, operator: FakeOperator, spec: dict[str, Any]
    ) -> None:
        """AWS has not proven that the secret is the older one's."""
        secret = agreed(operator)
        operator.apply(spec, creationTimestamp="2020-01-01T00:00:00Z")
        secret.about["deleted_at"] = secret.current.created_at
        with pytest.raises(RetryLater):
            operator.reconcile()
        secret.about.clear()
        young = Key("shop", "young")
        operator.apply(spec, key=young)
        operator.settle(young)
        assert operator.condition("Held", young)[0] == "False"

    def test_older_resource_that_aws_has_not_answered_yet_blocks_the_younger(
        self, operator: FakeOperator, spec: dict[str, Any]
    ) -> None:
        """Its ServiceAccount has told in which account it looks."""
        agreed(operator)
        operator.apply(spec, creationTimestamp="2020-01-01T00:00:00Z")
        young = Key("shop", "young")
        operator.apply(spec, key=young)

        def does_not_answer(operation: str, asked: str) -> None:
            raise StoreUnavailable("AWS does not answer")

        operator.aws.before_call = does_not_answer
        with pytest.raises(RetryLater, match="does not answer"):
            operator.reconcile()
        operator.aws.before_call = lambda operation, asked: None
        operator.settle(young)
        assert operator.condition("Held", young)[1] == "ManagedElsewhere"

    def test_older_resource_of_the_operators_account_does_not_block_the_same_name_in_another(
        self, operator: FakeOperator, spec: dict[str, Any]
    ) -> None:
        agreed(operator)
        own = {"source": {"secretId": "shop/orders"}, "rotation": spec["rotation"]}
        operator.apply(own, key=Key("shop", "own"), creationTimestamp="2020-01-01T00:00:00Z")
        operator.apply(spec)
        operator.settle()
        assert operator.condition("Held")[1] == "NotHeld"

    def test_account_that_no_longer_agrees_ends_the_use_of_its_identity(
        self, operator: FakeOperator, spec: dict[str, Any]
    ) -> None:
        agreed(operator)
        operator.apply(spec, creationTimestamp="2020-01-01T00:00:00Z")
        operator.settle()
        service_account(operator, **{ROLE_ANNOTATION: ROLE, TOKEN_ANNOTATION: "young"})
        operator.services.observed.invalidate(KEY)
        with pytest.raises(RetryLater):
            operator.reconcile()
        young = Key("shop", "young")
        operator.apply(spec, key=young)
        operator.settle(young)
        assert operator.condition("Held", young)[1] == "NotHeld"

    @pytest.mark.parametrize("change", ["denied", "deleted", "unreadable"])
    def test_nothing_is_asked_about_an_account_that_nobody_uses(
        self, operator: FakeOperator, spec: dict[str, Any], change: str
    ) -> None:
        agreed(operator)
        operator.apply(spec)
        operator.settle()
        operator.services.feeds.poll()
        assert operator.cluster.requests[-1][1].endswith("serviceaccounts/orders")
        match change:
            case "denied":
                operator.apply(changed(spec, source={"secretId": "billing/x"}))
            case "deleted":
                operator.apply(spec, deletionTimestamp="2026-02-01T00:00:00Z")
            case "unreadable":
                operator.apply({"source": {}})
        operator.reconcile()
        operator.cluster.requests.clear()
        operator.aws.calls.clear()
        operator.services.feeds.poll()
        assert operator.cluster.requests == []
        assert operator.aws.calls == []

    def test_younger_resource_waits_for_an_older_one_that_gets_the_secret(
        self, operator: FakeOperator, spec: dict[str, Any]
    ) -> None:
        agreed(operator)
        operator.apply(spec, creationTimestamp="2020-01-01T00:00:00Z")
        operator.settle()
        young = Key("shop", "young")
        operator.apply(spec, key=young)
        operator.reconcile(young)
        assert operator.condition("Held", young)[1] == "ManagedElsewhere"


def test_home_account_that_aws_denies_is_told(operator: FakeOperator, monkeypatch: pytest.MonkeyPatch) -> None:
    def denies(self: FakeStores) -> str:
        raise AccessDenied("the operator's credentials are not accepted by AWS")

    monkeypatch.setattr(FakeStores, "account", denies)
    with_admin(operator).apply(SPEC)
    with pytest.raises(RetryLater):
        operator.reconcile()
    assert "not accepted" in denied(operator)
    assert operator.aws.calls == []


def test_policy_that_allows_again_is_noticed_by_the_next_look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write_policy(tmp_path / "policy.yaml")
    with fake_operator(monkeypatch, access_policy_file=path) as operator:
        with_admin(operator).apply(SPEC)
        operator.reconcile()
        denied(operator)
        write_policy(path, {"namespaces": ["shop"], "secrets": ["shop/*"], "adminSecrets": ["shop/admin/*"]})
        operator.settle()
        assert operator.condition() == ("True", "CredentialWorks", operator.condition()[2])
        write_policy(path)
        operator.reconcile(KEY)
        denied(operator)
