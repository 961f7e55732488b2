"""What cannot succeed: it is refused before anything is changed, or rolled back to what was there before."""

from __future__ import annotations

import string
from datetime import timedelta

import pytest

from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.status import Outcome, Reason, Step
from rotated_secrets.controller.look.interpret import check_usernames
from rotated_secrets.databases.base import Refused
from rotated_secrets.databases.registry import engine_named
from rotated_secrets.rotation import actions
from rotated_secrets.values import Arn, Credential, SecretText, Stage
from sandbox.applications.base import Account, DatabaseSide
from sandbox.applications.postgres import PostgresSide
from tests.life.conftest import LiveOne, Pair, pairs_with
from tests.support.life import DATABASE, Died, Life, die

ARN = Arn("arn:aws:secretsmanager:eu-west-1:123456789012:secret:life/orders-AbCdEf")
AFTER_EVERY_BACKOFF = timedelta(hours=1)


def test_failed_test_puts_the_old_password_back(life: Life, side: DatabaseSide) -> None:
    life.rotate()
    life.rotate()
    before, previous = life.held, life.at(Stage.PREVIOUS)
    with life.watched():
        _fail(life, side)
        _check_rolled_back(life, before)
        if life.strategy is Strategy.ALTERNATING_USERS:
            assert life.logs_in(previous), "the passive user lost the password that AWSPREVIOUS has"
        life.check_parity()
        _try_again(life)


def test_failed_first_test_leaves_nobody_who_can_log_in_beside_the_old_credential(
    life: Life, side: DatabaseSide
) -> None:
    before = life.held
    with life.watched():
        _fail(life, side)
        _check_rolled_back(life, before)
        _try_again(life)


def test_check_that_fails_as_the_new_user_puts_the_old_password_back(live: LiveOne, side: DatabaseSide) -> None:
    life = _checked(live, side)
    before = life.held
    with life.watched():
        life.ask().run(before={actions.TestPending: lambda: side.take(life.base)})
        _check_rolled_back(life, before)
        _give_back(life, side)
        _try_again(life)


def test_operator_that_dies_while_it_rolls_back_is_succeeded_by_another(live: LiveOne, side: DatabaseSide) -> None:
    life = _checked(live, side)
    before = life.held
    with life.watched():
        with pytest.raises(Died):
            life.ask().run(before={actions.TestPending: lambda: side.take(life.base), actions.Restore: die})
        assert life.status.rotation is not None
        assert life.status.rotation.failure is not None
        _give_back(life, side)
        life.run()
        _check_rolled_back(life, before)
        _try_again(life)


def test_check_that_fails_as_the_present_user_holds_the_rotation(live: LiveOne, side: DatabaseSide) -> None:
    life = _checked(live, side)
    life.rotate()
    before = life.held
    side.take(life.base)
    waiting = life.ask().run()
    assert isinstance(waiting, actions.Hold)
    assert waiting.reason is Reason.VERIFY_QUERIES_FAILED
    assert life.held == before == life.at(Stage.CURRENT)
    side.give(life.base)
    life.run()
    life.check_rotated()


def test_password_of_every_allowed_sign_is_put_back_exactly(live: LiveOne, side: DatabaseSide, pair: Pair) -> None:
    limits = engine_named(pair.engine).passwords
    policy = {"length": min(128, limits.longest or 128), "excludePunctuation": False}
    first = "x1" + "".join(sign for sign in string.punctuation if sign not in limits.excluded)
    life = live(password=first[: limits.longest], spec={"password": policy}).deliver()
    for _ in range(2):
        before = life.held
        _fail(life, side)
        _check_rolled_back(life, before)
        _try_again(life)


def test_admin_without_the_privilege_is_told_so_and_nothing_is_changed(live: LiveOne, side: DatabaseSide) -> None:
    life = live(admin="bystander").deliver()
    before, rights, versions = life.held, side.rights(life.base), life.stages()
    with life.watched():
        life.ask().run()
    entry = life.status.history[0]
    assert side.lacking in entry.message
    assert entry.outcome is not Outcome.SUCCEEDED
    assert life.users() == {life.user}
    assert side.rights(life.base) == rights
    assert life.stages() == versions
    assert life.held == before == life.at(Stage.CURRENT)
    assert life.logs_in(before)


@pytest.mark.parametrize("pair", [Pair("postgres", Strategy.ALTERNATING_USERS)], ids=str, indirect=True)
def test_rollback_of_a_clone_that_was_never_made_tells_only_why_it_was_not(life: Life, side: DatabaseSide) -> None:
    assert isinstance(side, PostgresSide)
    admin, before = f"admin{life.user.removeprefix('app')}", life.held
    with life.watched():
        life.ask().run(before={actions.SetPending: lambda: side.server.sql(f"ALTER ROLE {admin} NOCREATEROLE")})
    entry = life.status.history[0]
    assert entry.outcome is Outcome.ROLLED_BACK
    assert side.lacking in entry.message
    assert "not undone" not in entry.message
    assert life.users() == {life.user}
    assert life.held == before == life.at(Stage.CURRENT)


def test_name_that_is_too_long_is_refused_before_anything_is_changed(pair: Pair, side: DatabaseSide) -> None:
    if side.longest_name is None:
        pytest.skip("names have no limit here")
    rotation = Rotation(strategy=pair.strategy)
    suffix = rotation.clone_suffix if pair.strategy is Strategy.ALTERNATING_USERS else ""
    longest = "u" * (side.longest_name - len(suffix))
    engine = engine_named(pair.engine)
    check_usernames(engine, rotation, _credential(pair, longest))
    with pytest.raises(Refused, match=rf"{longest}.*{side.longest_name}"):
        check_usernames(engine, rotation, _credential(pair, longest + "u"), longest + "u")
    with pytest.raises(Refused, match=str(side.longest_name)) as refused:
        check_usernames(engine, rotation, _credential(pair, longest + "u"))
    assert "uuuuuuuu" not in str(refused.value), "a name that never logged in may be a password"


@pairs_with(Strategy.ALTERNATING_USERS)
def test_stranger_with_the_name_of_the_clone_keeps_its_password(life: Life, side: DatabaseSide) -> None:
    stranger = Account(life.clone, "stranger-Password-1", DATABASE)
    side.create_bystander(stranger)
    life.passwords.append(stranger.password)
    before, rights = life.held, side.rights(stranger)
    with life.watched():
        life.ask().run()
    assert life.clone in life.status.history[0].message
    assert life.status.history[0].outcome is not Outcome.SUCCEEDED
    assert life.logs_in(stranger)
    assert life.held == before
    assert side.rights(stranger) == rights
    assert Stage.PENDING not in life.stages()


def _fail(life: Life, side: DatabaseSide) -> None:
    """A rotation whose new password does not log in any more when it is tested."""
    life.ask().run(before={actions.TestPending: lambda: side.spoil(life.at(Stage.PENDING))})


def _checked(live: LiveOne, side: DatabaseSide) -> Life:
    """A life with a verify query, after its first rotation."""
    if side.query is None:
        pytest.skip("this engine has no query that takes a right")
    life = live(spec={"verifyQueries": [side.query]})
    side.give(life.base)
    life.deliver().rotate()
    return life


def _give_back(life: Life, side: DatabaseSide) -> None:
    """Both users, for the roll-back may have made the clone lack what its base user lacked."""
    side.give(life.base)
    if life.strategy is Strategy.ALTERNATING_USERS and not side.may(life.held):
        side.give(life.held)


def _check_rolled_back(life: Life, before: Account) -> None:
    """AWSCURRENT is what it was, logs in, and is what pods have; nobody else of this life was given a way in."""
    entry = life.status.history[0]
    assert (entry.outcome, entry.step) == (Outcome.ROLLED_BACK, Step.TEST), entry
    assert life.held == before == life.at(Stage.CURRENT)
    assert life.logs_in(before)
    assert Stage.PENDING not in life.stages()
    known = {life.held, _previous(life)}
    for password in life.passwords:
        for user in life.users():
            attempt = Account(user, password, DATABASE)
            assert attempt in known or not life.logs_in(attempt), f"{user} logs in with a password that is nobody's"


def _previous(life: Life) -> Account | None:
    return life.at(Stage.PREVIOUS) if Stage.PREVIOUS in life.stages() else None


def _try_again(life: Life) -> None:
    """The next attempt, once its time has come, succeeds."""
    life.later += AFTER_EVERY_BACKOFF
    assert isinstance(life.run(), actions.Sleep)
    life.check_rotated()


def _credential(pair: Pair, user: str) -> Credential:
    return Credential(pair.engine, "127.0.0.1", user, SecretText("x"))
