"""One AWS secret in several namespaces: one RotatedSecret rotates it, the others deliver it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from rotated_secrets.api.key import Key
from rotated_secrets.api.names import RESYNC_ANNOTATION
from tests.support.fake_operator import KEY, SPEC, FakeOperator, fake_operator, with_admin, write_policy

FOLLOWER = Key("reports", "orders")
FOLLOWS = {"source": {"secretId": "shop/orders"}, "rotation": {"strategy": "External"}}


def password(operator: FakeOperator, namespace: str, name: str) -> str:
    secret = operator.target(name, namespace)
    assert secret is not None
    return base64.b64decode(secret["data"]["password"]).decode()


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeOperator]:
    """An operator whose policy allows the secret to two namespaces."""
    rules = [
        {"namespaces": ["shop", "reports"], "secrets": ["shop/orders"]},
        {"namespaces": ["shop"], "adminSecrets": ["shop/admin/*"]},
    ]
    policy = write_policy(tmp_path / "policy.yaml", *rules)
    with fake_operator(monkeypatch, access_policy_file=str(policy)) as operator:
        yield with_admin(operator)


@pytest.mark.parametrize("follower_first", [True, False])
def test_value_that_one_rotates_is_delivered_in_every_namespace(shared: FakeOperator, follower_first: bool) -> None:
    made = {KEY: SPEC, FOLLOWER: FOLLOWS}
    for second, key in enumerate(reversed(made) if follower_first else made):
        shared.apply(made[key], key=key, creationTimestamp=f"2026-01-01T00:00:0{second}Z")
        shared.settle(key)
    shared.ask("now", key=KEY)
    shared.settle(KEY)
    shared.ask("look", key=FOLLOWER, annotation=RESYNC_ANNOTATION)
    shared.settle(FOLLOWER)
    assert [entry["outcome"] for entry in shared.status(KEY)["history"]] == ["Succeeded"]
    delivered = {password(shared, *key) for key in made}
    assert len(delivered) == 1
    assert delivered != {"first"}
    assert [shared.condition("Ready", key)[0] for key in made] == ["True", "True"]


def test_request_to_one_that_follows_is_held_while_another_rotates(shared: FakeOperator) -> None:
    shared.apply(FOLLOWS, key=FOLLOWER, creationTimestamp="2026-01-01T00:00:00Z")
    shared.apply(SPEC, key=KEY, creationTimestamp="2026-01-01T00:00:01Z")
    for key in (KEY, FOLLOWER):
        shared.settle(key)
    shared.ask("now", key=FOLLOWER)
    shared.settle(FOLLOWER)
    assert shared.condition("Held", FOLLOWER)[:2] == ("True", "ManagedElsewhere")
    assert "shop/orders" in shared.condition("Held", FOLLOWER)[2]
