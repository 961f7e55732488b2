"""A RotatedSecret is deleted and created again with another clone suffix: no third user appears, and it is told why."""

from __future__ import annotations

import pytest

from sandbox.application import Application
from sandbox.operatorprocess import OperatorProcess
from sandbox.waiting import eventually
from tests.e2e.conftest import MakeApplication, StackOn
from tests.support.applied import Applied

ENGINES = ("postgres", "mysql", "mariadb", "mongo", "redis")
OTHER = "_CLONE"
AGAIN = "delete this RotatedSecret and create it again with rotation.cloneSuffix: _clone"


def until_refused(orders: Applied) -> str:
    """Wait for the refusal of the rotation that was asked for. Returns its message."""

    def told() -> str | None:
        message = str(orders.condition("Rotated").get("message", ""))
        return message if AGAIN in message else None

    return str(eventually(told, "the refusal is told", seconds=30))


def in_order(application: Application) -> None:
    application.stack.side.log_in(application.account())
    assert "AWSPENDING" not in application.stages()
    assert application.users() == {application.user, application.clone}, "a third user"


@pytest.mark.parametrize("rotations", [1, 2], ids=["clone is current", "base user is current"])
@pytest.mark.parametrize("engine", ENGINES)
def test_no_third_user_appears(
    stack_on: StackOn, operator: OperatorProcess, make_application: MakeApplication, engine: str, rotations: int
) -> None:
    orders = make_application(stack_on(engine))
    application = orders.application
    orders.apply().until_ready()
    for number in range(rotations):
        orders.rotate(f"number {number}")
    before = application.value()
    orders.delete()
    orders.apply(cloneSuffix=OTHER).until_ready()
    orders.ask("another suffix")
    message = until_refused(orders)
    told = f"clone of {application.user}" if rotations == 1 else f"has a clone already, {application.clone}"
    assert told in message
    in_order(application)
    assert application.value() == before
    orders.delete()
    orders.apply().until_ready()
    orders.rotate("the first suffix again")
    in_order(application)
    assert application.value()["username"] != before["username"]
