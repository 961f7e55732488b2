"""What every strategy of every engine goes through, from the first rotation on, with nothing going wrong."""

from __future__ import annotations

import string

import pytest

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.databases.registry import engine_named
from sandbox.applications.base import DatabaseSide
from tests.life.conftest import LiveOne, Pair, pairs_with
from tests.life.life import Life


def test_first_second_and_tenth_rotation(life: Life) -> None:
    users = []
    with life.watched():
        for _ in range(10):
            before = life.held
            life.rotate()
            assert life.held.password != before.password
            users.append(life.held.user)
    if life.strategy is Strategy.ALTERNATING_USERS:
        assert users == [life.clone, life.user] * 5
    else:
        assert set(users) == {life.user}
        assert life.users() == {life.user}


def test_old_password_is_refused_once_its_user_has_a_new_one(life: Life) -> None:
    passwords = [life.held]
    for _ in range(3):
        life.rotate()
        passwords.append(life.held)
    kept = {Strategy.SINGLE_USER: 1}.get(life.strategy, 2)
    assert [life.logs_in(each) for each in passwords] == [False] * (4 - kept) + [True] * kept


def test_grant_given_between_rotations_is_had_by_every_later_credential(life: Life, side: DatabaseSide) -> None:
    for _ in range(2):
        life.rotate()
        assert not side.may(life.held)
    side.give(life.base)
    for _ in range(3):
        life.rotate()
        assert side.may(life.held)


def test_grant_taken_between_rotations_is_lacked_by_every_later_credential(life: Life, side: DatabaseSide) -> None:
    side.give(life.base)
    for _ in range(2):
        life.rotate()
        assert side.may(life.held)
    side.take(life.base)
    for _ in range(3):
        life.rotate()
        assert not side.may(life.held)


@pairs_with(Strategy.ALTERNATING_USERS)
def test_grant_given_to_the_base_user_while_the_clone_is_active_is_had_by_both(life: Life, side: DatabaseSide) -> None:
    life.rotate()
    side.give(life.base)
    life.rotate()
    life.rotate()
    assert life.held.user == life.clone
    assert side.may(life.held)


def test_password_of_every_allowed_sign_logs_in(live: LiveOne, pair: Pair) -> None:
    limits = engine_named(pair.engine).passwords
    first = "x1" + "".join(sign for sign in string.punctuation if sign not in limits.excluded)
    policy = {"length": min(128, limits.longest or 128), "excludePunctuation": False}
    life = live(password=first[: limits.longest], spec={"password": policy}).deliver()
    for _ in range(4):
        life.rotate()
        assert len(life.held.password) == policy["length"]


@pairs_with(Strategy.SINGLE_USER, Strategy.DUAL_PASSWORD)
def test_admin_secret_is_not_needed_by_a_user_that_changes_itself(
    live: LiveOne, pair: Pair, side: DatabaseSide
) -> None:
    if pair.strategy is Strategy.DUAL_PASSWORD and not side.keeps_two_itself:
        pytest.skip("a second password takes an admin here")
    life = live(admin=None).deliver()
    for _ in range(3):
        life.rotate()
