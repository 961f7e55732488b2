"""What every strategy of every engine goes through, from the first rotation on, with nothing going wrong."""

from __future__ import annotations

import string

import pytest

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.databases.registry import engine_named
from sandbox.applications.base import DatabaseSide
from tests.life.conftest import LiveOne, Pair, pairs_with
from tests.support.life import Life


def test_first_second_and_tenth_rotation(life: Life) -> None:
    held = [life.held]
    with life.watched():
        for _ in range(10):
            life.rotate()
            held.append(life.held)
    assert len({each.password for each in held}) == len(held)
    still_valid = 1 if life.strategy is Strategy.SINGLE_USER else 2
    assert [each for each in held if life.logs_in(each)] == held[-still_valid:]
    users = [each.user for each in held[1:]]
    if life.strategy is Strategy.ALTERNATING_USERS:
        assert users == [life.clone, life.user] * 5
    else:
        assert set(users) == {life.user}
        assert life.users() == {life.user}


def test_grant_given_or_taken_between_rotations_is_had_or_lacked_by_every_later_credential(
    life: Life, side: DatabaseSide
) -> None:
    life.rotate()
    assert not side.may(life.held)
    for change, given in ((side.give, True), (side.take, False)):
        change(life.base)  # while the clone is active, where there is one
        for _ in range(2):
            life.rotate()
            assert side.may(life.held) is given


@pairs_with(Strategy.ALTERNATING_USERS)
def test_grant_given_or_taken_while_the_base_user_is_active_is_had_or_lacked_by_the_clone(
    life: Life, side: DatabaseSide
) -> None:
    for change, given in ((side.give, True), (side.take, False)):
        change(life.base)
        life.rotate()
        assert life.held.user == life.clone
        assert side.may(life.held) is given
        life.rotate()


def test_password_of_every_allowed_sign_logs_in(live: LiveOne, pair: Pair) -> None:
    limits = engine_named(pair.engine).passwords
    first = "x1" + "".join(sign for sign in string.punctuation if sign not in limits.excluded)
    policy = {"length": min(128, limits.longest or 128), "excludePunctuation": False}
    life = live(password=first[: limits.longest], spec={"password": policy}).deliver()
    for _ in range(2):
        life.rotate()
        assert len(life.held.password) == policy["length"]


@pairs_with(Strategy.SINGLE_USER, Strategy.DUAL_PASSWORD)
def test_admin_secret_is_not_needed_by_a_user_that_changes_itself(
    live: LiveOne, pair: Pair, side: DatabaseSide
) -> None:
    if pair.strategy is Strategy.DUAL_PASSWORD and not side.keeps_two_itself:
        pytest.skip("a second password takes an admin here")
    life = live(admin=None).deliver()
    for _ in range(2):
        life.rotate()
