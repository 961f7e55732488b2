"""Rights that a clone lost while pods use it are told, and are there again once the statement that is told was run."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.status import Condition, ConditionType, Reason
from rotated_secrets.rotation.policies import VERIFY_EVERY
from sandbox.applications.base import DatabaseSide
from sandbox.applications.postgres import PostgresSide
from tests.life.conftest import Pair
from tests.support.life import Life

ALTERNATING = pytest.mark.parametrize("pair", [Pair("postgres", Strategy.ALTERNATING_USERS)], ids=str, indirect=True)


def ready(life: Life) -> Condition:
    found = life.status.condition(ConditionType.READY)
    assert found is not None
    return found


def lose(life: Life, side: PostgresSide) -> None:
    """As when the admin is dropped, which from PostgreSQL 16 on takes what it granted with it."""
    admin = f"admin{life.user.removeprefix('app')}"
    side.server.sql(
        f"DROP OWNED BY {admin}" if side.server.major >= 16 else f"REVOKE {life.user} FROM {life.clone}",
    )


@ALTERNATING
def test_lost_rights_are_told_with_the_statement_that_gives_them_back(life: Life, side: DatabaseSide) -> None:
    assert isinstance(side, PostgresSide)
    life.rotate()
    lose(life, side)
    life.later = VERIFY_EVERY
    life.run()
    told = ready(life)
    assert (told.status, told.reason) == ("False", Reason.RIGHTS_MISSING)
    _, _, statements = told.message.partition(" run: ")
    for statement in statements.split("; "):
        side.server.sql(statement)
    life.later += timedelta(minutes=5)
    life.run()
    assert ready(life).status == "True"
    life.rotate()
    life.check_parity()


@ALTERNATING
def test_lost_rights_are_repaired_by_rotations_and_hold_up_none(life: Life, side: DatabaseSide) -> None:
    assert isinstance(side, PostgresSide)
    life.rotate()
    lose(life, side)
    life.rotate()
    life.rotate()
    life.check_parity()


@ALTERNATING
def test_a_clone_that_could_not_be_equal_is_told_before_a_version_is_made(life: Life, side: DatabaseSide) -> None:
    assert isinstance(side, PostgresSide)
    before = life.held
    side.server.sql(f"ALTER ROLE {life.user} SET app.tenant TO 'one'")
    life.ask().run()
    rotated = life.status.condition(ConditionType.ROTATED)
    assert rotated is not None
    assert "GRANT SET ON PARAMETER app.tenant" in rotated.message
    assert life.held == before
    assert life.users() == {life.user}
    _, _, advice = rotated.message.partition("; run: ")
    side.server.sql(advice.partition(" (as a superuser)")[0])
    life.later = timedelta(hours=1)
    life.run()
    assert life.held.user == life.clone
    life.check_parity()
