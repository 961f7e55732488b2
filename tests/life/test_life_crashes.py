"""The operator dies or is cut off, or the server goes down, in the middle of a rotation: fresh runs end it well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.rotation.actions import (
    Action,
    ClearPending,
    CreatePending,
    FinishPending,
    Lock,
    Retry,
    SetPending,
    SyncTarget,
    TestPending,
)
from sandbox.applications.base import DatabaseSide
from sandbox.proxy import SEND, Call, Moment
from tests.life.conftest import LiveOne, pairs_with
from tests.life.life import Died, Life, Place, die


def test_connection_cut_anywhere_inside_the_first_set(live: LiveOne, place: Place) -> None:
    for number, moment in _moments(live().deliver(), place):
        life = live().deliver()
        _cut(life.ask(), place, number, moment)
        assert life.strategy is Strategy.SINGLE_USER or life.logs_in(life.held)
        life.finish()
        _check_users(life, rotations=1)


def test_connection_cut_anywhere_inside_a_later_set_that_has_rights_to_repair(
    life: Life, place: Place, side: DatabaseSide
) -> None:
    life.rotate()
    life.rotate()
    given = False
    for number, moment in _moments(life, place, then=life.rotate):
        given = not given
        (side.give if given else side.take)(life.base)
        _cut(life.ask(), place, number, moment)
        life.finish()
        assert side.may(life.held) is given
        if life.strategy is Strategy.ALTERNATING_USERS:
            life.rotate()  # so that it is always the clone whose turn it is
        _check_users(life, rotations=2)


@pytest.mark.parametrize("action", [Lock, CreatePending, SetPending, TestPending, FinishPending, ClearPending, SyncTarget])
def test_operator_that_dies_before_an_action_is_succeeded_by_another(life: Life, action: type[Action]) -> None:
    with life.watched():
        with pytest.raises(Died):
            life.ask().run(before={action: die})
        life.finish()
        life.rotate()


def test_server_that_goes_down_between_set_and_test(life: Life, place: Place) -> None:
    life.rotate()
    before = life.held
    try:
        waiting = life.ask().run(before={TestPending: place.side.kill})
    finally:
        place.side.start()
    assert isinstance(waiting, Retry), waiting
    if life.keeps_current:
        assert life.held == before
        assert life.logs_in(before)
    life.finish()
    life.rotate()


def test_server_that_goes_down_after_a_rotation_comes_back_with_the_new_password(life: Life, place: Place) -> None:
    life.rotate()
    place.side.kill()
    place.side.start()
    life.check_at_rest()
    life.rotate()


@pairs_with(Strategy.ALTERNATING_USERS, Strategy.DUAL_PASSWORD)
def test_delivered_credential_works_between_set_and_finish(life: Life) -> None:
    life.rotate()
    with pytest.raises(Died):
        life.ask().run(before={FinishPending: die})
    assert life.logs_in(life.held)
    assert life.logs_in(life.pending())
    life.finish()


def _moments(life: Life, place: Place, *, then: object = None) -> Iterator[tuple[int, Moment]]:
    """Each thing that the admin's connection sends while a password is set, and the last one's answer."""
    sent: list[int] = []
    life.ask().run(
        before={
            SetPending: place.proxy.clear,
            TestPending: lambda: sent.append(place.proxy.count(SEND)),
        }
    )
    life.check_rotated()
    if callable(then):
        then()
    for number in range(1, sent[0] + 1):
        yield number, Moment.SEEN
    yield sent[0], Moment.ANSWERED


def _cut(life: Life, place: Place, number: int, moment: Moment) -> None:
    """A rotation whose admin is cut off when it sends something for the ``number``-th time while it sets a password."""
    caught: list[Call] = []

    def arm() -> None:
        place.proxy.clear()
        place.proxy.trap(number, caught.append, name=SEND, moment=moment)

    waiting = life.run(before={SetPending: arm, TestPending: place.proxy.clear})
    assert caught, f"set sent fewer than {number} times"
    assert isinstance(waiting, Retry), waiting


def _check_users(life: Life, *, rotations: int) -> None:
    clone = {life.clone} if life.strategy is Strategy.ALTERNATING_USERS else set()
    assert life.users() == {life.user} | clone
    assert life.held.user == (life.user if rotations % 2 == 0 or not clone else life.clone)
