"""An operator of some namespaces, and its stand-by: what it is told by the chart, and what it never asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.installation import Installation, merged
from sandbox.operatorprocess import OperatorProcess
from sandbox.pod import Pod
from sandbox.stack import Stack
from sandbox.waiting import eventually
from tests.install.conftest import IMPATIENT, START_SECONDS, Install, MakeApplied, new_namespace
from tests.support.applied import Applied, as_delivered
from tests.support.permissions import requests


@pytest.fixture(scope="module")
def served(stack: Stack) -> tuple[str, str]:
    return new_namespace(stack.api), new_namespace(stack.api)


@pytest.fixture(scope="module")
def installation(make_installation: Install, served: tuple[str, str]) -> Installation:
    return make_installation(values(served))


def values(served: tuple[str, str], **more: Any) -> dict[str, Any]:
    """``resyncInterval`` is how soon a rule that is new reaches those that wait for it."""
    return {"namespaces": list(served), "kubernetes": {"resyncInterval": "1s"}, **more}


@pytest.fixture(scope="module")
def shared_operator(installation: Installation, stack: Stack) -> Iterator[OperatorProcess]:
    with installation.operator(stack.directory / f"{installation.release}.log") as process:
        yield process


@pytest.fixture
def operator(shared_operator: OperatorProcess) -> OperatorProcess:
    """Running and leading, also after a test that ended it."""
    if not shared_operator.runs:
        shared_operator.start()
    shared_operator.wait_until_it_leads(START_SECONDS)
    return shared_operator


@pytest.mark.usefixtures("operator")
def test_it_rotates_where_it_serves_and_sees_no_other_namespace(
    installation: Installation, served: tuple[str, str], make_applied: MakeApplied, stack: Stack
) -> None:
    elsewhere = new_namespace(stack.api)
    stranger = make_applied(elsewhere).apply(request="now")
    for namespace in served:
        orders = make_applied(namespace)
        with Pod(stack.api, stack.side, namespace, orders.application.name) as pod:
            orders.apply().until_ready()
            orders.rotate("now")
            user = orders.application.value()["username"]
            eventually(lambda: pod.logins_by_user[user], f"the client logs in as {user}")  # noqa: B023
        assert not pod.failures
        assert orders.secret() == as_delivered(orders.application.value())
    not_looked_at = {"observedGeneration": -1}
    assert (stranger.status, stranger.secret(), stranger.store_calls()) == (not_looked_at, None, [])
    if stack.cluster.audit_log is not None:
        asked = requests(stack.cluster.audit_log, installation.namespace, installation.account)
        assert {each.namespace for each in asked} == {*served, installation.namespace}
        at_home = {each.permission.resource for each in asked if each.namespace == installation.namespace}
        assert at_home == {"leases", "configmaps"}
        assert [each for each in asked if not each.was_allowed] == []


def test_it_may_do_nothing_in_another_namespace(installation: Installation, stack: Stack) -> None:
    elsewhere = new_namespace(stack.api)
    kubeconfig = str(stack.cluster.account_kubeconfig(installation.namespace, installation.account))
    for what in ("secrets", "rotatedsecrets.rotatedsecrets.io"):
        for where in (elsewhere, installation.namespace):
            asked = ("--kubeconfig", kubeconfig, "auth", "can-i", "list", what, "-n", where)
            assert stack.cluster.kubectl(*asked, check=False).stdout.strip() == "no"


def test_a_policy_that_an_upgrade_changes_holds_without_a_restart(
    installation: Installation,
    operator: OperatorProcess,
    served: tuple[str, str],
    make_applied: MakeApplied,
    stack: Stack,
) -> None:
    namespace, _ = served
    theirs = make_applied(new_namespace(stack.api))
    orders: Applied = make_applied(namespace)
    source = {"source": {"secretId": theirs.application.secret_id}}
    orders.apply({**source, "rotation": {"strategy": "External"}})
    told = orders.until("Ready", "False", "AccessDenied")
    assert theirs.application.secret_id in told["message"]
    rules = [{"namespaces": [namespace], "secrets": [theirs.application.secret_id]}]
    installation.upgrade(merged(IMPATIENT, values(served, accessPolicy={"rules": rules})))
    installation.refresh_mounts()
    orders.until_ready()
    installation.upgrade(merged(IMPATIENT, values(served)))
    installation.refresh_mounts()
    orders.until("Ready", "False", "AccessDenied")
    assert operator.runs
    assert operator.log_of_this_life().count(" leads") == 1


def test_the_stand_by_takes_over_when_the_leader_goes(
    installation: Installation,
    operator: OperatorProcess,
    served: tuple[str, str],
    make_applied: MakeApplied,
    stack: Stack,
) -> None:
    orders = make_applied(served[0]).apply().until_ready()
    with installation.operator(stack.directory / f"{installation.release}-stand-by.log") as stand_by:
        eventually(lambda: "tries to acquire the Lease" in stand_by.log(), "the stand-by waits", seconds=START_SECONDS)
        lease = f"/apis/coordination.k8s.io/v1/namespaces/{installation.namespace}/leases"
        (held,) = stack.api.get(lease)["items"]
        assert held["metadata"]["name"] == installation.deployment()["metadata"]["name"]
        assert operator.terminate() == 0
        stand_by.wait_until_it_leads()
        orders.rotate("now")
        assert stand_by.terminate() == 0, "so that nobody has to wait for its Lease"
