"""A RotatedSecret is deleted in the middle of its rotation, while no operator runs or while one does.

The next operator ends that rotation: nobody is locked out, and nothing carries AWSPENDING. The deletion waits for none.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from sandbox.application import Application, account_in, create_application
from sandbox.applications.base import LoginFailed
from sandbox.kubernetes.client import StatusError
from sandbox.proxy import Call, Moment
from sandbox.stack import Stack
from sandbox.waiting import eventually
from tests.chaos.conftest import MortalOperator
from tests.support.applied import Applied
from tests.support.replicas import PATIENCE

pytestmark = pytest.mark.timeout(400)

STAGE = "UpdateSecretVersionStage"
STRATEGIES = ("SingleUser", "AlternatingUsers")
POINTS = (
    ("PutSecretValue", Moment.SEEN),
    ("PutSecretValue", Moment.ANSWERED),
    (STAGE, Moment.SEEN),
    (STAGE, Moment.ANSWERED),
)
"""Before and after the new version is made, between set and finish, and after AWSCURRENT has moved."""


@pytest.fixture
def resource(stack: Stack, chaos_namespace: str) -> Applied:
    name = f"gone-{secrets.token_hex(4)}"
    return Applied(create_application(stack, chaos_namespace, name))


@pytest.fixture
def operator(mortal_operator: MortalOperator) -> Iterator[MortalOperator]:
    yield mortal_operator
    mortal_operator.kill()


def killed_at(
    stack: Stack, operator: MortalOperator, resource: Applied, strategy: str, call: str, moment: Moment
) -> None:
    """Rotate, and kill the operator at a call to the store."""
    operator.start()
    resource.apply(strategy=strategy).until_ready()
    stack.store_proxy.clear()
    stack.store_proxy.trap(
        1, lambda _: operator.kill(), moment=moment, name=call, subject=resource.application.secret_id
    )
    resource.ask("now")
    eventually(lambda: not operator.runs, f"{call} kills it", seconds=PATIENCE)
    stack.store_proxy.clear()


def entries(stack: Stack, namespace: str) -> list[str]:
    found = stack.api.get(f"/api/v1/namespaces/{namespace}/configmaps", labelSelector="rotatedsecrets.io/journal")
    return [each["metadata"]["name"] for each in found["items"]]


def in_order(application: Application, delivered: dict[str, str] | None) -> None:
    """Both the store's and the target Secret's credential log in; nothing carries AWSPENDING; no third user."""
    side = application.stack.side
    assert "AWSPENDING" not in application.stages()
    side.log_in(application.account())
    assert application.users() <= {application.user, application.clone}
    if delivered is not None:
        side.log_in(account_in(delivered))


def until_ended(stack: Stack, namespace: str) -> None:
    eventually(lambda: not entries(stack, namespace), "the rotation is ended", seconds=PATIENCE)


@pytest.mark.parametrize(("call", "moment"), POINTS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_deleted_while_no_operator_runs(
    stack: Stack,
    chaos_namespace: str,
    operator: MortalOperator,
    resource: Applied,
    strategy: str,
    call: str,
    moment: Moment,
) -> None:
    killed_at(stack, operator, resource, strategy, call, moment)
    before = resource.application.value("AWSCURRENT")
    resource.delete()
    with pytest.raises(StatusError, match="not found"):
        resource.read()
    operator.start()
    until_ended(stack, chaos_namespace)
    in_order(resource.application, resource.secret())
    assert resource.application.value() == before, "what moved has moved, and nothing else"
    assert "Traceback" not in operator.log()


def test_application_was_locked_out_before(
    stack: Stack, chaos_namespace: str, operator: MortalOperator, resource: Applied
) -> None:
    """The case without which the others prove little: the database has the password that AWSPENDING holds."""
    application = resource.application
    killed_at(stack, operator, resource, "SingleUser", STAGE, Moment.SEEN)
    with pytest.raises(LoginFailed):
        stack.side.log_in(application.account())
    stack.side.log_in(application.account("AWSPENDING"))
    resource.delete()
    operator.start()
    until_ended(stack, chaos_namespace)
    in_order(application, resource.secret())


def test_target_secret_that_went_too_is_not_created_again(
    stack: Stack, chaos_namespace: str, operator: MortalOperator, resource: Applied
) -> None:
    killed_at(stack, operator, resource, "SingleUser", STAGE, Moment.ANSWERED)
    resource.delete()
    stack.api.delete(resource.secret_path)
    operator.start()
    until_ended(stack, chaos_namespace)
    assert resource.secret() is None
    in_order(resource.application, None)


def test_created_again_with_another_strategy(
    stack: Stack, chaos_namespace: str, operator: MortalOperator, resource: Applied
) -> None:
    killed_at(stack, operator, resource, "SingleUser", STAGE, Moment.SEEN)
    resource.delete()
    resource.apply(strategy="AlternatingUsers")
    operator.start()
    resource.until_ready()
    until_ended(stack, chaos_namespace)
    in_order(resource.application, resource.secret())
    resource.rotate("again")
    in_order(resource.application, resource.secret())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_deleted_while_the_operator_works(
    stack: Stack, chaos_namespace: str, operator: MortalOperator, resource: Applied, strategy: str
) -> None:
    """At the first call after the password was set."""
    operator.start()
    resource.apply(strategy=strategy).until_ready()
    stack.store_proxy.clear()
    gone: list[Call] = []

    def delete(call: Call) -> None:
        resource.delete()
        gone.append(call)

    stack.store_proxy.trap(1, delete, name=STAGE, subject=resource.application.secret_id, cut=False)
    resource.ask("now")
    eventually(lambda: gone, "it is deleted", seconds=PATIENCE)
    until_ended(stack, chaos_namespace)
    in_order(resource.application, resource.secret())
