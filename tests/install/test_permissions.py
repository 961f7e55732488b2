"""The chart's permissions are those that the operator uses: no verb is granted in vain, and none is missing.

One operator goes through all that the chart has a rule for; the audit log tells what it asked the API server for. Then
single verbs are taken away, and it says which.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from sandbox.installation import Installation
from sandbox.kubernetes.client import Api, Json, StatusError
from sandbox.kubernetes.provider import Cluster, Provider
from sandbox.operatorprocess import OperatorProcess
from sandbox.stack import Stack
from sandbox.tenant import Tenant
from sandbox.waiting import eventually
from tests.install.conftest import START_SECONDS, Install, MakeApplied, new_namespace
from tests.support.applied import Applied, as_delivered
from tests.support.permissions import Permission, granted, requests, told

ADOPT, TOKEN_FOR = "rotatedsecrets.io/adopt", "rotatedsecrets.io/token-for"
ISSUER = "https://kubernetes.default.svc"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


@dataclass(frozen=True)
class Running:
    """An installation with everything that can be switched on, for all namespaces, and its operator."""

    installation: Installation
    operator: OperatorProcess
    namespace: str
    """Of applications; the one whose ServiceAccounts the operator may ask for tokens of."""

    @property
    def api(self) -> Api:
        return self.installation.stack.api

    def grants(self) -> set[Permission]:
        return granted(self.installation.manifests(), self.installation.account)

    def asked(self) -> set[tuple[Permission, bool]]:
        """With whether it was allowed."""
        log = self.installation.stack.cluster.audit_log
        assert log
        account = self.installation.account
        return {(each.permission, each.was_allowed) for each in requests(log, self.installation.namespace, account)}


@contextmanager
def running_with_everything(make_installation: Install, stack: Stack) -> Iterator[Running]:
    namespace = new_namespace(stack.api)
    tokens = {"serviceAccountTokens": {"namespaces": [namespace]}}
    installation = make_installation({"rollouts": {"enabled": True}, "tenantCredentials": tokens})
    with installation.operator(stack.directory / f"{installation.release}.log") as process:
        process.wait_until_it_leads(START_SECONDS)
        yield Running(installation, process, namespace)


@pytest.fixture(scope="module")
def running(make_installation: Install, stack: Stack) -> Iterator[Running]:
    with running_with_everything(make_installation, stack) as it:
        yield it


# ---- all that there is a rule for


def rotates_and_restarts_workloads(namespace: str, make_applied: MakeApplied) -> None:
    orders = make_applied(namespace)
    api, name = orders.api, orders.application.name
    paths = [f"/apis/apps/v1/namespaces/{namespace}/{kind.lower()}s" for kind in WORKLOADS]
    for kind, path in zip(WORKLOADS, paths, strict=True):
        api.create(path, workload(kind, name))
    orders.apply({"rollout": {"restart": [{"kind": kind, "name": name} for kind in WORKLOADS]}}).until_ready()
    orders.rotate("now")
    assert orders.secret() == as_delivered(orders.application.value())
    version = orders.status["currentVersionId"]

    def restarted() -> bool:
        return all(version in str(api.get(f"{path}/{name}")["spec"]["template"]) for path in paths)

    eventually(restarted, "all workloads begin with the new version")


def workload(kind: str, name: str) -> Json:
    labels = {"app": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "none"}]}}
    spec: Json = {"selector": {"matchLabels": labels}, "template": pod}
    return {"metadata": {"name": name}, "spec": spec | ({"serviceName": name} if kind == "StatefulSet" else {})}


def repairs_what_others_do_and_counts_it(namespace: str, make_applied: MakeApplied) -> None:
    orders = make_applied(namespace)
    orders.apply().until_ready()
    before = orders.secret()
    for times in (1, 2):
        orders.api.patch(orders.secret_path, {"stringData": {"password": "mallory"}})
        eventually(lambda: orders.secret() == before, "it is put back")
        eventually(partial(was_repaired, orders, times), f"the Event counts {times}")


def was_repaired(orders: Applied, times: int) -> bool:
    return any(each["count"] == times for each in orders.events() if each["reason"] == "SecretDriftRepaired")


def takes_over_what_is_handed_to_it(namespace: str, make_applied: MakeApplied) -> None:
    orders = make_applied(namespace)
    meta = {"name": orders.application.name, "annotations": {ADOPT: orders.application.name}}
    orders.api.create(orders.secret_path.rpartition("/")[0], {"metadata": meta})
    orders.apply().until_ready()
    assert orders.secret() == as_delivered(orders.application.value())


def owns_what_it_made_for_another_and_lets_it_go(namespace: str, make_applied: MakeApplied) -> None:
    """Each changes an ownerReference, for which an admission plug-in asks for more than `update`."""
    orders = make_applied(namespace)
    orders.apply().until_ready()
    before = owners(orders)
    orders.delete()
    orders.apply().until_ready()
    uid = orders.read()["metadata"]["uid"]
    assert before != [uid]
    eventually(lambda: owners(orders) == [uid], "it belongs to the one that was made again")
    orders.patch({"spec": {"target": {"deletionPolicy": "Retain"}}})
    eventually(lambda: owners(orders) == [], "it stays when its RotatedSecret goes")
    orders.until_ready()


def owners(orders: Applied) -> list[str]:
    try:
        found = orders.api.get(orders.secret_path)["metadata"].get("ownerReferences") or []
    except StatusError as error:
        assert error.code == 404, error  # its first owner is gone, and it is made again
        return ["nobody"]
    return [each["uid"] for each in found]


def speaks_to_aws_as_a_service_account(namespace: str, make_applied: MakeApplied) -> None:
    orders = make_applied(namespace)
    tenant = Tenant(orders.stack.store)
    tenant.provider(ISSUER)
    role = tenant.role(namespace, tenant.trusting_account(ISSUER, namespace, "orders"))
    meta = {"name": "orders", "annotations": {TOKEN_FOR: orders.application.name}}
    orders.api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": meta})
    credentials = {"serviceAccountName": "orders", "roleArn": role}
    orders.apply({"source": {"secretId": orders.application.secret_id, "credentials": credentials}}).until_ready()
    orders.rotate("now")


SCENES = (
    rotates_and_restarts_workloads,
    repairs_what_others_do_and_counts_it,
    takes_over_what_is_handed_to_it,
    owns_what_it_made_for_another_and_lets_it_go,
    speaks_to_aws_as_a_service_account,
)
"""Whatever gets a rule of its own in the chart gets a scene here."""

ASKED_FOR_BY_ADMISSION = {Permission("", "secrets", "delete")}
"""The API server itself asks whether the operator has it; a test below shows that it does."""


def test_every_verb_that_the_chart_grants_is_used_and_no_other(
    make_installation: Install, make_applied: MakeApplied, stack: Stack
) -> None:
    if stack.cluster.audit_log is None:
        pytest.skip("this cluster's audit log is not ours to read")
    with running_with_everything(make_installation, stack) as running:  # of its own: no other test takes verbs away
        for scene in SCENES:
            scene(running.namespace, make_applied)
        asked, grants = running.asked(), running.grants()
    assert {Permission("", "secrets", "create"), Permission("coordination.k8s.io", "leases", "update")} <= grants
    assert told(each for each, was_allowed in asked if not was_allowed) == [], "refused"
    assert Permission("", "secrets", "delete") not in {each for each, _ in asked}, "it deletes no Secret"
    assert told(grants - {each for each, _ in asked} - ASKED_FOR_BY_ADMISSION) == [], "granted, and used by nothing"


# ---- one permission less


@contextmanager
def without(running: Running, verb: str, resource: str) -> Iterator[None]:
    """The chart's Role that has it less one verb."""
    api, name = running.api, running.installation.deployment()["metadata"]["name"]
    path = f"{RBAC}/clusterroles/{name}"
    if resource in ("leases", "configmaps"):
        path = f"{RBAC}/namespaces/{running.installation.namespace}/roles/{name}-lease"
    rules = api.get(path)["rules"]
    with_it = [index for index, rule in enumerate(rules) if resource in rule["resources"] and verb in rule["verbs"]]
    assert with_it
    for index in with_it:
        rules[index]["verbs"].remove(verb)
        rules[index]["verbs"] += [] if rules[index]["verbs"] else ["none"]  # a rule without verbs is refused
    api.patch(path, {"rules": rules})
    try:
        yield
    finally:
        rules = api.get(path)["rules"]  # others may have taken away, or given back, since
        for index in with_it:
            rules[index]["verbs"].append(verb)
        api.patch(path, {"rules": rules})


def test_a_secret_that_may_not_be_created_is_told_in_the_status(running: Running, make_applied: MakeApplied) -> None:
    orders = make_applied(running.namespace)
    with without(running, "create", "secrets"):
        orders.apply()
        assert "may not create Secrets in namespace" in orders.until("Ready", "False", "SyncFailed")["message"]
    orders.until_ready()


@pytest.mark.parametrize("change", ["Retain", "adopt"])
def test_an_owner_reference_that_may_not_be_changed_is_told_in_the_status(
    change: str, running: Running, make_applied: MakeApplied, cluster: Cluster
) -> None:
    if cluster.provider is not Provider.CONTROL_PLANE:
        pytest.skip("this cluster may not have the admission plug-in OwnerReferencesPermissionEnforcement")
    orders = make_applied(running.namespace)
    if change == "Retain":
        orders.apply().until_ready()
    with without(running, "delete", "secrets"):
        if change == "Retain":
            orders.patch({"spec": {"target": {"deletionPolicy": "Retain"}}})
        else:
            meta = {"name": orders.application.name, "annotations": {ADOPT: orders.application.name}}
            orders.api.create(orders.secret_path.rpartition("/")[0], {"metadata": meta})
            orders.apply()
        message = orders.until("Ready", "False", "SyncFailed")["message"]
        assert "OwnerReferencesPermissionEnforcement" in message
    orders.until_ready()
    expected = [] if change == "Retain" else [orders.read()["metadata"]["uid"]]
    eventually(lambda: owners(orders) == expected, "it came about")


def test_a_workload_that_may_not_be_restarted_is_told_in_an_event(running: Running, make_applied: MakeApplied) -> None:
    orders = make_applied(running.namespace)
    name = orders.application.name
    orders.api.create(f"/apis/apps/v1/namespaces/{running.namespace}/deployments", workload("Deployment", name))
    with without(running, "patch", "deployments"):
        orders.apply({"rollout": {"restart": [{"kind": "Deployment", "name": name}]}}).until_ready()
        orders.rotate("now")

        def said() -> list[Any]:
            return [each["message"] for each in orders.events() if "rollouts.enabled" in each["message"]]

        eventually(said, "an Event names the value to set")


def test_a_status_that_may_not_be_written_is_told_in_the_log(running: Running, make_applied: MakeApplied) -> None:
    orders = make_applied(running.namespace)
    with without(running, "patch", "rotatedsecrets/status"):
        orders.apply()
        eventually(
            lambda: 'cannot patch resource "rotatedsecrets/status"' in running.operator.log(), "it says what it may not"
        )
        assert orders.store_writes() == []
    orders.until_ready()


def test_an_operator_that_cannot_begin_says_which_permission_it_waits_for(running: Running, stack: Stack) -> None:
    needed = (("list", "rotatedsecrets"), ("list", "secrets"), ("get", "leases"), ("list", "configmaps"))
    with ExitStack() as everything:
        taken = [(each, everything.enter_context(ExitStack())) for each in needed]
        for each, back in taken:
            back.enter_context(without(running, *each))
        log = stack.directory / f"{running.installation.release}-waiting.log"
        process = everything.enter_context(running.installation.operator(log))
        for (verb, resource), back in taken:
            says = f"it says that it may not {verb} {resource}"
            eventually(partial(asks_for, process, verb, resource), says, seconds=START_SECONDS)
            back.close()
        eventually(lambda: "tries to acquire the Lease" in process.log(), "it begins")


def asks_for(process: OperatorProcess, verb: str, resource: str) -> bool:
    asked = "a permission is missing; grant it to the operator's ServiceAccount"
    refused = f'cannot {verb} resource "{resource}"'
    return any(asked in line and refused in line for line in process.log().splitlines())
