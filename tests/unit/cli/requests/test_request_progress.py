"""Progress of a request, judged by the statuses that a whole rotation writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from typing import Any

import pytest

from rotated_secrets.api.names import ROTATE_ANNOTATION
from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.status import ConditionType, HandledRequests, Reason, Step
from rotated_secrets.cli.kube.rotated_secret import STEPS, RotatedSecretView
from rotated_secrets.cli.requests import progress
from rotated_secrets.cli.requests.messages import status_line
from rotated_secrets.cli.requests.pending_request import ProgressOf
from rotated_secrets.cli.requests.progress import (
    Blocked,
    NeedsFix,
    NotPickedUp,
    NotReadyYet,
    Queued,
    Replaced,
    Resynced,
    Retrying,
    RotationEnded,
    Running,
    TriedAgain,
    resync_progress,
    rotation_progress,
)
from rotated_secrets.cli.requests.result import RequestOutcome, outcome_of
from rotated_secrets.rotation.observation import Obstacle
from tests.support.cli.resource_builders import NOW, Conditions, claim_of, entry_of, status_of, view_of, with_condition
from tests.support.world import ModelOperator, World

READY, ROTATED, HELD = ConditionType.READY, ConditionType.ROTATED, ConditionType.HELD


def world_of(strategy: Strategy = Strategy.ALTERNATING_USERS, **rotation: object) -> World:
    world = World(Rotation.model_validate({"strategy": strategy, **rotation}))
    ModelOperator(world).run_until_it_waits()
    return world


def view_in(world: World) -> RotatedSecretView:
    return view_of(world.status, annotations={ROTATE_ANNOTATION: world.request} if world.request else None)


def requested(world: World, request: str = "now") -> RotatedSecretView:
    world.request = request
    return view_in(world)


def followed(world: World, before: RotatedSecretView) -> Iterator[progress.Progress]:
    """Progress after each action of the operator, until it waits."""
    operator, waiting = ModelOperator(world), None
    while waiting is None:
        waiting = operator.step()
        yield rotation_progress("now", before, view_in(world))


def test_the_steps_that_are_written_come_in_order_and_then_the_end() -> None:
    world = world_of()
    found = list(followed(world, requested(world)))
    kinds = [kind for kind, _ in groupby(map(type, found))]
    assert kinds == [NotPickedUp, Running, RotationEnded]
    steps = [step for step, _ in groupby(each.claim.step for each in found if isinstance(each, Running))]
    assert steps == list(STEPS[:2])
    last = found[-1]
    assert isinstance(last, RotationEnded)
    assert last.status_updated
    assert last.attempt.step == STEPS[-1]
    assert last.attempt.version_id == world.was_current[-1]


def test_the_end_counts_once_the_status_shows_the_new_version() -> None:
    world = world_of()
    *_, end = followed(world, requested(world))
    assert isinstance(end, RotationEnded)
    assert end.status_updated
    early = replace(end, status_updated=False)
    assert outcome_of(early, quiet=0, patience=5) is None
    assert outcome_of(early, quiet=5, patience=5) is not None


def test_a_failing_rotation_is_followed_through_all_its_attempts() -> None:
    world = world_of()
    world.database.refuses_to_set = True
    before = requested(world)
    kinds: list[type] = []
    last: progress.Progress = NotPickedUp()
    for _ in range(3):
        for last in followed(world, before):
            kinds.append(type(last))
        world.now += timedelta(minutes=10)
    assert [kind for kind, _ in groupby(kinds)] == [
        NotPickedUp,
        Running,
        Retrying,
        Running,
        Retrying,
        Running,
        RotationEnded,
    ]
    ended = outcome_of(last, quiet=0, patience=5)
    assert ended is not None
    assert ended[0] in (RequestOutcome.FAILED, RequestOutcome.ROLLED_BACK)
    assert "failed 3 times; it is tried again until it succeeds" in ended[1]


def test_between_two_attempts_the_line_says_what_failed_and_when_the_next_begins() -> None:
    world = world_of()
    world.database.refuses_to_set = True
    *_, last = followed(world, requested(world))
    assert isinstance(last, Retrying)
    assert status_line(last).startswith("attempt 1 failed at SetSecret: ")
    assert last.at is not None
    assert f"attempt 2 begins at {last.at:%Y-%m-%d %H:%M:%S} UTC" in status_line(last)


def test_at_no_moment_is_the_schedules_time_taken_for_that_of_the_next_attempt() -> None:
    world = world_of(schedule="rate(30 days)")
    world.database.refuses_to_set = True
    before = requested(world)
    found = [each for each in followed(world, before) if isinstance(each, Retrying)]
    assert found
    assert {each.at for each in found} == {found[-1].at}
    assert found[-1].at is not None
    assert found[-1].at - world.now < timedelta(minutes=2)


def seen_by(resource: RotatedSecretView) -> RotatedSecretView:
    return replace(resource, observed_rotate="now", observed_resync="now")


ASKED = {ROTATE_ANNOTATION: "now", "rotatedsecrets.io/resync": "now"}


def test_an_acknowledged_request_makes_what_was_so_before_certain() -> None:
    """Nothing is waited for: neither for a change, nor because an operator may not be running."""
    held: Conditions = {HELD: (True, Reason.UNSYNCED, "held: the Secret is older")}
    gone: Conditions = {READY: (False, Reason.SECRET_NOT_FOUND, "create it")}
    before = view_of(status_of(held), annotations=ASKED)
    assert rotation_progress("now", before, seen_by(before)) == Blocked("Unsynced", "held: the Secret is older", True)
    before = view_of(status_of(gone), annotations=ASKED)
    assert rotation_progress("now", before, seen_by(before)) == Blocked("SecretNotFound", "create it", True)
    assert resync_progress("now", before, seen_by(before)) == NeedsFix("SecretNotFound", "create it", True)
    for word in ("False", "Unknown"):
        silent = {"status": word, "reason": "StoreUnavailable", "message": "no answer"}
        before = with_condition(view_of(status_of(), annotations=ASKED), READY, **silent)
        for progress_of in (rotation_progress, resync_progress):
            assert progress_of("now", before, seen_by(before)) == NotReadyYet("StoreUnavailable", "no answer")


@pytest.mark.parametrize("progress_of", [rotation_progress, resync_progress])
def test_an_acknowledged_request_that_is_tried_again_is_waited_for(progress_of: ProgressOf) -> None:
    before = view_of(status_of(), annotations=ASKED)
    found = progress_of("now", before, seen_by(before))
    assert found == TriedAgain("")
    assert outcome_of(found, quiet=1000, patience=5) is None
    assert status_line(found) == "was seen by the operator, which tries it again"
    refused: Conditions = {ROTATED: (False, Reason.CREATE_FAILED, "the cluster does not take it")}
    found = progress_of("now", before, seen_by(view_of(status_of(refused), annotations=ASKED)))
    assert status_line(found) == "was seen by the operator, which tries it again: the cluster does not take it"


def test_an_acknowledgement_of_another_request_says_nothing() -> None:
    before = view_of(status_of(), annotations=ASKED)
    earlier = replace(before, observed_rotate="earlier", observed_resync="earlier")
    assert rotation_progress("now", before, earlier) == NotPickedUp()
    assert resync_progress("now", before, earlier) == NotPickedUp()


def test_the_statuses_of_an_operator_acknowledge_each_request() -> None:
    world = world_of()
    world.obstacle = Obstacle(Reason.ACCESS_DENIED, "the policy says no")
    world.request = "earlier"
    ModelOperator(world).run_until_it_waits()
    before = requested(world)
    *_, last = followed(world, before)
    assert last == Blocked("AccessDenied", "held: the policy says no", new=True)


def test_a_database_that_is_down_does_not_end_the_wait() -> None:
    world = world_of()
    before = requested(world)
    world.database.down = True
    *_, last = followed(world, before)
    assert isinstance(last, Running)
    assert "the database is down" in status_line(last)
    assert outcome_of(last, quiet=1000, patience=5) is None


def test_a_hold_that_begins_after_the_request_ends_the_wait_at_once() -> None:
    world = world_of()
    before = requested(world)
    world.obstacle = Obstacle(Reason.ACCESS_DENIED, "the policy says no")
    *_, last = followed(world, before)
    assert last == Blocked("AccessDenied", "held: the policy says no", new=True)
    outcome, message, _ = outcome_of(last, quiet=0, patience=5) or pytest.fail("it goes on")
    assert outcome is RequestOutcome.HELD
    assert message == "waits, AccessDenied: the policy says no"


def test_a_hold_from_before_the_request_counts_only_when_it_stays() -> None:
    world = world_of()
    world.obstacle = Obstacle(Reason.ACCESS_DENIED, "the policy says no")
    world.request = "earlier"
    ModelOperator(world).run_until_it_waits()
    before = requested(world)
    blocked = rotation_progress("now", before, before)
    assert blocked == Blocked("AccessDenied", "held: the policy says no", new=False)
    assert outcome_of(blocked, quiet=4.9, patience=5) is None
    assert outcome_of(blocked, quiet=5, patience=5) is not None
    world.obstacle = None
    *_, last = followed(world, before)
    assert isinstance(last, RotationEnded)


def test_a_stale_hold_does_not_hide_a_rotation_that_is_past_its_first_step() -> None:
    old: Conditions = {HELD: (True, Reason.LOGIN_FAILED, "held: it was so")}
    before = view_of(status_of(old), annotations={ROTATE_ANNOTATION: "now"})
    now = view_of(status_of(old, rotation=claim_of()), annotations={ROTATE_ANNOTATION: "now"})
    assert isinstance(rotation_progress("now", before, now), Running)
    new: Conditions = {HELD: (True, Reason.INVALID_SPEC, "held: the value has changed")}
    now = view_of(status_of(new, rotation=claim_of()), annotations={ROTATE_ANNOTATION: "now"})
    assert isinstance(rotation_progress("now", before, now), Blocked)


def test_a_stale_hold_does_not_hide_a_rotation_in_its_first_step() -> None:
    old: Conditions = {HELD: (True, Reason.LOGIN_FAILED, "held: it was so")}
    annotations = {ROTATE_ANNOTATION: "now"}
    before = view_of(status_of(old), annotations=annotations)
    creating = claim_of(step=Step.CREATE, version_id=None)
    now = view_of(status_of(old, rotation=creating), annotations=annotations)
    assert isinstance(rotation_progress("now", before, now), Running)
    held_again = with_condition(now, HELD, since=NOW)
    assert rotation_progress("now", before, held_again) == Blocked("LoginFailed", "held: it was so", new=True)


def test_a_stale_hold_does_not_hide_another_rotation_that_has_begun_since() -> None:
    old: Conditions = {HELD: (True, Reason.LOGIN_FAILED, "held: it was so")}
    annotations = {ROTATE_ANNOTATION: "now"}
    theirs = view_of(status_of(old, rotation=claim_of(request="earlier")), annotations=annotations)
    assert isinstance(rotation_progress("now", view_of(status_of(old), annotations=annotations), theirs), Queued)
    assert rotation_progress("now", theirs, theirs) == Blocked("LoginFailed", "held: it was so", new=False)


@pytest.mark.parametrize("progress_of", [rotation_progress, resync_progress])
@pytest.mark.parametrize("said", [{"message": "no answer at all"}, {"since": NOW}, {"reason": "LoginFailed"}])
def test_a_condition_that_changes_after_the_request_shows_a_new_check(
    progress_of: ProgressOf, said: dict[str, Any]
) -> None:
    silent = {"status": "False", "reason": "DatabaseUnreachable", "message": "no answer"}
    annotations = {ROTATE_ANNOTATION: "now", "rotatedsecrets.io/resync": "now"}
    before = with_condition(view_of(status_of(), annotations=annotations), READY, **silent)
    assert progress_of("now", before, before) == NotPickedUp("DatabaseUnreachable: no answer")
    found = progress_of("now", before, with_condition(before, READY, **said))
    assert isinstance(found, NotReadyYet)
    assert outcome_of(found, quiet=1000, patience=5) is None


def test_a_problem_that_must_be_fixed_first_blocks_a_rotation_and_fails_a_check() -> None:
    denied: Conditions = {READY: (False, Reason.ACCESS_DENIED, "the rule is missing")}
    annotations = {ROTATE_ANNOTATION: "now", "rotatedsecrets.io/resync": "now"}
    before = view_of(status_of(), annotations=annotations)
    now = view_of(status_of(denied), annotations=annotations)
    assert rotation_progress("now", before, now) == Blocked("AccessDenied", "the rule is missing", new=True)
    found = resync_progress("now", before, now)
    assert found == NeedsFix("AccessDenied", "the rule is missing", new=True)
    assert outcome_of(found, quiet=0, patience=5) == (
        RequestOutcome.NOT_READY,
        "is not Ready, AccessDenied: the rule is missing",
        None,
    )
    assert outcome_of(resync_progress("now", now, now), quiet=1, patience=5) is None


def test_another_rotation_goes_first() -> None:
    annotations = {ROTATE_ANNOTATION: "now"}
    now = view_of(status_of(rotation=claim_of(request="earlier")), annotations=annotations)
    found = rotation_progress("now", view_of(status_of(), annotations=annotations), now)
    assert isinstance(found, Queued)
    assert status_line(found) == "waits for another rotation to end (Annotation), which is at SetSecret"


def test_an_overwritten_request_is_distinguished_from_a_served_one() -> None:
    before = view_of(status_of(), annotations={ROTATE_ANNOTATION: "now"})
    theirs = {ROTATE_ANNOTATION: "theirs", "rotatedsecrets.io/resync": "theirs"}
    assert rotation_progress("now", before, view_of(status_of(), annotations=theirs)) == Replaced()
    assert resync_progress("now", before, view_of(status_of(), annotations=theirs)) == Replaced()
    served = status_of(handled_requests=HandledRequests(rotate="now", resync="now"), history=(entry_of(),))
    assert isinstance(rotation_progress("now", before, view_of(served, annotations=theirs)), RotationEnded)
    assert isinstance(resync_progress("now", before, view_of(served, annotations=theirs)), Resynced)


def test_a_check_ends_with_what_it_found() -> None:
    handled = HandledRequests(resync="now")
    before = view_of(status_of(), annotations={"rotatedsecrets.io/resync": "now"})
    ready = resync_progress("now", before, view_of(status_of(handled_requests=handled)))
    rejected: Conditions = {READY: (False, Reason.LOGIN_FAILED, "refused")}
    not_ready = resync_progress("now", before, view_of(status_of(rejected, handled_requests=handled)))
    endings = [outcome_of(each, quiet=0, patience=5) for each in (ready, not_ready)]
    assert [each[:2] for each in endings if each] == [
        (RequestOutcome.READY, "was checked and is Ready: AWSCURRENT works"),
        (RequestOutcome.NOT_READY, "was checked and is not Ready, LoginFailed: refused"),
    ]
