"""The release's promise on every engine that a real server is to be had for, all at once by one operator.

What else there is to say of an engine, its own tests and the lives of its credentials say.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rotated_secrets.api.rotation import Strategy
from sandbox.applications.base import Account, LoginFailed
from sandbox.operatorprocess import OperatorProcess
from sandbox.pod import Pod
from sandbox.waiting import eventually
from tests.e2e.conftest import MakeApplication, StackOn
from tests.support.applied import Applied, as_delivered, passwords_of

pytestmark = pytest.mark.usefixtures("operator")

ENGINES = ("mysql", "mariadb", "mongo", "redis")
TWO_PASSWORDS = ("mysql", "redis")
RETIRE_AFTER = "2s"


@pytest.fixture
def orders(
    request: pytest.FixtureRequest, stack_on: StackOn, make_application: MakeApplication, operator: OperatorProcess
) -> Iterator[Applied]:
    """An application on the engine of the test; at the end no password of its is in the operator's or server's log."""
    made = make_application(on=stack_on(request.param))
    application = made.application
    yield made
    passwords = {
        password
        for secret_id in (application.secret_id, application.admin_secret_id)
        for password in passwords_of(application.store, secret_id)
    }
    logs = {"the operator's log": operator.log(), "the server's log": made.stack.side.log()}
    assert application.user in logs["the server's log"]
    assert [where for where, text in logs.items() if any(each in text for each in passwords)] == []


def pod_of(orders: Applied) -> Pod:
    return Pod(orders.api, orders.stack.side, orders.application.namespace, orders.application.name)


def rotate(orders: Applied, pod: Pod, request: str) -> Account:
    """Until the client logs in with what it made; returns that."""
    orders.rotate(request)
    made = orders.application.account()
    assert orders.secret() == as_delivered(orders.application.value())
    eventually(lambda: pod.logins_by_account[made] > 2, "the client logs in with the new credential")
    return made


def check(orders: Applied, pod: Pod, *, users: set[str], rotations: int) -> None:
    """As it should be after as many rotations."""
    assert pod.failures == []
    assert orders.application.users() == users
    stages = orders.application.stages()
    assert {stage: len(versions) for stage, versions in stages.items()} == {"AWSCURRENT": 1, "AWSPREVIOUS": 1}
    assert orders.version_count() == 1 + rotations
    assert [entry["outcome"] for entry in orders.status["history"]] == ["Succeeded"] * rotations


@pytest.mark.parametrize("orders", ENGINES, indirect=True)
def test_two_users_take_turns_without_a_failed_login(orders: Applied) -> None:
    application, side = orders.application, orders.stack.side
    orders.apply().until_ready()
    with pod_of(orders) as pod:
        assert rotate(orders, pod, "the first").user == application.clone
        assert rotate(orders, pod, "the second").user == application.user
    check(orders, pod, users={application.user, application.clone}, rotations=2)
    side.log_in(application.account("AWSPREVIOUS"))
    base, clone = (Account(user, "", application.database) for user in (application.user, application.clone))
    assert side.rights(base) == side.rights(clone)


@pytest.mark.parametrize("orders", TWO_PASSWORDS, indirect=True)
def test_a_second_password_is_given_and_the_old_one_retires(orders: Applied) -> None:
    application, side = orders.application, orders.stack.side
    oldest = application.account()
    orders.apply(strategy=Strategy.DUAL_PASSWORD).until_ready()
    with pod_of(orders) as pod:
        old = rotate(orders, pod, "the first")
        side.log_in(oldest)
        orders.patch({"spec": {"rotation": {"retireAfter": RETIRE_AFTER}}})
        new = rotate(orders, pod, "the second")
        eventually(lambda: not orders.status.get("retiring"), "the old password retires")
        for ended in (oldest, old):
            with pytest.raises(LoginFailed):
                side.log_in(ended)
        side.log_in(new)
    check(orders, pod, users={application.user}, rotations=2)
    eventually(lambda: "OldPasswordRetired" in orders.reasons(), "that is told")
