"""Each way around the access policy that was thought of, tried on a running operator: it is told, and nothing is read,
written or delivered."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sandbox.application import create_application
from sandbox.kubernetes.client import StatusError
from sandbox.operatorprocess import OperatorProcess
from sandbox.secretsmanager import SecretsManager
from sandbox.stack import Stack
from sandbox.waiting import eventually
from tests.e2e.conftest import DATABASE, StartOperator
from tests.support.applied import Applied

DEFAULT = {"namespaces": ["*"], "secrets": ["{namespace}/*"], "adminSecrets": ["{namespace}/admin/*"]}
ELSEWHERE = "us-east-1"
HOOK = {"webhook": {"url": "https://hooks.example.com", "authSecretName": "auth"}}
NONE = {"creationPolicy": "None"}


@dataclass(frozen=True)
class Others:
    """Secrets that the tenant is not to reach; each is called so that a call about it is known by its name."""

    namespace: str
    """The tenant's."""
    secret: str
    """Another namespace's; so is the next."""
    admin: str
    in_another_region: str
    """Called as if it were the tenant's; so is the next."""
    in_another_account: str
    arns: dict[str, str]

    @classmethod
    def create(cls, store: SecretsManager, namespace: str) -> Others:
        mark = secrets.token_hex(4)
        abroad = store.empty_account()
        places = {
            f"billing-{mark}/ledger": store.client(),
            f"billing-{mark}/admin/ledger": store.client(),
            f"{namespace}/overseas-{mark}": store.client(region=ELSEWHERE),
            f"{namespace}/foreign-{mark}": abroad.client(),
        }
        value = json.dumps({"engine": "postgres", "host": "127.0.0.1", "username": "root", "password": "canary-4711"})
        arns = {name: client.create_secret(Name=name, SecretString=value)["ARN"] for name, client in places.items()}
        another, admin, overseas, foreign = places
        return cls(namespace, another, admin, overseas, foreign, arns)


@dataclass(frozen=True)
class Tenant:
    """A namespace that an operator with a policy of its own serves, and no other operator does."""

    stack: Stack
    namespace: str
    operator: OperatorProcess
    policy: Path
    others: Others

    def rules(self, *rules: dict[str, Any]) -> None:
        """What the policy's file says from now on."""
        changed = self.policy.with_suffix(".new")
        changed.write_text(json.dumps({"rules": rules}))
        changed.rename(self.policy)

    def about(self, name: str) -> list[str]:
        """The calls about a secret, by its name or ARN."""
        return [call.name for call in self.stack.store_proxy.calls if name in call.subject]


@pytest.fixture(scope="module")
def tenant(stack: Stack, make_operator: StartOperator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    made = stack.api.create("/api/v1/namespaces", {"metadata": {"generateName": "tenant-"}})
    namespace = made["metadata"]["name"]
    policy = tmp_path_factory.mktemp("policy") / "policy.yaml"
    policy.write_text(json.dumps({"rules": [DEFAULT]}))
    where = ("--namespaces", namespace, "--lease-name", namespace, "--access-policy-file", str(policy))
    operator = make_operator("policed", *where, "--resync-interval", "1s", "--webhook-hosts", "hooks.example.com")
    # Other regions are asked at the SDK's end point, and to be counted as well.
    operator.environment["AWS_ENDPOINT_URL"] = stack.store_proxy.endpoint_url
    with operator:
        operator.wait_until_it_leads()
        yield Tenant(stack, namespace, operator, policy, Others.create(stack.store, namespace))
    stack.api.delete(f"/api/v1/namespaces/{namespace}")


@pytest.fixture
def orders(tenant: Tenant) -> Iterator[Applied]:
    """An application of the tenant's own."""
    name = f"orders-{secrets.token_hex(4)}"
    applied = Applied(create_application(tenant.stack, tenant.namespace, name, database=DATABASE))
    yield applied
    try:
        applied.delete()
    except StatusError as error:
        assert error.code == 404, error
    tenant.rules(DEFAULT)


Spec = Callable[[Others, Applied], dict[str, Any]]


@dataclass(frozen=True)
class Way:
    """One way to another's secret, or to more than the rotation of an admin's."""

    name: str
    spec: Spec
    says: str
    victim: Callable[[Others, Applied], str]
    rotation: dict[str, Any] = field(default_factory=dict)
    """Where it is not to be AlternatingUsers by the application's own admin."""


def source(named: Callable[[Others], str], **more: str) -> Spec:
    return lambda others, _: {"source": {"secretId": named(others), **more}}


def without_suffix(arn: str) -> str:
    return arn[: -len("-AbCdEf")]


def foreign(others: Others, _: Applied) -> str:
    return others.secret


def own_admin(_: Others, orders: Applied) -> str:
    return orders.application.admin_secret_id


def admin_as_source(**more: Any) -> Spec:
    return lambda _, orders: {"source": {"secretId": orders.application.admin_secret_id}, **more}


SINGLE = {"strategy": "SingleUser"}
NOT_ALLOWED, FOR_ADMINS = "add this rule", "is an admin secret in the operator's access policy"

WAYS = (
    Way("the name of another's", source(lambda others: others.secret), NOT_ALLOWED, foreign),
    Way("its ARN for its name", source(lambda others: others.arns[others.secret]), NOT_ALLOWED, foreign),
    Way(
        "its ARN with another suffix",
        source(lambda o: f"{without_suffix(o.arns[o.secret])}-AAAAAA"),
        NOT_ALLOWED,
        foreign,
    ),
    Way(
        "another region",
        source(lambda others: others.in_another_region, region=ELSEWHERE),
        f'"regions": ["{ELSEWHERE}"]',
        lambda others, _: others.in_another_region,
    ),
    Way(
        "another region by ARN",
        source(lambda others: others.arns[others.in_another_region]),
        f'"regions": ["{ELSEWHERE}"]',
        lambda others, _: others.in_another_region,
    ),
    Way(
        "another account",
        source(lambda others: others.arns[others.in_another_account]),
        '"accounts": ["',
        lambda others, _: others.in_another_account,
    ),
    Way("what an AWS service owns", source(lambda _: "rds!db-4711"), NOT_ALLOWED, lambda *_: "rds!db-4711"),
    Way("an admin secret, delivered", admin_as_source(), FOR_ADMINS, own_admin, SINGLE),
    Way(
        "an admin secret, merged",
        admin_as_source(target={"creationPolicy": "Merge", "deletionPolicy": "Retain"}),
        FOR_ADMINS,
        own_admin,
        SINGLE,
    ),
    Way("an admin secret, for a webhook", admin_as_source(target=NONE, database=HOOK), FOR_ADMINS, own_admin, SINGLE),
    Way(
        "an admin secret, for queries",
        admin_as_source(target=NONE),
        FOR_ADMINS,
        own_admin,
        SINGLE | {"verifyQueries": ["SELECT 1 FROM salaries"]},
    ),
    Way(
        "an admin secret, for a second admin",
        admin_as_source(target=NONE),
        FOR_ADMINS,
        own_admin,
        {"strategy": "AlternatingUsers"},
    ),
    Way(
        "an admin secret by ARN",
        lambda _, orders: {"source": {"secretId": arn_of(orders, orders.application.admin_secret_id)}},
        FOR_ADMINS,
        own_admin,
        SINGLE,
    ),
)


def arn_of(orders: Applied, name: str) -> str:
    return orders.application.store.client().describe_secret(SecretId=name)["ARN"]


def until_denied(orders: Applied, says: str) -> None:
    condition = orders.until("Ready", "False", "AccessDenied")
    assert says in condition["message"]
    assert "canary-4711" not in condition["message"]
    eventually(lambda: "AccessDenied" in orders.reasons(), "the denial is an Event, too")


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_source_that_is_not_the_tenants_is_neither_read_nor_rotated_nor_delivered(
    way: Way, tenant: Tenant, orders: Applied
) -> None:
    stages, victim = orders.application.stages(), way.victim(tenant.others, orders)
    spec = way.spec(tenant.others, orders)
    manifest = orders.application.manifest(spec | ({"rotation": way.rotation} if way.rotation else {}))
    manifest["metadata"]["annotations"] = {"rotatedsecrets.io/rotate": "due"}
    orders.api.create(orders.path, manifest)
    until_denied(orders, way.says)
    assert tenant.about(victim) == []
    assert orders.store_calls() == []
    assert orders.application.stages() == stages
    assert orders.application.users() == {orders.application.user}
    assert orders.secret() is None


def test_arn_with_another_suffix_of_the_tenants_own_finds_nothing(tenant: Tenant, orders: Applied) -> None:
    """AWS compares the whole ARN; what it does not find is not looked for by a part of it."""
    arn = f"{without_suffix(arn_of(orders, orders.application.secret_id))}-AAAAAA"
    orders.apply({"source": {"secretId": arn}}, request="due")
    orders.until("Ready", "False", "SecretNotFound")
    assert {call.name for call in orders.store_calls()} == {"DescribeSecret"}
    assert orders.secret() is None


def test_arn_without_its_suffix_is_no_arn(tenant: Tenant, orders: Applied) -> None:
    with pytest.raises(StatusError, match="its full ARN with the six characters at its end"):
        orders.apply({"source": {"secretId": without_suffix(arn_of(orders, orders.application.secret_id))}})


# ---- admins


@pytest.mark.parametrize(
    "named",
    [
        lambda others, _: others.admin,
        lambda others, _: others.arns[others.admin],
        lambda _, own: own.application.secret_id,
    ],
    ids=["another's by name", "another's by ARN", "no admin's"],
)
def test_admin_that_is_not_the_tenants_sets_no_password(
    named: Callable[[Others, Applied], str], tenant: Tenant, orders: Applied
) -> None:
    orders.apply(request="due", adminSecretId=named(tenant.others, orders))
    until_denied(orders, NOT_ALLOWED)
    assert tenant.about(tenant.others.admin) == []
    assert orders.store_writes() == []
    assert orders.application.users() == {orders.application.user}


def test_masterarn_inside_a_value_is_asked_for_like_any_admin(tenant: Tenant, orders: Applied) -> None:
    orders.application.put_value(masterarn=tenant.others.arns[tenant.others.admin])
    orders.apply({"rotation": {"strategy": "AlternatingUsers"}}, request="due")
    until_denied(orders, NOT_ALLOWED)
    assert tenant.about(tenant.others.admin) == []
    assert orders.store_writes() == []
    assert orders.application.users() == {orders.application.user}


def test_masterarn_that_is_changed_after_it_was_accepted_is_judged_anew(tenant: Tenant, orders: Applied) -> None:
    orders.application.put_value(masterarn=arn_of(orders, orders.application.admin_secret_id))
    orders.apply({"rotation": {"strategy": "AlternatingUsers"}}).until_ready()
    orders.rotate("first")
    users = orders.application.users()
    orders.application.put_value(masterarn=tenant.others.arns[tenant.others.admin])
    stages = orders.application.stages()
    orders.ask("second")
    until_denied(orders, NOT_ALLOWED)
    assert tenant.about(tenant.others.admin) == []
    assert orders.application.stages() == stages
    assert orders.application.users() == users


# ---- the file


def test_rule_that_is_taken_away_and_given_back_takes_effect_without_a_restart(tenant: Tenant, orders: Applied) -> None:
    pid = tenant.operator.pid
    orders.apply().until_ready()
    tenant.rules()
    until_denied(orders, '{"namespaces": ["' + tenant.namespace)
    secret, calls = orders.secret(), len(orders.store_calls())
    orders.ask("while it is denied")
    orders.application.put_value(note="put while it was denied")
    orders.patch({"spec": {"target": {"labels": {"team": "shop"}}}})
    eventually(
        lambda: orders.condition("Ready")["observedGeneration"] == orders.read()["metadata"]["generation"],
        "all that was looked at",
    )
    assert len(orders.store_calls()) == calls
    assert orders.secret() == secret, "what was delivered stays, and follows no longer"
    tenant.rules(DEFAULT)
    orders.ask("now it is allowed")
    orders.until_served("now it is allowed")
    assert (orders.secret() or {})["note"] == "put while it was denied"
    assert tenant.operator.pid == pid


def test_policy_that_cannot_be_read_leaves_the_one_before_in_force_and_shows(tenant: Tenant, orders: Applied) -> None:
    orders.apply().until_ready()
    assert "rotatedsecrets_access_policy_ok 1.0" in tenant.operator.get("/metrics")
    tenant.policy.write_text("rules: everything")
    eventually(
        lambda: "rotatedsecrets_access_policy_ok 0.0" in tenant.operator.get("/metrics"), "a metric shows the problem"
    )
    orders.rotate("by the policy before")
    assert "write one key, rules" in tenant.operator.log()
    tenant.rules(DEFAULT)
    eventually(lambda: "rotatedsecrets_access_policy_ok 1.0" in tenant.operator.get("/metrics"), "all is well again")
