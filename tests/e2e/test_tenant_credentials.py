"""A resource names as whom AWS is asked: a ServiceAccount that agreed, or a role that trusts the namespace.

The secrets are in an account that the operator's own identity cannot read.
"""

from __future__ import annotations

import json
import re
import secrets
import shlex
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.application import create_application
from sandbox.installation import operator_rules
from sandbox.kubernetes.client import Api, StatusError
from sandbox.kubernetes.provider import Cluster, Rule
from sandbox.operatorprocess import OperatorProcess
from sandbox.proxy import Call, Moment
from sandbox.secretsmanager_sessions import ASSUMING, SECRET_MARK, TOKEN_MARK
from sandbox.stack import Stack
from sandbox.tenant import ROTATES, Tenant
from sandbox.waiting import eventually
from tests.e2e.conftest import DATABASE, IMPATIENT
from tests.support.applied import Applied

CLUSTER = "sandbox"
ISSUER = "https://kubernetes.default.svc"
RBAC = "rbac.authorization.k8s.io"
TOKEN_FOR, ROLE = "rotatedsecrets.io/token-for", "eks.amazonaws.com/role-arn"
TOKENS: tuple[Rule, ...] = (
    {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
)


@dataclass(frozen=True)
class Team:
    """A namespace with an operator of its own, and the account that its secrets are in."""

    stack: Stack
    cluster: Cluster
    namespace: str
    tenant: Tenant
    operator: OperatorProcess
    kubeconfig: Path
    policy: Path

    def application(self, tenant: Tenant | None = None, **settings: Any) -> Applied:
        name = f"orders-{secrets.token_hex(4)}"
        settings = {"database": DATABASE, "store": (tenant or self.tenant).store, **settings}
        return Applied(create_application(self.stack, self.namespace, name, **settings))

    def account(self, applied: Applied, annotations: dict[str, str] | None = None, **role: Any) -> str:
        """A ServiceAccount, named as the application is, and a role for it; returns the role's ARN."""
        name = applied.application.name
        arn = self.tenant.role(name, self.tenant.trusting_account(ISSUER, self.namespace, name), **role)
        metadata = {"name": name, "annotations": {ROLE: arn, TOKEN_FOR: name} if annotations is None else annotations}
        self.stack.api.create(self.accounts, {"metadata": metadata})
        return arn

    @property
    def accounts(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/serviceaccounts"

    def annotate(self, name: str, **annotations: str | None) -> None:
        named = {"token_for": TOKEN_FOR, "role": ROLE}
        changed = {named[key]: value for key, value in annotations.items()}
        self.stack.api.patch(f"{self.accounts}/{name}", {"metadata": {"annotations": changed}})

    def allow_tokens(self) -> None:
        """What the chart does for this namespace by tenantCredentials.serviceAccountTokens.namespaces."""
        self.cluster.kubectl("apply", "-f", "-", stdin=self._role())
        eventually(lambda: self._hears() == HTTPStatus.NOT_FOUND, "the role is in force")

    def forbid_tokens(self) -> None:
        self.cluster.kubectl("delete", "-f", "-", stdin=self._role())
        eventually(lambda: self._hears() == HTTPStatus.FORBIDDEN, "the role is gone")

    def _role(self) -> str:
        meta = {"name": "tokens", "namespace": self.namespace}
        role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": meta, "rules": [dict(rule) for rule in TOKENS]}
        subject = {"kind": "ServiceAccount", "name": "operator", "namespace": self.namespace}
        reference = {"apiGroup": RBAC, "kind": "Role", "name": "tokens"}
        binding = {"kind": "RoleBinding", "metadata": meta, "subjects": [subject], "roleRef": reference}
        return yaml.safe_dump_all([role, {"apiVersion": f"{RBAC}/v1", **binding}])

    def _hears(self) -> int:
        """What the operator is told when it asks for a ServiceAccount that isn't there."""
        try:
            Api(self.kubeconfig).get(f"{self.accounts}/nobody")
        except StatusError as error:
            return error.code
        return HTTPStatus.OK

    def calls(self, *names: str, by: str | None = None) -> list[Call]:
        """Of these operations, or of all; by the sessions of an account, or by anybody."""
        found = (call for call in self.stack.store_proxy.calls if not names or call.name in names)
        return [call for call in found if by is None or call.caller.startswith(f"ASIA{by}")]


def rules_for(*accounts: str) -> str:
    """Their own names, in the operator's own account and in these."""
    names = {"namespaces": ["*"], "secrets": ["{namespace}/*"], "adminSecrets": ["{namespace}/admin/*"]}
    return json.dumps({"rules": [names, names | {"accounts": list(accounts)}]})


@pytest.fixture(scope="module")
def running_team(stack: Stack, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    namespace = stack.api.create("/api/v1/namespaces", {"metadata": {"generateName": "team-"}})["metadata"]["name"]
    tenant = Tenant(stack.store.empty_account())
    tenant.provider(ISSUER)
    directory = tmp_path_factory.mktemp("team")
    policy = directory / "policy.yaml"
    policy.write_text(rules_for(tenant.account))
    kubeconfig = cluster.operator_kubeconfig(operator_rules(), namespace)
    flags = ("--namespaces", namespace, "--lease-namespace", namespace, *IMPATIENT, "--log-level", "DEBUG")
    own = ("--cluster-name", CLUSTER, "--access-policy-file", str(policy))
    with OperatorProcess(stack, kubeconfig, directory / "operator.log", *flags, *own) as operator:
        team = Team(stack, cluster, namespace, tenant, operator, kubeconfig, policy)
        team.allow_tokens()
        yield team
    stack.api.delete(f"/api/v1/namespaces/{namespace}")


@pytest.fixture
def team(running_team: Team) -> Iterator[Team]:
    """Running and leading, with nothing of an earlier test to do."""
    if not running_team.operator.runs:
        running_team.operator.start()
    running_team.operator.wait_until_it_leads()
    yield running_team
    path = f"/apis/rotatedsecrets.io/v1alpha1/namespaces/{running_team.namespace}/rotatedsecrets"
    for each in running_team.stack.api.get(path)["items"]:
        running_team.stack.api.delete(f"{path}/{each['metadata']['name']}")
    running_team.stack.store_proxy.clear()


def by(applied: Applied, **credentials: str) -> dict[str, Any]:
    """The part of a spec that says as whom: a ServiceAccount named as the application, unless told."""
    credentials = credentials or {"serviceAccountName": applied.application.name}
    return {"source": {"secretId": applied.application.secret_id, "credentials": credentials}}


def denied(applied: Applied) -> str:
    told: str = applied.until("Ready", "False", "AccessDenied")["message"]
    return told


def test_account_that_agreed_has_its_secret_rotated_and_followed_and_nobody_else_asks_for_it(team: Team) -> None:
    orders = team.application()
    team.account(orders)
    orders.apply(by(orders)).until_ready()
    for number, user in enumerate((orders.application.clone, orders.application.user)):
        orders.rotate(f"number {number}")
        assert orders.application.value()["username"] == user
        assert (orders.secret() or {})["password"] == orders.application.value()["password"]
    callers = {call.caller for call in orders.store_calls()}
    assert {call.caller[:16] for call in orders.store_calls()} == {f"ASIA{team.tenant.account}"}
    assert len(callers) == team.stack.store_proxy.count("AssumeRoleWithWebIdentity") == 1

    before = len(orders.store_calls())
    orders.application.put_value(note="changed by a person")
    eventually(lambda: "note" in (orders.secret() or {}), "what a person changed is delivered")
    assert {call.caller for call in orders.store_calls()[before:]} == callers
    assert not team.calls("ListSecrets", by=team.tenant.account), "one secret is described by one call"


def test_account_that_did_not_agree_is_told_how_and_goes_on_by_itself(team: Team) -> None:
    orders = team.application()
    arn = team.account(orders, {})
    orders.apply(by(orders, serviceAccountName=orders.application.name, roleArn=arn))
    told = denied(orders)
    assert team.calls(*ASSUMING) == []
    team.cluster.kubectl(*shlex.split(told[told.index("kubectl ") :])[1:])
    orders.until_ready()


def test_account_without_a_role_is_told_where_to_name_one(team: Team) -> None:
    orders = team.application()
    arn = team.account(orders, {TOKEN_FOR: "*"})
    orders.apply(by(orders))
    assert f"{ROLE}=arn:aws:iam::ACCOUNT:role/NAME" in denied(orders)
    team.annotate(orders.application.name, role=arn)
    orders.until_ready()


def test_account_that_changes_its_mind_or_goes_is_not_spoken_for_any_more(team: Team) -> None:
    clock = team.application(Tenant(team.stack.store))
    clock.apply().until_ready()
    minds, gone = team.application(), team.application()
    for each in (minds, gone):
        team.account(each)
        each.apply(by(each)).until_ready()
    team.stack.store_proxy.clear()
    polls = ("DescribeSecret", "ListSecrets")
    eventually(lambda: len({call.caller for call in team.calls(*polls, by=team.tenant.account)}) == 2, "a poll")
    team.annotate(minds.application.name, token_for="somebody-else")
    team.stack.api.delete(f"{team.accounts}/{gone.application.name}")
    assert "does not allow RotatedSecret" in denied(minds)
    assert "there is no ServiceAccount" in denied(gone)
    team.stack.store_proxy.clear()
    eventually(lambda: len(team.calls("ListSecrets")) >= 3, "three polls")
    assert team.calls(by=team.tenant.account) == []


def test_missing_permission_names_the_value_that_gives_it_and_goes_on_by_itself(team: Team) -> None:
    team.forbid_tokens()
    try:
        orders = team.application()
        team.account(orders)
        orders.apply(by(orders))
        told = denied(orders)
    finally:
        team.allow_tokens()
    assert f"add {team.namespace} to the chart's value tenantCredentials.serviceAccountTokens.namespaces" in told
    orders.until_ready()


def test_role_that_trusts_the_namespace_is_assumed_by_the_operator(team: Team) -> None:
    orders = team.application()
    trust = team.tenant.trusting_operator(team.stack.store, f"{CLUSTER}/{team.namespace}")
    orders.apply(by(orders, roleArn=team.tenant.role(orders.application.name, trust))).until_ready()
    orders.rotate("now")
    assert {call.caller[:16] for call in orders.store_calls()} == {f"ASIA{team.tenant.account}"}
    (assumed,) = team.calls("AssumeRole")
    assert assumed.caller == team.stack.store.access_key_id


def test_role_that_trusts_another_namespace_says_the_condition_and_goes_on_by_itself(team: Team) -> None:
    orders = team.application()
    name = orders.application.name
    arn = team.tenant.role(name, team.tenant.trusting_operator(team.stack.store, f"{CLUSTER}/somebody-else"))
    orders.apply(by(orders, roleArn=arn))
    condition = re.search(r'"Condition": (\{.*?\}\})', denied(orders))
    assert condition
    trust = team.tenant.trusting_operator(team.stack.store, "")
    trust["Statement"][0]["Condition"] = json.loads(condition[1])
    team.tenant.trust(name, trust)
    orders.until_ready()


def test_account_that_no_role_trusts_is_told_the_policy_and_goes_on_by_itself(team: Team) -> None:
    orders = team.application()
    name = orders.application.name
    arn = team.account(orders)
    team.tenant.trust(name, team.tenant.trusting_account(ISSUER, team.namespace, "somebody-else"))
    orders.apply(by(orders))
    found = re.search(r'"Principal": (\{.*?\}) with "Condition": (\{.*?\}\})', denied(orders))
    assert found
    principal, condition = map(json.loads, found.groups())
    action = "sts:AssumeRoleWithWebIdentity"
    statement = {"Effect": "Allow", "Principal": principal, "Action": action, "Condition": condition}
    team.tenant.trust(arn.rpartition("/")[2], {"Version": "2012-10-17", "Statement": [statement]})
    orders.until_ready()


def test_credentials_that_expire_in_the_middle_of_a_rotation_are_renewed(team: Team) -> None:
    orders = team.application()
    team.account(orders, seconds=2)
    orders.apply(by(orders)).until_ready()
    waiting = threading.Event()
    team.stack.store_proxy.trap(
        1, lambda _: waiting.wait(2.5), name="PutSecretValue", moment=Moment.ANSWERED, cut=False
    )
    orders.rotate("now")
    assert [entry["outcome"] for entry in orders.status["history"]] == ["Succeeded"]
    assert "RotationFailed" not in orders.reasons()
    assert len({call.caller for call in orders.store_calls()}) > 2


def test_identity_that_may_not_list_describes_its_own_secrets_and_says_so_once(team: Team) -> None:
    orders, second = team.application(), team.application()
    team.account(orders, actions=set(ROTATES) - {"secretsmanager:ListSecrets"})
    team.annotate(orders.application.name, token_for="*")
    for each in (orders, second):
        spec = by(orders)
        spec["source"]["secretId"] = each.application.secret_id
        each.apply(spec).until_ready()
    for number in range(2):
        second.application.put_value(note=str(number))
        eventually(lambda: (second.secret() or {}).get("note") == str(number), "it is delivered")  # noqa: B023
    said = f"each secret of role arn:aws:iam::{team.tenant.account}:role/{orders.application.name} is described"
    assert team.operator.log().count(said) == 1


def test_what_the_policy_denies_costs_no_call_as_whomever(team: Team) -> None:
    by_arn, by_name = team.application(), team.application()
    for each in (by_arn, by_name):
        team.account(each)
    arn = by_arn.application.store.client().describe_secret(SecretId=by_arn.application.secret_id)["ARN"]
    team.policy.write_text(rules_for())
    try:
        for each, secret_id in ((by_arn, arn), (by_name, by_name.application.secret_id)):
            spec = by(each)
            spec["source"]["secretId"] = secret_id
            each.apply(spec)
            assert f'"accounts": ["{team.tenant.account}"]' in denied(each)
    finally:
        team.policy.write_text(rules_for(team.tenant.account))
    assert team.calls(*ASSUMING) == []
    assert by_arn.store_calls() == by_name.store_calls() == []


def test_one_secret_is_rotated_by_one_resource_whoever_asks_and_one_name_may_be_two_secrets(team: Team) -> None:
    orders = team.application()
    team.account(orders)
    trust = team.tenant.trusting_operator(team.stack.store, f"{CLUSTER}/{team.namespace}")
    arn = team.tenant.role(f"other-{orders.application.name}", trust)
    orders.apply(by(orders)).until_ready()
    rival = replace(orders.application, name=f"{orders.application.name}-rival")
    second = Applied(rival)
    spec = {"source": {"secretId": orders.application.secret_id, "credentials": {"roleArn": arn}}}
    created = team.stack.api.get(f"{orders.path}/{orders.application.name}")["metadata"]["creationTimestamp"]
    eventually(lambda: f"{datetime.now(UTC):%FT%TZ}" > created, "the next second, for who is older is told by seconds")
    second.apply(spec)
    held = second.until("Held", "True", "ManagedElsewhere")
    assert f"RotatedSecret {team.namespace}/{orders.application.name} was there first" in held["message"]

    namesake = Applied(replace(orders.application, name=f"{orders.application.name}-own", store=team.stack.store))
    namesake.application.store.client().create_secret(
        Name=orders.application.secret_id, SecretString=json.dumps(orders.application.value())
    )
    namesake.apply({"source": {"secretId": orders.application.secret_id}}).until_ready()
    assert namesake.condition("Held").get("status") != "True"


def test_role_that_may_describe_a_secret_and_never_gets_it_keeps_it_from_nobody(team: Team) -> None:
    orders = team.application()
    team.account(orders)
    role = f"looks-{orders.application.name}"
    trust = team.tenant.trusting_operator(team.stack.store, f"{CLUSTER}/{team.namespace}")
    arn = team.tenant.role(role, trust, actions=["secretsmanager:DescribeSecret"])
    squatter = Applied(replace(orders.application, name=f"{orders.application.name}-old"))
    squatter.apply({"source": {"secretId": orders.application.secret_id, "credentials": {"roleArn": arn}}})
    denied(squatter)
    created = team.stack.api.get(f"{orders.path}/{squatter.application.name}")["metadata"]["creationTimestamp"]
    eventually(lambda: f"{datetime.now(UTC):%FT%TZ}" > created, "the next second, for who is older is told by seconds")
    orders.apply(by(orders)).until_ready()
    orders.rotate("now")
    team.tenant.allow(role, ROTATES)
    held = orders.until("Held", "True", "ManagedElsewhere", seconds=30)
    assert f"RotatedSecret {team.namespace}/{squatter.application.name} was there first" in held["message"]


def test_nothing_of_a_session_is_told_and_a_new_operator_goes_on(team: Team) -> None:
    orders, refused = team.application(), team.application()
    for each in (orders, refused):
        team.account(each)
    nobody = team.tenant.trusting_account(ISSUER, team.namespace, "nobody")
    team.tenant.trust(refused.application.name, nobody)
    refused.apply(by(refused))
    orders.apply(by(orders)).until_ready()
    orders.rotate("before")
    told = denied(refused)
    assert team.operator.terminate() == 0
    team.operator.start()
    team.operator.wait_until_it_leads()
    orders.rotate("after", seconds=30)
    resources = team.stack.api.get(f"/apis/rotatedsecrets.io/v1alpha1/namespaces/{team.namespace}/rotatedsecrets")
    events = team.stack.api.get(f"/api/v1/namespaces/{team.namespace}/events")
    places = {
        "log": team.operator.log(),
        "metrics": team.operator.get("/metrics"),
        "resources": json.dumps(resources),
        "events": json.dumps(events),
        "condition": told,
    }
    assert 'operation="AssumeRoleWithWebIdentity",outcome="ok"' in places["metrics"]
    assert "AWS answered AssumeRoleWithWebIdentity" in places["log"]
    # A token begins with its header, which begins so whatever the algorithm is.
    marks = (SECRET_MARK, TOKEN_MARK, "eyJhbGciOi")
    assert [(place, mark) for place, text in places.items() for mark in marks if mark in text] == []
