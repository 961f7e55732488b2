"""The operator dies or is cut off, or the server goes down, in the middle of a rotation: fresh runs end it well."""

from __future__ import annotations

import pytest

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.rotation import actions
from rotated_secrets.values import Stage
from sandbox.applications.base import DatabaseSide
from sandbox.database_proxy import SEND
from sandbox.proxy import Moment
from tests.life.conftest import LiveOne, pairs_with
from tests.support.life import Died, Life, Place, die

ACTIONS = (actions.SetPending, actions.TestPending, actions.FinishPending, actions.ClearPending, actions.SyncTarget)
FIRST_PARTS = (0.0, 0.35, 0.7, 1.0)
LATER_PARTS = (0.1, 0.4, 0.6, 0.9)
"""How much of a set is done when it is cut off; at 1 its last answer is lost."""


def test_connection_cut_inside_the_first_set(live: LiveOne, place: Place) -> None:
    sends, interrupted = _sends_in_set(live().deliver(), place), 0
    for part in FIRST_PARTS:
        life = live().deliver()
        interrupted += _cut(life.ask(), place, sends, part)
        assert not life.keeps_current or life.logs_in(life.held)
        life.finish()
        assert life.held.user == (life.clone if life.strategy is Strategy.ALTERNATING_USERS else life.user)
    assert interrupted > len(FIRST_PARTS) / 2


@pairs_with(Strategy.ALTERNATING_USERS)
def test_connection_cut_inside_a_later_set_that_has_rights_to_repair(
    life: Life, place: Place, side: DatabaseSide
) -> None:
    changes, sends = {True: side.give, False: side.take}, {}
    for given, change in changes.items():
        change(life.base)
        sends[given] = _sends_in_set(life, place)
        life.rotate()
    interrupted = 0
    for number, part in enumerate(LATER_PARTS):
        given = number % 2 == 0
        changes[given](life.base)
        interrupted += _cut(life.ask(), place, sends[given], part)
        assert life.logs_in(life.held)
        life.finish()
        assert life.held.user == life.clone
        assert side.may(life.held) is given
        life.rotate()
    assert interrupted > len(LATER_PARTS) / 2


def test_operator_that_dies_before_an_action_is_succeeded_by_another(life: Life) -> None:
    with life.watched():
        for action in ACTIONS:
            with pytest.raises(Died):
                life.ask().run(before={action: die})
            life.finish()


def test_server_that_crashes_between_set_and_test_has_kept_what_was_set(life: Life, place: Place) -> None:
    life.rotate()
    before = life.held
    try:
        waiting = life.ask().run(before={actions.TestPending: place.side.kill})
    finally:
        place.side.start()
    assert isinstance(waiting, actions.Retry), waiting
    assert life.held == before == life.at(Stage.CURRENT)
    assert life.logs_in(life.at(Stage.PENDING))
    assert life.logs_in(before) is life.keeps_current
    life.finish()


@pairs_with(Strategy.ALTERNATING_USERS, Strategy.DUAL_PASSWORD)
def test_delivered_credential_works_between_set_and_finish(life: Life) -> None:
    life.rotate()
    with pytest.raises(Died):
        life.ask().run(before={actions.FinishPending: die})
    assert life.logs_in(life.held)
    assert life.logs_in(life.at(Stage.PENDING))
    life.finish()


def _sends_in_set(life: Life, place: Place) -> int:
    """How often the admin's side sends something while a password is set, as a rotation of this life shows."""
    sent: list[int] = []
    life.ask().run(
        before={
            actions.SetPending: place.proxy.clear,
            actions.TestPending: lambda: sent.append(place.proxy.count(SEND)),
        }
    )
    life.check_rotated()
    return sent[0]


def _cut(life: Life, place: Place, sends: int, part: float) -> bool:
    """A rotation that is cut off when its admin's side has done this part of what sets a password.

    Returns whether that stopped it: how much is sent differs a little each time, and not every login beside the admin's
    is one that a rotation depends on.
    """
    number, moment = (sends, Moment.ANSWERED) if part == 1 else (1 + int(part * sends), Moment.SEEN)

    def arm() -> None:
        place.proxy.clear()
        place.proxy.trap(number, lambda _: None, name=SEND, moment=moment)

    waiting = life.run(before={actions.SetPending: arm, actions.TestPending: place.proxy.clear})
    place.proxy.clear()
    return isinstance(waiting, actions.Retry)
