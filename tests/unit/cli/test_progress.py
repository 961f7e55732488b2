"""How far a request is, by the statuses that a whole rotation writes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import groupby
from typing import Any

import pytest

from rotated_secrets.api.names import ROTATE_ANNOTATION
from rotated_secrets.api.rotation import Rotation, Strategy
from rotated_secrets.api.status import ConditionType, HandledRequests, Outcome, Reason, Step
from rotated_secrets.cli import progress
from rotated_secrets.cli.answers import Answer, exit_code, final, status_line, timed_out
from rotated_secrets.cli.answers import Outcome as Ending
from rotated_secrets.cli.asked import Judge
from rotated_secrets.cli.progress import (
    Behind,
    Blocked,
    Ill,
    Looked,
    Replaced,
    Retrying,
    Rotated,
    Running,
    Unseen,
    Unusable,
    of_resync,
    of_rotation,
)
from rotated_secrets.cli.seen import STEPS, Seen
from rotated_secrets.rotation.observation import Obstacle
from tests.support.world import ModelOperator, World
from tests.unit.cli.objects import NOW, Conditions, claim_of, entry_of, seen_of, status_of, told_anew

READY, ROTATED, HELD = ConditionType.READY, ConditionType.ROTATED, ConditionType.HELD


def world_of(strategy: Strategy = Strategy.ALTERNATING_USERS, **rotation: object) -> World:
    world = World(Rotation.model_validate({"strategy": strategy, **rotation}))
    ModelOperator(world).run_until_it_waits()
    return world


def seen_in(world: World) -> Seen:
    return seen_of(world.status, annotations={ROTATE_ANNOTATION: world.request} if world.request else None)


def asked(world: World, request: str = "now") -> Seen:
    world.request = request
    return seen_in(world)


def followed(world: World, before: Seen) -> Iterator[progress.Progress]:
    """What is seen after each thing that the operator does, until it waits."""
    operator, waiting = ModelOperator(world), None
    while waiting is None:
        waiting = operator.step()
        yield of_rotation("now", before, seen_in(world))


def test_the_four_steps_come_in_their_order_and_then_the_end() -> None:
    world = world_of()
    found = list(followed(world, asked(world)))
    kinds = [kind for kind, _ in groupby(map(type, found))]
    assert kinds == [Unseen, Running, Rotated]
    steps = [step for step, _ in groupby(each.claim.step for each in found if isinstance(each, Running))]
    assert steps == list(STEPS)
    last = found[-1]
    assert isinstance(last, Rotated)
    assert last.told
    assert last.attempt.version_id == world.was_current[-1]


def test_the_end_counts_once_the_status_tells_of_the_new_version() -> None:
    world = world_of()
    ends = [each for each in followed(world, asked(world)) if isinstance(each, Rotated)]
    assert [told for told, _ in groupby(each.told for each in ends)] == [False, True]
    assert final(ends[0], quiet=0, patience=5) is None
    assert final(ends[0], quiet=5, patience=5) is not None


def test_a_failing_rotation_is_followed_through_all_its_attempts() -> None:
    world = world_of()
    world.database.refuses_to_set = True
    before = asked(world)
    kinds: list[type] = []
    last: progress.Progress = Unseen()
    for _ in range(3):
        for last in followed(world, before):
            kinds.append(type(last))
        world.now += timedelta(minutes=10)
    assert [kind for kind, _ in groupby(kinds)] == [Unseen, Running, Retrying, Running, Retrying, Running, Rotated]
    ended = final(last, quiet=0, patience=5)
    assert ended is not None
    assert ended[0] in (Ending.FAILED, Ending.ROLLED_BACK)
    assert "given up after 3 attempts" in ended[1]


def test_between_two_attempts_it_says_what_failed_and_when_it_goes_on() -> None:
    world = world_of()
    world.database.refuses_to_set = True
    *_, last = followed(world, asked(world))
    assert isinstance(last, Retrying)
    assert status_line(last).startswith("attempt 1 failed at SetSecret: ")
    assert last.at is not None
    assert f"attempt 2 begins at {last.at:%Y-%m-%d %H:%M:%S} UTC" in status_line(last)


def test_a_database_that_is_down_is_trouble_not_the_end() -> None:
    world = world_of()
    before = asked(world)
    world.database.down = True
    *_, last = followed(world, before)
    assert isinstance(last, Running)
    assert "the database is down" in status_line(last)
    assert final(last, quiet=1000, patience=5) is None


def test_a_hold_that_begins_after_the_request_ends_the_waiting_at_once() -> None:
    world = world_of()
    before = asked(world)
    world.obstacle = Obstacle(Reason.ACCESS_DENIED, "the policy says no")
    *_, last = followed(world, before)
    assert last == Blocked("AccessDenied", "held: the policy says no", new=True)
    outcome, message, _ = final(last, quiet=0, patience=5) or pytest.fail("it goes on")
    assert outcome is Ending.HELD
    assert message == "waits, AccessDenied: the policy says no"


def test_a_hold_from_before_the_request_has_to_stay_to_be_believed() -> None:
    world = world_of()
    world.obstacle = Obstacle(Reason.ACCESS_DENIED, "the policy says no")
    world.request = "earlier"
    ModelOperator(world).run_until_it_waits()
    before = asked(world)
    blocked = of_rotation("now", before, before)
    assert blocked == Blocked("AccessDenied", "held: the policy says no", new=False)
    assert final(blocked, quiet=4.9, patience=5) is None
    assert final(blocked, quiet=5, patience=5) is not None
    world.obstacle = None
    *_, last = followed(world, before)
    assert isinstance(last, Rotated)


def test_a_stale_hold_does_not_hide_a_rotation_that_is_past_its_first_step() -> None:
    old: Conditions = {HELD: (True, Reason.LOGIN_FAILED, "held: it was so")}
    before = seen_of(status_of(old), annotations={ROTATE_ANNOTATION: "now"})
    now = seen_of(status_of(old, rotation=claim_of()), annotations={ROTATE_ANNOTATION: "now"})
    assert isinstance(of_rotation("now", before, now), Running)
    new: Conditions = {HELD: (True, Reason.INVALID_SPEC, "held: the value has changed")}
    now = seen_of(status_of(new, rotation=claim_of()), annotations={ROTATE_ANNOTATION: "now"})
    assert isinstance(of_rotation("now", before, now), Blocked)


def test_a_stale_hold_does_not_hide_a_rotation_in_its_first_step() -> None:
    old: Conditions = {HELD: (True, Reason.LOGIN_FAILED, "held: it was so")}
    annotations = {ROTATE_ANNOTATION: "now"}
    before = seen_of(status_of(old), annotations=annotations)
    creating = claim_of(step=Step.CREATE, version_id=None)
    now = seen_of(status_of(old, rotation=creating), annotations=annotations)
    assert isinstance(of_rotation("now", before, now), Running)
    held_again = told_anew(now, HELD, since=NOW)
    assert of_rotation("now", before, held_again) == Blocked("LoginFailed", "held: it was so", new=True)


def test_a_stale_hold_does_not_hide_another_rotation_that_has_begun_since() -> None:
    old: Conditions = {HELD: (True, Reason.LOGIN_FAILED, "held: it was so")}
    annotations = {ROTATE_ANNOTATION: "now"}
    theirs = seen_of(status_of(old, rotation=claim_of(request="earlier")), annotations=annotations)
    assert isinstance(of_rotation("now", seen_of(status_of(old), annotations=annotations), theirs), Behind)
    assert of_rotation("now", theirs, theirs) == Blocked("LoginFailed", "held: it was so", new=False)


@pytest.mark.parametrize("judge", [of_rotation, of_resync])
@pytest.mark.parametrize("said", [{"message": "no answer at all"}, {"since": NOW}, {"reason": "LoginFailed"}])
def test_whatever_is_found_after_the_request_shows_that_somebody_looked(judge: Judge, said: dict[str, Any]) -> None:
    silent = {"status": "False", "reason": "DatabaseUnreachable", "message": "no answer"}
    annotations = {ROTATE_ANNOTATION: "now", "rotatedsecrets.io/resync": "now"}
    before = told_anew(seen_of(status_of(), annotations=annotations), READY, **silent)
    assert judge("now", before, before) == Unseen("DatabaseUnreachable: no answer")
    found = judge("now", before, told_anew(before, READY, **said))
    assert isinstance(found, Ill)
    assert final(found, quiet=1000, patience=5) is None


def test_what_has_to_be_mended_first_blocks_a_rotation_and_fails_a_look() -> None:
    denied: Conditions = {READY: (False, Reason.ACCESS_DENIED, "the rule is missing")}
    annotations = {ROTATE_ANNOTATION: "now", "rotatedsecrets.io/resync": "now"}
    before = seen_of(status_of(), annotations=annotations)
    now = seen_of(status_of(denied), annotations=annotations)
    assert of_rotation("now", before, now) == Blocked("AccessDenied", "the rule is missing", new=True)
    found = of_resync("now", before, now)
    assert found == Unusable("AccessDenied", "the rule is missing", new=True)
    assert final(found, quiet=0, patience=5) == (
        Ending.NOT_READY,
        "is not Ready, AccessDenied: the rule is missing",
        None,
    )
    assert final(of_resync("now", now, now), quiet=1, patience=5) is None


def test_another_rotation_goes_first() -> None:
    annotations = {ROTATE_ANNOTATION: "now"}
    now = seen_of(status_of(rotation=claim_of(request="earlier")), annotations=annotations)
    found = of_rotation("now", seen_of(status_of(), annotations=annotations), now)
    assert isinstance(found, Behind)
    assert status_line(found) == "waits for another rotation to end (Annotation), which is at SetSecret"


def test_a_request_that_was_written_over_is_told_apart_from_one_that_was_served() -> None:
    before = seen_of(status_of(), annotations={ROTATE_ANNOTATION: "now"})
    theirs = {ROTATE_ANNOTATION: "theirs", "rotatedsecrets.io/resync": "theirs"}
    assert of_rotation("now", before, seen_of(status_of(), annotations=theirs)) == Replaced()
    assert of_resync("now", before, seen_of(status_of(), annotations=theirs)) == Replaced()
    served = status_of(handled_requests=HandledRequests(rotate="now", resync="now"), history=(entry_of(),))
    assert isinstance(of_rotation("now", before, seen_of(served, annotations=theirs)), Rotated)
    assert isinstance(of_resync("now", before, seen_of(served, annotations=theirs)), Looked)


def test_a_look_ends_with_what_it_found() -> None:
    handled = HandledRequests(resync="now")
    before = seen_of(status_of(), annotations={"rotatedsecrets.io/resync": "now"})
    well = of_resync("now", before, seen_of(status_of(handled_requests=handled)))
    rejected: Conditions = {READY: (False, Reason.LOGIN_FAILED, "refused")}
    ill = of_resync("now", before, seen_of(status_of(rejected, handled_requests=handled)))
    endings = [final(each, quiet=0, patience=5) for each in (well, ill)]
    assert [each[:2] for each in endings if each] == [
        (Ending.READY, "was looked at anew and is Ready: AWSCURRENT works"),
        (Ending.NOT_READY, "was looked at anew and is not Ready, LoginFailed: refused"),
    ]


# ---- what comes of it


def answer_of(outcome: Ending) -> Answer:
    return Answer("shop", "orders-db", "now", outcome, "is so")


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([], 0),
        ([Ending.ASKED, Ending.SUCCEEDED, Ending.READY], 0),
        ([Ending.SUCCEEDED, Ending.HELD], 2),
        ([Ending.HELD, Ending.FAILED], 1),
        ([Ending.FAILED, Ending.INTERRUPTED], 130),
        *([[each], 1] for each in Ending if each not in ("Asked", "Succeeded", "Ready", "Held", "Interrupted")),
    ],
)
def test_the_exit_code_is_that_of_the_worst(outcomes: list[Ending], code: int) -> None:
    assert exit_code(map(answer_of, outcomes)) == code


def test_every_outcome_of_an_attempt_is_one_of_an_answer() -> None:
    for outcome in Outcome:
        attempt = seen_of(status_of(history=(entry_of(outcome),))).history[0]
        ended = final(Rotated(attempt, told=True), quiet=0, patience=5)
        assert ended is not None
        assert ended[0].value == outcome.value


def test_who_waited_in_vain_is_told_where_to_look() -> None:
    seen = seen_of(status_of())
    told = timed_out(Unseen(), seen, 90, "kubectl rotatedsecret")
    assert told.startswith("was not picked up in 90 s; is an operator running that serves namespace shop?")
    claim = seen_of(status_of(rotation=claim_of())).claim
    assert claim is not None
    told = timed_out(Running(claim, "no route to host"), seen, 90, "kubectl rotatedsecret")
    assert "has not come to an end in 90 s (SetSecret: no route to host)" in told
    assert told.endswith("see kubectl rotatedsecret describe -n shop orders-db")


def test_an_answer_has_a_line_and_a_record() -> None:
    attempt = seen_of(status_of(history=(entry_of(),))).history[0]
    answer = Answer("shop", "orders-db", "now", Ending.SUCCEEDED, "rotated", attempt)
    assert answer.line().plain == "✓ shop/orders-db rotated"
    assert answer.record() == {
        "namespace": "shop",
        "name": "orders-db",
        "request": "now",
        "outcome": "Succeeded",
        "message": "rotated",
        "rotation": {
            "startedAt": "2026-11-22T10:00:00Z",
            "finishedAt": "2026-11-22T10:00:01.250000Z",
            "durationSeconds": 1.25,
            "trigger": "Schedule",
            "attempt": 1,
            "outcome": "Succeeded",
            "step": "FinishSecret",
            "user": "orders_clone",
            "versionId": attempt.version_id,
            "message": "what happened",
        },
    }
    assert [answer_of(each).line().plain[0] for each in (Ending.HELD, Ending.FAILED)] == ["‖", "✗"]
