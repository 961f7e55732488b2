"""What the plan does for a RotatedSecret that was deleted in the middle of its rotation."""

from __future__ import annotations

import pytest

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.api.status import Outcome, Reason, RotatedSecretStatus, Step
from rotated_secrets.databases.base import RightsReport
from rotated_secrets.rotation.actions import FinishPending, Hold, Retry, SetPending, Sleep
from rotated_secrets.rotation.deletion import needs_entry
from rotated_secrets.rotation.policies import MOST_UNFINISHED
from rotated_secrets.values import Credential, SecretText, Stage, VersionId
from tests.support.world import (
    ARN,
    FIRST,
    OURS,
    ModelOperator,
    ModelSession,
    World,
    current,
    put_pending,
    settled,
    world_of,
)
from tests.support.world import value as value_of


def stopped(strategy: Strategy, before: type) -> World:
    """A world whose operator ended before an action of a rotation."""
    world = settled(world_of(strategy))
    world.request = "now"
    operator = ModelOperator(world)
    operator.step()
    while not isinstance(operator.run and operator.run.next_action(), before):
        operator.step()
    operator.end()
    return world


def pending(world: World) -> bool:
    return any(Stage.PENDING in labels for labels in world.store.stages.values())


@pytest.mark.parametrize("strategy", OURS)
def test_rotation_that_was_not_finished_is_rolled_back(strategy: Strategy) -> None:
    world = stopped(strategy, FinishPending)
    world.delete()
    assert isinstance(ModelOperator(world).run_until_it_waits(), Sleep)
    assert world.journal is None and not pending(world)
    assert world.rotations == 0 and current(world).version_id == FIRST
    if world.terms.has_database:
        assert world.database.logs_in(Credential.of(current(world).value))


@pytest.mark.parametrize("strategy", [each for each in OURS if each is not Strategy.RANDOM_VALUE])
def test_rotation_that_was_not_set_anywhere_leaves_nothing(strategy: Strategy) -> None:
    world = stopped(strategy, SetPending)
    world.delete()
    ModelOperator(world).run_until_it_waits()
    assert world.journal is None and not pending(world)
    assert world.database.logs_in(Credential.of(current(world).value))


def test_nothing_new_begins() -> None:
    world = stopped(Strategy.SINGLE_USER, FinishPending)
    world.request = "another"
    world.delete()
    ModelOperator(world).run_until_it_waits()
    assert world.store.calls.count("PutSecretValue") == 1


def test_old_password_that_the_database_refuses_is_given_up_for_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with a password history; no later look would try again."""
    world = stopped(Strategy.SINGLE_USER, FinishPending)
    world.delete()
    the_real = ModelSession.set_password

    def keeps_a_history(session: ModelSession, users: object, credential: Credential, *rest: object) -> RightsReport:
        if credential.password == SecretText("first"):
            return RightsReport()  # said nothing, and changed nothing
        return the_real(session, users, credential, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(ModelSession, "set_password", keeps_a_history)
    ModelOperator(world).run_until_it_waits()
    assert world.journal is None and not pending(world)
    assert world.rotations == 1
    assert world.database.logs_in(Credential.of(current(world).value))
    assert world.target is not None and world.database.logs_in(Credential.of(world.target.value))


def test_database_that_refuses_both_passwords_is_tried_again() -> None:
    world = stopped(Strategy.SINGLE_USER, FinishPending)
    world.delete()
    world.database.refuses_to_set = True
    assert isinstance(ModelOperator(world).run_until_it_waits(), Retry)
    assert world.journal is not None and pending(world)
    world.database.refuses_to_set = False
    ModelOperator(world).run_until_it_waits()
    assert world.journal is None and not pending(world)


def test_alternating_users_need_no_login_to_take_awspending_off() -> None:
    """AWSCURRENT's user was not changed, so its wrong password is not of this rotation's making."""
    world = stopped(Strategy.ALTERNATING_USERS, FinishPending)
    world.delete()
    world.database.passwords["app"] = SecretText("someone changed it")
    ModelOperator(world).run_until_it_waits()
    assert world.journal is None and not pending(world)


def test_single_user_of_which_no_password_logs_in_is_not_given_another() -> None:
    world = stopped(Strategy.SINGLE_USER, FinishPending)
    world.delete()
    world.database.passwords["app"] = SecretText("someone changed it")
    waiting = ModelOperator(world).run_until_it_waits()
    assert isinstance(waiting, Hold) and waiting.reason is Reason.LOGIN_FAILED
    assert pending(world) and world.journal is not None


def test_version_of_a_later_attempt_is_rolled_back_too() -> None:
    """The journal has the first one's id."""
    world = stopped(Strategy.SINGLE_USER, FinishPending)
    assert world.journal is not None
    world.journal = world.journal.model_copy(update={"version_id": VersionId("an earlier attempt")})
    world.delete()
    ModelOperator(world).run_until_it_waits()
    assert world.journal is None and not pending(world)
    assert world.database.logs_in(Credential.of(current(world).value))


def test_awspending_of_someone_else_stays() -> None:
    world = stopped(Strategy.SINGLE_USER, SetPending)
    world.store.stages = {FIRST: frozenset({Stage.CURRENT})}
    put_pending(world, VersionId("of a person"), value_of("app", "theirs"))
    world.delete()
    ModelOperator(world).run_until_it_waits()
    assert world.journal is None
    assert Stage.PENDING in world.store.stages[VersionId("of a person")]


def test_old_password_of_dual_password_is_the_only_one_again() -> None:
    world = stopped(Strategy.DUAL_PASSWORD, FinishPending)
    world.delete()
    ModelOperator(world).run_until_it_waits()
    assert world.database.passwords["app"] == SecretText("first")
    assert world.database.kept == {}


def test_external_needs_no_entry() -> None:
    world = stopped(Strategy.SINGLE_USER, FinishPending)
    assert needs_entry(world.status, Strategy.SINGLE_USER)
    assert not needs_entry(world.status, Strategy.EXTERNAL)
    assert not needs_entry(RotatedSecretStatus(), Strategy.SINGLE_USER)


# ---- the same secret, in a new RotatedSecret with other settings, whose predecessor left no entry


def renewed(world: World, strategy: Strategy) -> World:
    world.status, world.journal = RotatedSecretStatus(), None
    world.rotation = world.rotation.model_copy(update={"strategy": strategy})
    return world


def test_awspending_of_other_settings_stays_while_the_database_may_have_its_password() -> None:
    world = renewed(stopped(Strategy.SINGLE_USER, FinishPending), Strategy.ALTERNATING_USERS)
    waiting = ModelOperator(world).run_until_it_waits()
    assert isinstance(waiting, Hold) and waiting.reason is Reason.LOGIN_FAILED
    assert "create this RotatedSecret again with the rotation.strategy" in waiting.message
    assert pending(world)


def test_awspending_of_other_settings_waits_for_a_database_that_is_down() -> None:
    world = renewed(stopped(Strategy.SINGLE_USER, FinishPending), Strategy.ALTERNATING_USERS)
    world.database.down = True
    assert isinstance(ModelOperator(world).run_until_it_waits(), Retry)
    assert pending(world)


def test_awspending_of_other_settings_is_abandoned_once_awscurrent_logs_in() -> None:
    world = renewed(stopped(Strategy.SINGLE_USER, SetPending), Strategy.ALTERNATING_USERS)
    ModelOperator(world).run_until_it_waits()
    assert not pending(world)
    assert world.database.logs_in(Credential.of(world.store.get(ARN, stage=Stage.CURRENT).value))


def test_history_of_a_rolled_back_rotation_says_why() -> None:
    world = stopped(Strategy.SINGLE_USER, FinishPending)
    world.delete()
    operator = ModelOperator(world)
    operator.step()
    run = operator.run
    assert run is not None and run.seen.claim is not None and run.seen.claim.step is Step.SET
    while operator.run is not None:
        operator.step()
    (entry,) = run.seen.status.history
    assert entry.outcome is Outcome.ROLLED_BACK and "was deleted" in entry.message


@pytest.mark.parametrize("strategy", OURS)
def test_no_rotation_begins_while_too_many_of_deleted_resources_are_unfinished(strategy: Strategy) -> None:
    """Each of them is in the operator's namespace, where no quota of the tenant counts it."""
    world = settled(world_of(strategy))
    world.request, world.left_unfinished = "now", MOST_UNFINISHED
    held = ModelOperator(world).run_until_it_waits()
    assert isinstance(held, Hold) and held.reason is Reason.TOO_MANY_REQUESTS
    assert held.message.startswith(f"held: {MOST_UNFINISHED} rotations of this namespace whose RotatedSecrets were del")
    assert world.journal is None and world.status.rotation is None and not pending(world)
    world.left_unfinished = MOST_UNFINISHED - 1
    ModelOperator(world).run_until_it_waits()
    assert world.rotations == 1


@pytest.mark.parametrize("strategy", OURS)
def test_rotation_that_has_begun_is_not_held_by_those_of_deleted_resources(strategy: Strategy) -> None:
    world = stopped(strategy, FinishPending)
    world.left_unfinished = MOST_UNFINISHED
    ModelOperator(world).run_until_it_waits()
    assert world.rotations == 1


@pytest.mark.parametrize("strategy", OURS)
def test_successor_resumes_no_rotation_while_too_many_are_unfinished(strategy: Strategy) -> None:
    """Else each one that is created and deleted on the same secret would leave an entry."""
    world = stopped(strategy, FinishPending)
    world.status, world.journal = RotatedSecretStatus(), None
    world.left_unfinished = MOST_UNFINISHED
    held = ModelOperator(world).run_until_it_waits()
    assert isinstance(held, Hold) and held.reason is Reason.TOO_MANY_REQUESTS
    assert world.journal is None and world.status.rotation is None
    world.left_unfinished = 0
    ModelOperator(world).run_until_it_waits()
    assert not pending(world)


def test_rotation_of_a_deleted_resource_ends_however_many_are_unfinished() -> None:
    world = stopped(Strategy.SINGLE_USER, FinishPending)
    world.delete()
    world.left_unfinished = MOST_UNFINISHED
    assert isinstance(ModelOperator(world).run_until_it_waits(), Sleep)
    assert world.journal is None and not pending(world)


def test_rotation_by_aws_itself_is_not_held_by_unfinished_ones() -> None:
    """It has no entry."""
    world = settled(world_of(Strategy.EXTERNAL))
    world.request, world.left_unfinished = "now", MOST_UNFINISHED
    held = ModelOperator(world).run_until_it_waits()
    assert not (isinstance(held, Hold) and held.reason is Reason.TOO_MANY_REQUESTS)
