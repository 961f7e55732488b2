"""DualPassword: the old password lives beside the new one, for as long as was said, and then it does not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.status import Outcome, RotatedSecretStatus
from rotated_secrets.rotation import actions
from rotated_secrets.values import Stage
from sandbox.applications.base import Account, DatabaseSide
from sandbox.database_proxy import SEND
from sandbox.proxy import Moment
from tests.life.conftest import LiveOne, pairs_with
from tests.support.life import DATABASE, Died, Life, Place, die

pytestmark = pairs_with(Strategy.DUAL_PASSWORD)
BEFORE_RETIREMENT, AFTER_RETIREMENT = timedelta(hours=23), timedelta(hours=25)


def test_old_password_logs_in_until_it_is_retired(life: Life) -> None:
    old = life.held
    with life.watched():
        life.rotate()
        life.later += BEFORE_RETIREMENT
        life.run()
        assert _working(life) == {old, life.held}
        life.later += AFTER_RETIREMENT
        life.run()
        assert _working(life) == {life.held}
        assert life.status.retiring is None
        life.rotate()


def test_time_until_retirement_is_as_asked_for(live: LiveOne) -> None:
    life = live(spec={"retireAfter": "1h"}).deliver()
    old = life.held
    life.rotate()
    assert life.logs_in(old)
    life.later += timedelta(hours=2)
    life.run()
    assert _working(life) == {life.held}


def test_what_is_to_be_retired_survives_its_resource(life: Life) -> None:
    """Deleted and created again, as a restore or another repository does it: with it go its status and the Secret."""
    old = life.held
    life.rotate()
    life.later += timedelta(hours=1)
    life.status, life.delivered, life.request = RotatedSecretStatus(), None, None
    life.created_at = life.now()
    life.run()
    assert _working(life) == {old, life.held}
    with life.watched():
        life.later += BEFORE_RETIREMENT
        life.run()
        assert _working(life) == {old, life.held}, "pods may have started with it before the Secret was made again"
        life.later += timedelta(hours=2)
        life.run()
        assert _working(life) == {life.held}
        assert life.status.retiring is None
        assert isinstance(life.run(), actions.Sleep)
        life.rotate()


def test_next_rotation_ends_the_password_before_the_old_one(life: Life) -> None:
    kept: list[Account] = [life.held]
    with life.watched():
        for _ in range(4):
            life.rotate()
            kept.append(life.held)
            assert _working(life) == set(kept[-2:])


@pytest.mark.parametrize("action", [actions.TestPending, actions.FinishPending])
def test_crash_after_set_keeps_both_passwords_and_is_gone_on_with(life: Life, action: type[actions.Action]) -> None:
    life.rotate()
    old = life.held
    with life.watched():
        with pytest.raises(Died):
            life.ask().run(before={action: die})
        assert _working(life) == {old, life.at(Stage.PENDING)}
        life.finish()
        assert _working(life) == {old, life.held}


@pytest.mark.parametrize("moment", Moment)
def test_crash_while_the_old_password_is_retired_is_gone_on_with(life: Life, place: Place, moment: Moment) -> None:
    with life.watched():
        life.rotate()
        life.later += AFTER_RETIREMENT
        waiting = life.run(
            before={actions.Retire: lambda: place.proxy.trap(1, lambda _: None, name=SEND, moment=moment)}
        )
        assert isinstance(waiting, actions.Retry)
        assert life.status.retiring is not None
        place.proxy.clear()
        life.finish()
        assert life.status.retiring is None
        assert _working(life) == {life.held}


def test_roll_back_leaves_exactly_one_password(life: Life, side: DatabaseSide) -> None:
    with life.watched():
        for _ in range(2):  # with one password at first, and with an old one beside it
            life.rotate()
            before = life.held
            life.ask().run(before={actions.TestPending: lambda: side.spoil(life.at(Stage.PENDING))})
            assert life.status.history[0].outcome is Outcome.ROLLED_BACK
            assert life.held == before
            assert _working(life) == {before}
            life.later += timedelta(hours=1)
            life.run()
            life.check_rotated()


def _working(life: Life) -> set[Account]:
    """All that log in, of every password that there ever was."""
    everything = {Account(life.user, password, DATABASE) for password in life.passwords}
    return {each for each in everything if life.logs_in(each)}
