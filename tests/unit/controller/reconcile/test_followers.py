"""Several RotatedSecrets on one secret: one rotates it, and all others deliver what it made at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rotated_secrets.api.key import Key
from tests.support.fake_operator import KEY, SPEC, FakeOperator, fake_operator, with_admin, write_policy

NEIGHBOUR, ELSEWHERE = Key("shop", "copy"), Key("billing", "orders")
FOLLOWERS = (NEIGHBOUR, ELSEWHERE)
SHARED = {"namespaces": ["shop", "billing"], "secrets": ["shop/*"], "adminSecrets": ["shop/admin/*"]}


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeOperator]:
    """The oldest rotates the secret; its neighbour and one in another namespace follow. All have delivered it."""
    path = write_policy(tmp_path / "policy.yaml", SHARED)
    with fake_operator(monkeypatch, access_policy_file=path) as operator:
        with_admin(operator)
        for number, key in enumerate((KEY, *FOLLOWERS)):
            operator.apply(SPEC, key=key, creationTimestamp=f"2026-01-0{number + 1}T00:00:00Z")
        settle(operator)
        operator.looked_at.clear()
        yield operator


def settle(operator: FakeOperator) -> None:
    for key in (KEY, *FOLLOWERS, *FOLLOWERS, KEY):
        operator.settle(key)


def versions(operator: FakeOperator) -> set[str]:
    """What is in the target Secrets."""
    targets = [operator.target("orders"), operator.target("copy"), operator.target("orders", "billing")]
    return {target["metadata"]["annotations"]["rotatedsecrets.io/version-id"] for target in targets if target}


def test_followers_in_every_namespace_are_looked_at_when_awscurrent_moves(shared: FakeOperator) -> None:
    before = versions(shared)
    shared.ask("now")
    shared.reconcile()
    assert set(shared.looked_at) == set(FOLLOWERS)
    for key in FOLLOWERS:
        shared.reconcile(key)
    assert len(versions(shared)) == 1
    assert versions(shared) != before


def test_followers_do_not_wait_until_the_run_that_moved_it_has_ended(shared: FakeOperator) -> None:
    """What comes after, such as the delivery, may fail and be tried again for long."""
    told: list[set[Key]] = []

    def before_call(operation: str, asked: str) -> None:
        if operation == "UpdateSecretVersionStage":
            told.append(set(shared.looked_at))

    shared.aws.before_call = before_call
    shared.ask("now")
    shared.reconcile()
    assert told[0] == set()
    assert told[-1] == set(FOLLOWERS), "when AWSPENDING is removed, they are told"


def test_follower_that_sees_a_move_first_tells_the_others(shared: FakeOperator) -> None:
    """Its identity's poll, or a resync, may come earlier than theirs."""
    shared.aws.find("shop/orders").put(shared.credential(password="by-hand"), "by-hand")
    shared.ask("look", key=ELSEWHERE, annotation="rotatedsecrets.io/resync")
    shared.reconcile(ELSEWHERE)
    assert set(shared.looked_at) == {KEY, NEIGHBOUR}


def test_each_move_costs_each_follower_one_look(shared: FakeOperator) -> None:
    shared.ask("now")
    shared.reconcile()
    shared.looked_at.clear()
    for key in FOLLOWERS:
        shared.reconcile(key)
    assert shared.looked_at == [], "followers do not wake each other"


def test_one_that_may_not_have_the_secret_is_not_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write_policy(tmp_path / "policy.yaml", SHARED | {"namespaces": ["shop"]})
    with fake_operator(monkeypatch, access_policy_file=path) as operator:
        with_admin(operator)
        for key in (KEY, ELSEWHERE):
            operator.apply(SPEC, key=key)
            operator.settle(key)
        operator.looked_at.clear()
        operator.ask("now")
        operator.reconcile()
        assert ELSEWHERE not in operator.looked_at


def test_nothing_is_kept_of_a_secret_that_nothing_names(shared: FakeOperator) -> None:
    index = shared.services.index
    assert index._currents
    for key in (KEY, *FOLLOWERS):
        shared.delete(key)
    assert index._currents == {}
