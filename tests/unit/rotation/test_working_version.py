"""Before a person is advised to move a stage, a login has shown which version the database takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rotated_secrets.api.rotation import RandomValue, Rotation, Strategy
from rotated_secrets.api.status import ConditionType, Outcome, Reason, RotatedSecretStatus, Step
from rotated_secrets.databases.base import Refused
from rotated_secrets.rotation import actions
from rotated_secrets.rotation.actions import FinishPending, Hold, Retry, Sleep
from rotated_secrets.rotation.observation import Observation, Terms, with_stage_moved
from rotated_secrets.rotation.status_updates import with_failure
from rotated_secrets.rotation.strategies import credential_to_try, successor
from rotated_secrets.secretstores.base import StoredVersion
from rotated_secrets.values import SecretText, SecretValue, Stage, VersionId
from tests.support.world import (
    ARN,
    CREATED,
    FIRST,
    ModelOperator,
    ModelSession,
    World,
    current,
    put_pending,
    rotate,
    settled,
    value,
    world_of,
)

THEIRS = VersionId("22222222-2222-2222-2222-222222222222")
ONE_USER = [Strategy.SINGLE_USER, Strategy.DUAL_PASSWORD]
WITH_DATABASE = [*ONE_USER, Strategy.ALTERNATING_USERS]
TAKE_OFF = f"--version-stage AWSPENDING --remove-from-version-id {THEIRS}"


def move_current(to: VersionId, remove_from: VersionId) -> str:
    return f"--version-stage AWSCURRENT --move-to-version-id {to} --remove-from-version-id {remove_from}"


def by_hand(world: World, to: VersionId | None, remove_from: VersionId, stage: Stage = Stage.CURRENT) -> None:
    """A person does what a message advises."""
    world.store.stages = with_stage_moved(world.store.stages, stage, to=to, remove_from=remove_from)


def set_by_another(world: World, password: str = "theirs", user: str = "app") -> None:
    """Another rotator has created its version and set its password; it does nothing more."""
    put_pending(world, THEIRS, value(user, password))
    world.database.passwords[user] = SecretText(password)


def look(world: World) -> str:
    """Return for what the operator holds, or nothing."""
    waiting = ModelOperator(world).run_until_it_waits()
    assert isinstance(waiting, Hold | Sleep), waiting
    return waiting.message if isinstance(waiting, Hold) else ""


def ready(world: World) -> tuple[str, str]:
    condition = world.status.condition(ConditionType.READY)
    assert condition is not None
    return condition.status, condition.message


def stopped_before(world: World, action: type) -> World:
    """A rotation whose operator ends before an action."""
    world.request = "request"
    operator = ModelOperator(world)
    operator.step()
    while not isinstance(operator.run and operator.run.next_action(), action):
        operator.step()
    operator.end()
    return world


# ---- AWSPENDING of another rotator


@pytest.mark.parametrize("strategy", ONE_USER)
def test_version_of_another_rotator_that_logs_in_alone_is_to_become_current(strategy: Strategy) -> None:
    world = settled(world_of(strategy))
    assert ready(world)[0] == "True"
    set_by_another(world)
    message = look(world)
    assert "AWSPENDING --remove" not in message
    assert move_current(THEIRS, FIRST) in message
    assert ready(world)[0] == "False" and move_current(THEIRS, FIRST) in ready(world)[1]
    by_hand(world, THEIRS, FIRST)
    assert look(world) == ""
    assert ready(world)[0] == "True"
    assert world.target == current(world) == world.store.versions[THEIRS]
    rotate(world, "request")
    assert world.status.history[0].outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("strategy", WITH_DATABASE)
def test_version_of_another_rotator_that_was_not_set_is_to_lose_its_stage(strategy: Strategy) -> None:
    world = settled(world_of(strategy))
    put_pending(world, THEIRS, value("app", "theirs"))
    world.database.logins.clear()
    message = look(world)
    assert TAKE_OFF in message and "AWSCURRENT logs in" in message and "--move-to" not in message
    assert world.database.logins == ["app"], "no login is tried that is not needed"
    by_hand(world, None, THEIRS, Stage.PENDING)
    rotate(world, "request")
    assert world.status.history[0].outcome is Outcome.SUCCEEDED


def test_alternating_users_lose_nothing_with_the_stage_of_another_rotators_version() -> None:
    world = settled(world_of())
    rotate(world, "request")
    set_by_another(world)
    assert TAKE_OFF in look(world)
    by_hand(world, None, THEIRS, Stage.PENDING)
    rotate(world, "another request")
    assert world.rotations == 2


def test_no_other_version_is_tried_once_one_logs_in() -> None:
    world = settled(world_of(Strategy.SINGLE_USER))
    rotate(world, "request")
    set_by_another(world)
    world.database.logins.clear()
    assert f"--move-to-version-id {THEIRS}" in look(world)
    assert world.database.logins == ["app", "app"], "AWSCURRENT, then AWSPENDING"


@pytest.mark.parametrize("strategy", ONE_USER)
def test_no_stage_is_named_while_no_version_logs_in(strategy: Strategy) -> None:
    world = settled(world_of(strategy))
    put_pending(world, THEIRS, value("app", "theirs"))
    world.database.passwords["app"] = SecretText("of a person")
    message = look(world)
    assert "--version-stage" not in message
    assert f"nor does version {THEIRS}: put the user's real password into the secret" in message


def test_no_stage_is_named_while_the_database_does_not_answer() -> None:
    world = settled(world_of(Strategy.SINGLE_USER))
    set_by_another(world)
    world.database.down = True
    waiting = ModelOperator(world).run_until_it_waits()
    assert isinstance(waiting, Retry)
    held = world.status.condition(ConditionType.HELD)
    assert held is not None and held.reason == Reason.MANAGED_ELSEWHERE
    assert "not known yet which version logs in: the database is down" in held.message
    assert "--version-stage" not in held.message


@pytest.mark.parametrize(
    "theirs",
    [value("admin", "theirs"), value("app", "theirs").replacing(host="another"), SecretValue.parse("{}"), None],
    ids=["another user", "another host", "no credential", "no value yet"],
)
def test_version_for_another_user_or_server_is_not_tried(theirs: SecretValue | None) -> None:
    world = settled(world_of(Strategy.SINGLE_USER))
    if theirs is None:
        world.store.stages = {**world.store.stages, THEIRS: frozenset({Stage.PENDING})}
    else:
        put_pending(world, THEIRS, theirs)
    world.database.passwords |= {"app": SecretText("theirs"), "admin": SecretText("theirs")}
    world.database.logins.clear()
    waiting = ModelOperator(world).run_until_it_waits()
    assert isinstance(waiting, Hold) and waiting.reason is Reason.MANAGED_ELSEWHERE
    assert waiting.message.endswith("; put the user's real password into the secret")
    assert world.database.logins == ["app"]


def test_without_a_database_both_values_are_to_be_tried() -> None:
    world = settled(world_of(Strategy.RANDOM_VALUE))
    put_pending(world, THEIRS, SecretValue.parse("theirs"))
    message = look(world)
    assert "try both values where they are used" in message
    command = f"aws secretsmanager update-secret-version-stage --secret-id {ARN}"
    assert f"if AWSCURRENT's works, run {command} {TAKE_OFF}, else run {command}" in message
    assert move_current(THEIRS, FIRST) in message


def test_value_of_another_rotator_is_tried_only_if_it_differs_in_what_is_rotated() -> None:
    rotation = Rotation(strategy=Strategy.RANDOM_VALUE, random=RandomValue(keys=("password",)))
    terms = Terms(ARN, rotation, schedule=None, request=None, created_at=CREATED)
    now = StoredVersion(FIRST, value("app", "first"), CREATED, ARN)
    seen = Observation.first(terms, {}, now, RotatedSecretStatus())
    theirs = credential_to_try(terms, seen, replace(now, value=value("app", "theirs")))
    assert theirs is not None and theirs.password == SecretText("theirs")
    assert credential_to_try(terms, seen, replace(now, value=value("admin", "theirs"))) is None


def test_no_login_is_tried_where_aws_rotates() -> None:
    world = settled(world_of(Strategy.SINGLE_USER))
    set_by_another(world)
    world.database.logins.clear()
    operator = ModelOperator(world)
    operator.step()
    assert operator.run is not None
    operator.run.seen = replace(operator.run.seen, elsewhere="AWS rotates it")
    waiting = operator.run_until_it_waits()
    assert isinstance(waiting, Hold) and waiting.message == "held: AWS rotates it"
    assert world.database.logins == []


def test_what_aws_has_pending_is_named_with_external() -> None:
    world = World(Rotation(strategy=Strategy.EXTERNAL))
    world.database.passwords["app"] = SecretText("theirs")
    put_pending(world, THEIRS, value("app", "theirs"))
    look(world)
    assert f"{THEIRS}, which carries AWSPENDING, logs in: if its rotation does not finish" in ready(world)[1]


# ---- no AWSPENDING, or the operator's own


@pytest.mark.parametrize("strategy", WITH_DATABASE)
def test_previous_version_is_named_where_it_logs_in_and_current_does_not(strategy: Strategy) -> None:
    """Another rotator has moved AWSCURRENT, and never set the password."""
    world = settled(world_of(strategy))
    put_pending(world, THEIRS, value("app", "never set"))
    by_hand(world, THEIRS, FIRST)
    assert look(world) == ""
    assert move_current(FIRST, THEIRS) in ready(world)[1]
    world.request = "request"
    assert move_current(FIRST, THEIRS) in look(world) or move_current(FIRST, THEIRS) in ready(world)[1]
    by_hand(world, FIRST, THEIRS)
    look(world)
    assert ready(world)[0] == "True"
    assert world.rotations == 1


@pytest.mark.parametrize("strategy", ONE_USER)
def test_version_that_lost_awspending_is_named_only_if_it_logs_in(strategy: Strategy) -> None:
    world = stopped_before(settled(world_of(strategy)), actions.TestPending)
    lost = successor(ARN, FIRST, 0)
    world.database.kept.clear()
    by_hand(world, None, lost, Stage.PENDING)
    message = look(world)
    assert move_current(lost, FIRST) in message
    set_password, world.database.passwords["app"] = world.database.passwords["app"], SecretText("of a person")
    message = look(world)
    assert "--version-stage" not in message and f"nor does version {lost}" in message
    world.database.passwords["app"] = set_password
    by_hand(world, lost, FIRST)
    assert look(world) == ""
    assert world.rotations == 0, "the person moved it"
    assert world.status.history[0].outcome is Outcome.SUCCEEDED
    assert world.target == current(world) == world.store.versions[lost]


@pytest.mark.parametrize("strategy", ONE_USER)
def test_outdated_version_keeps_its_stage_while_it_alone_logs_in(strategy: Strategy) -> None:
    """A person has replaced AWSCURRENT while the database had the password of the version that was pending."""
    world = stopped_before(settled(world_of(strategy)), FinishPending)
    pending = successor(ARN, FIRST, 0)
    world.database.kept.clear()
    world.store.versions[THEIRS] = StoredVersion(THEIRS, value("app", "wrong"), world.now, ARN)
    by_hand(world, THEIRS, FIRST)
    assert move_current(pending, THEIRS) in look(world)
    assert Stage.PENDING in world.store.stages[pending]
    by_hand(world, pending, THEIRS)
    assert look(world) == ""
    assert world.target == current(world) == world.store.versions[pending]


def test_outdated_version_keeps_its_stage_while_the_database_does_not_answer() -> None:
    world = stopped_before(settled(world_of(Strategy.SINGLE_USER)), FinishPending)
    world.store.versions[THEIRS] = StoredVersion(THEIRS, value("app", "of a person"), world.now, ARN)
    by_hand(world, THEIRS, FIRST)
    world.database.down = True
    assert isinstance(ModelOperator(world).run_until_it_waits(), Retry)
    assert Stage.PENDING in world.store.stages[successor(ARN, FIRST, 0)]


def test_outdated_version_for_the_other_user_loses_its_stage_without_a_login() -> None:
    world = settled(world_of())
    rotate(world, "first")
    put_pending(world, successor(ARN, FIRST, 7), value("app_clone", "outdated"))
    world.database.logins.clear()
    assert look(world) == ""
    assert not any(Stage.PENDING in labels for labels in world.store.stages.values())
    assert world.database.logins == []


def test_outdated_version_loses_its_stage_where_current_logs_in() -> None:
    world = stopped_before(settled(world_of(Strategy.SINGLE_USER)), FinishPending)
    world.store.versions[THEIRS] = StoredVersion(THEIRS, value("app", "of a person"), world.now, ARN)
    world.database.passwords["app"] = SecretText("of a person")
    by_hand(world, THEIRS, FIRST)
    look(world)
    assert not any(Stage.PENDING in labels for labels in world.store.stages.values())


def test_version_of_a_claim_that_was_overtaken_is_named_where_it_logs_in() -> None:
    world = stopped_before(settled(world_of(Strategy.SINGLE_USER)), FinishPending)
    pending = successor(ARN, FIRST, 0)
    world.store.versions[THEIRS] = StoredVersion(THEIRS, value("app", "wrong"), world.now, ARN)
    by_hand(world, THEIRS, FIRST)
    by_hand(world, None, pending, Stage.PENDING)
    world.request = world.status.rotation.request if world.status.rotation else None
    look(world)
    assert world.status.history[0].outcome is Outcome.ABANDONED
    assert move_current(pending, THEIRS) in ready(world)[1]


def test_version_that_was_not_set_is_not_tried() -> None:
    world = stopped_before(settled(world_of(Strategy.SINGLE_USER)), actions.SetPending)
    by_hand(world, None, successor(ARN, FIRST, 0), Stage.PENDING)
    claim = world.status.rotation
    assert claim is not None
    world.status = world.status.model_copy(update={"rotation": claim.model_copy(update={"step": Step.CREATE})})
    world.database.passwords["app"] = SecretText("of a person")
    world.database.logins.clear()
    assert look(world).endswith("; put the user's real password into the secret")
    assert world.database.logins == ["app"]


@pytest.mark.parametrize("strategy", ONE_USER)
def test_previous_version_is_named_where_neither_current_nor_the_own_one_logs_in(strategy: Strategy) -> None:
    world = settled(world_of(strategy))
    rotate(world, "first")
    before = current(world).version_id
    stopped_before(world, actions.TestPending)
    world.database.kept.clear()
    world.database.passwords["app"] = SecretText("first")
    assert move_current(FIRST, before) in look(world)


def test_own_version_that_logs_in_needs_no_person(monkeypatch: pytest.MonkeyPatch) -> None:
    world = stopped_before(settled(world_of(Strategy.SINGLE_USER)), FinishPending)

    def refuse(*_: object) -> None:
        raise Refused("the admin lacks a privilege")

    with monkeypatch.context() as without:
        without.setattr(ModelSession, "check_users", refuse)
        assert isinstance(ModelOperator(world).run_until_it_waits(), Retry)
    status, message = ready(world)
    assert status == "False" and "put the user's real password" not in message
    assert f"{successor(ARN, FIRST, 0)}, which carries AWSPENDING, logs in: this operator finishes" in message
    assert look(world) == ""
    assert world.rotations == 1


# ---- another rotator moves on


@pytest.mark.parametrize("strategy", WITH_DATABASE)
def test_rotation_that_was_delivered_is_served_although_another_rotator_moved_on(strategy: Strategy) -> None:
    """The operator ends before AWSPENDING is taken off, and another rotator makes the next version."""
    world = settled(world_of(strategy))
    delivered = ends_after_delivery(world)
    moves_on(world, THEIRS, "theirs")
    look(world)
    (entry,) = world.status.history
    assert (entry.version_id, entry.outcome) == (delivered, Outcome.SUCCEEDED)
    assert f"someone else has moved it to {THEIRS} since" in entry.message
    assert world.status.handled_requests.rotate == world.request
    assert current(world).version_id == THEIRS and world.target == current(world)
    assert world.rotations == 1, "a request is served once"


def test_delivered_version_shows_that_a_rotation_is_served_when_two_others_followed() -> None:
    world = settled(world_of(Strategy.SINGLE_USER))
    delivered = ends_after_delivery(world)
    moves_on(world, THEIRS, "theirs")
    second = VersionId("33333333-3333-3333-3333-333333333333")
    moves_on(world, second, "theirs too")
    assert delivered not in world.store.stages
    look(world)
    assert [entry.outcome for entry in world.status.history] == [Outcome.SUCCEEDED]
    assert world.rotations == 1 and world.target == current(world) == world.store.versions[second]


def test_version_that_was_current_is_served_before_it_was_delivered() -> None:
    world = settled(world_of(Strategy.SINGLE_USER))
    stopped_before(world, actions.SyncTarget)
    moves_on(world, THEIRS, "theirs")
    look(world)
    assert [entry.outcome for entry in world.status.history] == [Outcome.SUCCEEDED]
    assert world.rotations == 1 and world.target == current(world) == world.store.versions[THEIRS]


def test_version_that_was_rolled_back_is_not_served_although_it_was_current() -> None:
    world = settled(world_of(Strategy.SINGLE_USER))
    ends_after_delivery(world)
    world.status = with_failure(world.status, "its test failed")
    moves_on(world, THEIRS, "theirs")
    look(world)
    assert world.status.history[-1].outcome is Outcome.ABANDONED


def test_rotation_that_was_not_finished_is_not_served_when_another_rotator_moves_on() -> None:
    world = stopped_before(settled(world_of()), FinishPending)
    by_hand(world, None, successor(ARN, FIRST, 0), Stage.PENDING)
    moves_on(world, THEIRS, "theirs")
    look(world)
    assert [entry.outcome for entry in world.status.history] == [Outcome.SUCCEEDED, Outcome.ABANDONED]
    assert world.rotations == 1


def ends_after_delivery(world: World) -> VersionId:
    world.request = "request"
    operator = ModelOperator(world)
    while world.target is None or world.target.version_id == FIRST:
        operator.step()
    operator.end()
    version = world.target.version_id
    assert world.store.stages[version] == {Stage.CURRENT, Stage.PENDING}
    return version


def moves_on(world: World, version_id: VersionId, password: str) -> None:
    """Another rotator makes a version, sets its password and moves AWSCURRENT to it."""
    fields = current(world).value.fields
    assert fields is not None
    user = str(fields["username"])
    if world.terms.keeps_current and "app_clone" in world.database.passwords:
        user = "app" if user == "app_clone" else "app_clone"
    world.store.versions[version_id] = StoredVersion(version_id, value(user, password), world.now, ARN)
    world.database.passwords[user] = SecretText(password)
    before = current(world).version_id
    world.store.stages = with_stage_moved(world.store.stages, Stage.PENDING, remove_from=before)
    by_hand(world, version_id, before)


@pytest.mark.parametrize("strategy", WITH_DATABASE)
def test_awspending_is_taken_off_a_version_that_a_person_has_replaced(strategy: Strategy) -> None:
    """The operator ends before it takes AWSPENDING off, and a person moves AWSCURRENT alone."""
    world = settled(world_of(strategy))
    delivered = ends_after_delivery(world)
    same = world.store.versions[delivered].value
    world.store.versions[THEIRS] = StoredVersion(THEIRS, same, world.now, ARN)
    by_hand(world, THEIRS, delivered)
    assert look(world) == ""
    assert not any(Stage.PENDING in labels for labels in world.store.stages.values())
    assert [entry.outcome for entry in world.status.history] == [Outcome.SUCCEEDED]
    assert world.rotations == 1 and world.target == current(world)
