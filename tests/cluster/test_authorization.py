"""Who gets in, and what RBAC lets them do: the same words on the embedded API as on a real API server."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from sandbox.kubernetes.client import APPLY, Api, Json, StatusError
from sandbox.kubernetes.provider import Cluster
from sandbox.waiting import eventually

RBAC = "/apis/rbac.authorization.k8s.io/v1"
REVIEWS = "/apis/authorization.k8s.io/v1"
NAME = "reader"
ISSUER = "https://kubernetes.default.svc"
GET_SECRETS: Json = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}


@dataclass(frozen=True)
class Account:
    """A ServiceAccount `namespace/reader`, as whom `api` speaks."""

    namespace: str
    api: Api

    def path(self, resource: str, prefix: str = "/api/v1") -> str:
        return f"{prefix}/namespaces/{self.namespace}/{resource}"

    def refused(self, method: str, path: str, body: Json | None = None, **query: Any) -> StatusError:
        with pytest.raises(StatusError) as caught:
            self.api.request(method, path, body, **query)
        return caught.value

    def may(self, verb: str, resource: str, group: str = "", **more: str) -> bool:
        wanted = {"verb": verb, "resource": resource, "group": group, "namespace": self.namespace, **more}
        review = self.api.create(f"{REVIEWS}/selfsubjectaccessreviews", {"spec": {"resourceAttributes": wanted}})
        allowed: bool = review["status"]["allowed"]
        return allowed

    def rules(self) -> list[Json]:
        review = self.api.create(f"{REVIEWS}/selfsubjectrulesreviews", {"spec": {"namespace": self.namespace}})
        rules: list[Json] = review["status"]["resourceRules"]
        return rules


Grant = Callable[..., Account]


def token(api: Api, namespace: str, **spec: Any) -> str:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{NAME}/token"
    issued: str = api.create(path, {"spec": spec})["status"]["token"]
    return issued


@pytest.fixture
def grant(cluster: Cluster, api: Api, namespace: str) -> Grant:
    """A ServiceAccount with the rules of a Role in its namespace, or of a ClusterRole."""

    def make(*rules: Json, everywhere: bool = False) -> Account:
        api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": NAME}})
        kind = "ClusterRole" if everywhere else "Role"
        meta = {"name": namespace}
        where = RBAC if everywhere else f"{RBAC}/namespaces/{namespace}"
        api.create(f"{where}/{kind.lower()}s", {"metadata": meta, "rules": list(rules)})
        bound = {"subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}]}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": namespace}
        api.create(f"{where}/{kind.lower()}bindings", {"metadata": meta, **bound, "roleRef": reference})
        account = Account(namespace, cluster.api(token(api, namespace)))
        wanted = {resource for rule in rules for resource in rule.get("resources", ())}
        eventually(
            lambda: wanted <= {each for rule in account.rules() for each in rule["resources"]}, "the rules are in force"
        )
        return account

    return make


def test_a_list_is_refused_in_the_words_of_the_api_server(grant: Grant) -> None:
    account = grant(GET_SECRETS)
    who = f'User "system:serviceaccount:{account.namespace}:{NAME}"'
    error = account.refused("GET", account.path("secrets"))
    assert (error.code, error.reason) == (403, "Forbidden")
    assert error.message == (
        f'secrets is forbidden: {who} cannot list resource "secrets" in API group "" '
        f'in the namespace "{account.namespace}"'
    )
    error = account.refused("GET", "/apis/apps/v1/deployments")
    assert error.message == (
        f'deployments.apps is forbidden: {who} cannot list resource "deployments" in API group "apps" '
        "at the cluster scope"
    )
    error = account.refused("PATCH", account.path("deployments/a/scale", "/apis/apps/v1"), {})
    assert error.message == (
        f'deployments.apps "a" is forbidden: {who} cannot patch resource "deployments/scale" in API group "apps" '
        f'in the namespace "{account.namespace}"'
    )
    error = account.refused("GET", "/metrics")
    assert error.message == f'forbidden: {who} cannot get path "/metrics"'


def test_what_does_not_exist_is_no_secret_from_nobody(grant: Grant) -> None:
    account = grant(GET_SECRETS)
    assert account.refused("GET", account.path("secrets/none")).code == 404
    assert account.refused("GET", account.path("configmaps/none")).code == 403
    assert account.refused("GET", account.path("nonsense/none", "/apis/example.com/v7")).code == 403


def test_each_method_is_its_verb(grant: Grant, api: Api) -> None:
    account = grant({"apiGroups": [""], "resources": ["events"], "verbs": ["get"]})
    collection, one = account.path("configmaps"), account.path("configmaps/a")
    asked: list[tuple[str, str, str, Json | None, Json]] = [
        ("create", "POST", collection, {"metadata": {"name": "a"}}, {}),
        ("list", "GET", collection, None, {}),
        ("watch", "GET", collection, None, {"watch": "true"}),
        ("deletecollection", "DELETE", collection, None, {}),
        ("get", "GET", one, None, {}),
        ("update", "PUT", one, {"metadata": {"name": "a"}}, {}),
        ("patch", "PATCH", one, {}, {}),
        ("delete", "DELETE", one, None, {}),
    ]
    for verb, method, path, body, query in asked:
        assert f'cannot {verb} resource "configmaps"' in account.refused(method, path, body, **query).message
    assert "cannot get resource" in account.refused("GET", f"/api/v1/namespaces/{account.namespace}").message


def test_a_role_is_for_its_namespace_and_a_cluster_role_for_all(grant: Grant, api: Api) -> None:
    account = grant({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]})
    assert account.api.get(account.path("configmaps"))["kind"] == "ConfigMapList"
    assert account.refused("GET", "/api/v1/configmaps").code == 403
    assert account.refused("GET", "/api/v1/namespaces/default/configmaps").code == 403


def test_a_cluster_role_is_for_all_namespaces(grant: Grant) -> None:
    account = grant({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}, everywhere=True)
    for path in (account.path("configmaps"), "/api/v1/configmaps", "/api/v1/namespaces/default/configmaps"):
        assert account.api.get(path)["kind"] == "ConfigMapList"


def test_a_cluster_role_can_be_bound_in_one_namespace(grant: Grant, api: Api) -> None:
    account = grant(GET_SECRETS)
    labels = {"metadata": {"name": f"{account.namespace}-two"}}
    api.create(
        f"{RBAC}/clusterroles", {**labels, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]}
    )
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"{account.namespace}-two"}
    group = f"system:serviceaccounts:{account.namespace}"
    subjects = [{"kind": "Group", "name": group, "apiGroup": "rbac.authorization.k8s.io"}]
    where = f"{RBAC}/namespaces/{account.namespace}/rolebindings"
    api.create(where, {"metadata": {"name": "two"}, "subjects": subjects, "roleRef": reference})
    eventually(lambda: account.may("list", "pods"), "the binding is in force")
    assert not account.may("list", "pods", namespace="default")
    api.delete(f"{where}/two")
    eventually(lambda: not account.may("list", "pods"), "the binding has ended")


@pytest.mark.parametrize(
    ("rule", "verb", "about", "allowed"),
    [
        (GET_SECRETS, "get", {"resource": "secrets", "name": "a"}, True),
        (GET_SECRETS, "list", {"resource": "secrets"}, False),
        (GET_SECRETS, "get", {"resource": "secrets", "group": "apps"}, False),
        (GET_SECRETS | {"resourceNames": ["a"]}, "get", {"resource": "secrets", "name": "a"}, True),
        (GET_SECRETS | {"resourceNames": ["a"]}, "get", {"resource": "secrets", "name": "b"}, False),
        (GET_SECRETS | {"resourceNames": ["a"]}, "get", {"resource": "secrets"}, False),
        (GET_SECRETS | {"verbs": ["*"]}, "deletecollection", {"resource": "secrets"}, True),
        (GET_SECRETS | {"resources": ["*"]}, "get", {"resource": "pods", "subresource": "log"}, True),
        (GET_SECRETS | {"resources": ["pods"]}, "get", {"resource": "pods", "subresource": "log"}, False),
        (GET_SECRETS | {"resources": ["pods/log"]}, "get", {"resource": "pods", "subresource": "log"}, True),
        (GET_SECRETS | {"resources": ["pods/log"]}, "get", {"resource": "pods"}, False),
        (GET_SECRETS | {"resources": ["*/log"]}, "get", {"resource": "pods", "subresource": "log"}, True),
        (GET_SECRETS | {"resources": ["*/log"]}, "get", {"resource": "pods"}, False),
        (GET_SECRETS | {"apiGroups": ["*"]}, "get", {"resource": "secrets", "group": "example.com"}, True),
    ],
)
def test_a_rule_allows_what_it_names(
    grant: Grant, rule: Json, verb: str, about: dict[str, str], *, allowed: bool
) -> None:
    assert grant(rule).may(verb, **about) is allowed


def test_a_list_of_one_name_is_allowed_by_a_rule_that_names_it(grant: Grant) -> None:
    account = grant({"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"], "resourceNames": ["a"]})
    assert account.api.get(account.path("secrets"), fieldSelector="metadata.name=a")["items"] == []
    assert account.refused("GET", account.path("secrets"), fieldSelector="metadata.name=b").code == 403
    assert list(account.api.watch(account.path("secrets"), seconds=1, fieldSelector="metadata.name=a")) == []


def test_applying_what_is_not_there_needs_both_verbs(grant: Grant, api: Api) -> None:
    account = grant({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]})
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
    error = account.refused("PATCH", account.path("configmaps/a"), body, content_type=APPLY, fieldManager="tests")
    assert 'cannot create resource "configmaps"' in error.message
    api.create(account.path("configmaps"), {"metadata": {"name": "a"}})
    assert account.api.patch(account.path("configmaps/a"), body, APPLY, fieldManager="tests")["data"] == {"k": "v"}


def test_everybody_who_is_known_may_discover_and_ask_about_themselves(grant: Grant) -> None:
    account = grant(GET_SECRETS)
    for path in ("/api", "/apis", "/api/v1", "/apis/apps/v1", "/version", "/openapi/v3"):
        assert account.api.get(path)
    assert account.may("get", "secrets")
    rules = [rule for rule in account.rules() if rule["resources"] == ["secrets"]]
    assert [(rule["verbs"], rule["apiGroups"]) for rule in rules] == [(["get"], [""])]
    wanted = {"spec": {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}}}
    assert account.api.create(f"{REVIEWS}/selfsubjectaccessreviews", wanted)["status"]["allowed"] is False


def test_kubectl_tells_what_an_account_may_do(grant: Grant, cluster: Cluster) -> None:
    account = grant(GET_SECRETS)
    issued = cluster.kubectl("create", "token", NAME, "-n", account.namespace, "--duration", "10m").stdout.strip()
    # A kubeconfig with a client certificate would win over --token.
    body = yaml.safe_load(cluster.kubeconfig.read_text())
    body["users"][0]["user"] = {"token": issued}
    whose = cluster.kubeconfig.with_name(f"{account.namespace}.kubeconfig")
    whose.touch(mode=0o600)
    whose.write_text(yaml.safe_dump(body))

    def can_i(*arguments: str) -> str:
        command = ("--kubeconfig", str(whose), "auth", "can-i", "-n", account.namespace, *arguments)
        return cluster.kubectl(*command, check=False).stdout

    assert can_i("get", "secrets").strip() == "yes"
    assert can_i("list", "secrets").strip() == "no"
    assert can_i("get", "/metrics").strip() == "no"
    assert any(line.startswith("secrets ") and line.endswith("[get]") for line in can_i("--list").splitlines())


# ---- tokens


def claims(of_token: str) -> Json:
    found: Json = json.loads(base64.urlsafe_b64decode(of_token.split(".")[1] + "=="))
    return found


def test_a_token_says_whose_it_is_and_for_whom(grant: Grant, api: Api) -> None:
    account = grant(GET_SECRETS)
    said = claims(token(api, account.namespace, audiences=["sts.example.com"], expirationSeconds=600))
    assert (said["aud"], said["exp"] - said["iat"]) == (["sts.example.com"], 600)
    assert said["sub"] == f"system:serviceaccount:{account.namespace}:{NAME}"
    assert (said["iss"], claims(token(api, account.namespace))["aud"]) == (ISSUER, [ISSUER])


def test_a_token_for_others_does_not_open_the_api_server(grant: Grant, api: Api, cluster: Cluster) -> None:
    account = grant(GET_SECRETS)
    with pytest.raises(StatusError) as refused:
        cluster.api(token(api, account.namespace, audiences=["sts.example.com"])).get(account.path("secrets/a"))
    assert (refused.value.code, refused.value.reason) == (401, "Unauthorized")


def test_a_token_ends_with_its_account(grant: Grant, api: Api) -> None:
    account = grant(GET_SECRETS)
    path = account.path(f"serviceaccounts/{NAME}")
    api.delete(path)
    api.create(account.path("serviceaccounts"), {"metadata": {"name": NAME}})

    def is_unknown() -> bool:
        try:
            account.api.get("/api")
        except StatusError as error:
            assert error.code == 401, error
            return True
        return False

    eventually(is_unknown, "the token of the account that was deleted opens nothing")


def test_a_token_lives_for_ten_minutes_at_least(grant: Grant, api: Api) -> None:
    account = grant(GET_SECRETS)
    with pytest.raises(StatusError, match="may not specify a duration less than 10 minutes") as refused:
        token(api, account.namespace, expirationSeconds=599)
    assert (refused.value.code, refused.value.causes[0]["field"]) == (422, "spec.expirationSeconds")


def test_a_token_is_given_to_whoever_may_create_it(grant: Grant) -> None:
    rule = {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"], "resourceNames": [NAME]}
    account = grant(rule)
    assert token(account.api, account.namespace)
    error = account.refused("POST", account.path("serviceaccounts/other/token"), {"spec": {}})
    assert (
        f'serviceaccounts "other" is forbidden: User "{claims(token(account.api, account.namespace))["sub"]}"'
        in str(error)
    )
    assert 'cannot create resource "serviceaccounts/token" in API group ""' in error.message


def test_a_token_that_was_changed_opens_nothing(grant: Grant, api: Api, cluster: Cluster) -> None:
    account = grant(GET_SECRETS)
    head, body, signature = token(api, account.namespace).split(".")
    longer = base64.urlsafe_b64encode(json.dumps(claims(f".{body}.") | {"exp": 4102444800}).encode()).decode()
    for forged in (f"{head}.{longer.rstrip('=')}.{signature}", f"{head}.{body}.", "a.b.c", "not-a-token"):
        with pytest.raises(StatusError) as refused:
            cluster.api(forged).get("/api/v1/namespaces")
        assert refused.value.code == 401


def test_nobody_in_particular_may_ask_for_the_version_alone(cluster: Cluster) -> None:
    body = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
    trust = ssl.create_default_context(cadata=base64.b64decode(body["certificate-authority-data"]).decode())

    def answer(path: str) -> tuple[int, Json]:
        try:
            with urllib.request.urlopen(body["server"] + path, context=trust, timeout=10) as found:
                return found.status, json.load(found)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    assert answer("/version")[0] == 200
    code, status = answer("/api/v1/namespaces")
    assert code == 403
    assert status["message"] == (
        'namespaces is forbidden: User "system:anonymous" cannot list resource "namespaces" in API group "" '
        "at the cluster scope"
    )


# ---- the audit log


def test_the_audit_log_tells_what_an_account_asked_for(grant: Grant, cluster: Cluster) -> None:
    if not cluster.audit_log:
        pytest.skip("this cluster's audit log is not ours to read")
    account = grant(GET_SECRETS)
    account.refused("GET", account.path("secrets/a"))
    account.refused("GET", account.path("secrets"))
    user = f"system:serviceaccount:{account.namespace}:{NAME}"

    def told() -> list[Json]:
        assert cluster.audit_log
        lines = [json.loads(line) for line in cluster.audit_log.read_text().splitlines()]
        return [
            each for each in lines if each["user"]["username"] == user and each["objectRef"]["resource"] == "secrets"
        ]

    eventually(lambda: len(told()) == 2, "both requests are in the log")
    first, second = told()
    assert (first["verb"], first["objectRef"]["name"], first["objectRef"]["namespace"]) == (
        "get",
        "a",
        account.namespace,
    )
    decisions = [each["annotations"]["authorization.k8s.io/decision"] for each in (first, second)]
    assert (second["verb"], decisions) == ("list", ["allow", "forbid"])
