"""Polls of the change feeds on fakes: what fails is logged, and stops nothing else."""

from __future__ import annotations

import pytest

from rotated_secrets.api.key import Key
from rotated_secrets.api.names import ROLE_ANNOTATION, TOKEN_ANNOTATION
from rotated_secrets.secretstores.base import StoreUnavailable
from tests.support.fake_aws import HOME
from tests.support.fake_operator import KEY, SPEC, FakeOperator, changed, fake_operator, with_admin, write_policy

US = "us-east-1"


def fails(operation: str, asked: str) -> None:
    if operation == "ListSecrets":
        raise StoreUnavailable("AWS does not answer")


def test_poll_that_fails_is_logged_with_its_region_and_tried_again(
    operator: FakeOperator, caplog: pytest.LogCaptureFixture
) -> None:
    with_admin(operator).apply(SPEC)
    operator.settle()
    operator.services.feeds.poll()
    operator.aws.before_call = fails
    operator.services.feeds.poll()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "region eu-west-1" in record.getMessage()
    assert "AWS does not answer" in record.getMessage()
    operator.aws.before_call = lambda operation, asked: None
    operator.aws.find("shop/orders").put(operator.credential(password="by-hand"), "by-hand")
    operator.looked_at.clear()
    operator.services.feeds.poll()
    assert operator.looked_at == [KEY]


@pytest.mark.parametrize("about", [{"primary_region": "us-east-1"}, {"rotation_enabled": True}])
def test_secret_that_aws_rotates_no_more_is_noticed_at_the_next_poll(
    operator: FakeOperator, about: dict[str, object]
) -> None:
    secret = with_admin(operator).aws.find("shop/orders")
    secret.about.update(about)
    operator.apply(SPEC)
    operator.ask("one")
    operator.settle()
    assert operator.condition("Held")[:2] == ("True", "ManagedElsewhere")
    secret.about.clear()
    operator.looked_at.clear()
    operator.services.feeds.poll()
    assert operator.looked_at == [KEY]
    operator.services.feeds.poll()
    assert operator.looked_at == [KEY]


def test_fault_in_a_poll_is_logged_and_does_not_end_the_polls(
    operator: FakeOperator, caplog: pytest.LogCaptureFixture
) -> None:
    def is_broken(operation: str, asked: str) -> None:
        raise RuntimeError("a fault")

    with_admin(operator).apply(SPEC)
    operator.settle()
    operator.aws.before_call = is_broken
    operator.services.feeds.poll()
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_region_that_fails_does_not_keep_another_from_being_polled(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rule = {"namespaces": ["shop"], "secrets": ["shop/*"], "adminSecrets": ["shop/admin/*"]}
    path = write_policy(tmp_path_factory.mktemp("policy") / "policy.yaml", rule, rule | {"regions": [US]})
    with fake_operator(monkeypatch, access_policy_file=path) as operator:
        with_admin(operator).apply(SPEC)
        there = operator.aws.create("shop/there", operator.credential(), region=US)
        other = Key("shop", "there")
        operator.apply(changed(SPEC, source={"secretId": "shop/there", "region": US}), key=other)
        for key in (KEY, other):
            operator.settle(key)
        operator.services.feeds.poll()
        there.put(operator.credential(password="by-hand"), "by-hand")
        left = [StoreUnavailable("AWS does not answer")]

        def first_fails(operation: str, asked: str) -> None:
            if left:
                raise left.pop()

        operator.aws.before_call = first_fails
        operator.looked_at.clear()
        operator.services.feeds.poll()
        operator.services.feeds.poll()
        assert other in operator.looked_at


@pytest.mark.parametrize("role", ["arn:aws:iam::111122223333:role/another", None])
def test_account_whose_role_changes_has_its_resources_looked_at(operator: FakeOperator, role: str | None) -> None:
    where = "/api/v1/namespaces/shop/serviceaccounts/orders"
    first = f"arn:aws:iam::{HOME}:role/orders"
    agreed = {TOKEN_ANNOTATION: "*", ROLE_ANNOTATION: first}
    operator.cluster.put(where, {"metadata": {"annotations": agreed}})
    operator.aws.create("shop/orders", "a-token")
    source = {"secretId": "shop/orders", "credentials": {"serviceAccountName": "orders"}}
    operator.apply({"source": source, "rotation": {"strategy": "RandomValue"}})
    operator.settle()
    assert operator.condition()[0] == "True"
    operator.services.feeds.poll()
    operator.looked_at.clear()
    operator.cluster.put(where, {"metadata": {"annotations": agreed | {ROLE_ANNOTATION: role or ""}}})
    operator.aws.calls.clear()
    operator.services.feeds.poll()
    assert operator.looked_at == [KEY]
    assert operator.aws.calls == [], "nothing is asked as an identity that may be nobody's now"
