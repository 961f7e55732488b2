"""The release's promise, from kubectl to the database and back, by the real process."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from sandbox.database_proxy import CONNECT
from sandbox.operatorprocess import OperatorProcess
from sandbox.pod import Pod
from sandbox.stack import Stack
from sandbox.waiting import eventually
from tests.e2e.conftest import MakeApplication, StartOperator
from tests.support.applied import Applied, as_delivered

pytestmark = pytest.mark.usefixtures("operator")


def held_by(applied: Applied) -> dict[str, str]:
    found = applied.secret()
    assert found is not None
    return found


def test_three_rotations_alternate_two_users_and_the_secret_follows_without_a_failed_login(orders: Applied) -> None:
    application = orders.application
    orders.apply().until_ready()
    assert held_by(orders) == as_delivered(application.value())
    with Pod(orders.api, orders.stack.side, application.namespace, application.name) as pod:
        for number, user in enumerate((application.clone, application.user, application.clone)):
            orders.rotate(f"number {number}")
            assert application.value()["username"] == user
            assert held_by(orders) == as_delivered(application.value())
            seen = pod.logins_by_user[user]
            eventually(lambda: pod.logins_by_user[user] > seen + 2, f"the client logs in as {user}")  # noqa: B023
    assert not pod.failures
    assert application.users() == {application.user, application.clone}
    stages = application.stages()
    assert {stage: len(versions) for stage, versions in stages.items()} == {"AWSCURRENT": 1, "AWSPREVIOUS": 1}
    assert orders.version_count() == 4
    assert application.value("AWSPREVIOUS")["username"] == application.user
    assert Counter(entry["outcome"] for entry in orders.status["history"]) == {"Succeeded": 3}
    assert {"RotationStarted", "RotationSucceeded", "SecretSynced"} <= orders.reasons()


def test_an_alternating_rotation_costs_six_calls_and_three_logins(orders: Applied, stack: Stack) -> None:
    """One of three: a poll of the store in the middle of a rotation is followed by one more look."""
    orders.apply().until_ready()
    orders.rotate("the first, which makes the clone")
    seen = []
    for number in range(3):
        settled(orders)
        stack.store_proxy.clear()
        stack.database_proxy.clear()
        orders.rotate(f"number {number}")
        settled(orders)
        seen.append(([call.name for call in orders.store_calls()], stack.database_proxy.count(CONNECT)))
        if len(seen[-1][0]) <= 6 and seen[-1][1] <= 3:
            return
    pytest.fail(f"calls and logins: {seen}")


def settled(applied: Applied) -> None:
    """Three polls of the store have passed since: what an operator does afterwards, it has done."""
    proxy = applied.stack.store_proxy
    polls = proxy.count("ListSecrets")
    eventually(lambda: proxy.count("ListSecrets") >= polls + 3, "three polls")


def test_single_user_gets_a_new_password_and_keeps_its_name(orders: Applied) -> None:
    application = orders.application
    before = application.value()
    orders.apply(strategy="SingleUser").until_ready()
    orders.rotate("now")
    after = application.value()
    assert after["username"] == before["username"]
    assert after["password"] != before["password"]
    assert held_by(orders) == as_delivered(after)
    orders.stack.database.connect(after["username"], after["password"], after["dbname"]).close()
    assert application.users() == {application.user}


def test_single_user_without_an_admin_secret_changes_its_own_password(orders: Applied) -> None:
    orders.apply({"rotation": {"strategy": "SingleUser"}}).until_ready()
    orders.rotate("now")
    value = orders.application.value()
    orders.stack.database.connect(value["username"], value["password"], value["dbname"]).close()
    assert held_by(orders)["password"] == value["password"]


def test_random_value_is_replaced_and_no_database_is_asked(orders: Applied, stack: Stack) -> None:
    client, before = orders.application.store.client(), {"password": "old-Value-4711", "owner": "billing"}
    client.put_secret_value(SecretId=orders.application.secret_id, SecretString=json.dumps(before))
    stack.database_proxy.clear()
    orders.apply({"rotation": {"strategy": "RandomValue"}}).until_ready()
    assert held_by(orders) == before
    orders.rotate("now")
    after = orders.application.value()
    assert after["password"] != before["password"]
    assert after["owner"] == "billing"
    assert held_by(orders) == after
    assert stack.database_proxy.count(CONNECT) == 0


def test_a_rotation_at_creation_happens_once(orders: Applied) -> None:
    orders.apply(rotateImmediately=True)
    eventually(lambda: len(orders.status.get("history", [])) == 1, "it rotates by itself")
    orders.until_ready()
    orders.patch({"spec": {"target": {"labels": {"team": "orders"}}}})
    eventually(lambda: orders.status["observedGeneration"] == 2, "the change is seen")
    assert [entry["trigger"] for entry in orders.status["history"]] == ["Creation"]


def test_one_request_acts_once_also_across_a_restart(orders: Applied, operator: OperatorProcess) -> None:
    orders.apply(request="only once").until_served("only once")
    versions = orders.version_count()
    assert operator.terminate() == 0
    orders.stack.store_proxy.clear()
    operator.start()
    eventually(orders.store_calls, "the new operator looks at it", seconds=40)
    settled(orders)
    assert len(orders.status["history"]) == 1
    assert orders.version_count() == versions


def test_two_operators_that_both_believe_they_lead_do_no_harm(
    orders: Applied, make_operator: StartOperator, make_application: MakeApplication
) -> None:
    """Each has a Lease of its own, so nothing keeps them apart but what a Lease cannot give."""
    application = orders.application
    with make_operator("rival", "--lease-name", "rival") as rival:
        rival.wait_until_it_leads()
        orders.apply().until_ready()
        with Pod(orders.api, orders.stack.side, application.namespace, application.name) as pod:
            for number in range(4):
                orders.rotate(f"number {number}", seconds=40)
                user = application.value()["username"]
                seen = pod.logins_by_user[user]
                eventually(lambda: pod.logins_by_user[user] > seen + 2, "the client moves on")  # noqa: B023
        settled(orders)
    assert not pod.failures
    assert application.users() == {application.user, application.clone}
    assert set(application.stages()) == {"AWSCURRENT", "AWSPREVIOUS"}
    succeeded = [entry for entry in orders.status["history"] if entry["outcome"] == "Succeeded"]
    assert len(succeeded) == 4
