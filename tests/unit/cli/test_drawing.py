"""A rotation that somebody watches, as it stands on the screen."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rotated_secrets.api.names import RESYNC_ANNOTATION, ROTATE_ANNOTATION
from rotated_secrets.api.status import ConditionType, HandledRequests, Outcome, Reason, Step
from rotated_secrets.cli.answers import Answer
from rotated_secrets.cli.answers import Outcome as Ending
from rotated_secrets.cli.asked import PATIENCE, PICK_UP, Asked
from rotated_secrets.cli.drawing import drawn, drawn_at_the_end
from rotated_secrets.cli.events import Changed, CutOff, Deleted, Failed
from rotated_secrets.cli.problem import Problem
from rotated_secrets.cli.progress import of_resync, of_rotation
from tests.unit.cli.objects import NOW, SECOND, claim_of, entry_of, seen_of, status_of, text_of, told_anew

ASKED, LOOK = {ROTATE_ANNOTATION: "now"}, {RESYNC_ANNOTATION: "now"}


def asked() -> Asked:
    return Asked("now", seen_of(status_of(), annotations=ASKED), "7", of_rotation, "a rotation", since=0)


def changed(**status: Any) -> Changed:
    return Changed(seen_of(status_of(**status), annotations=ASKED))


def lines_of(request: Asked, now: float, width: int = 80) -> list[str]:
    return text_of(drawn(request, now), width).splitlines()


def test_before_it_is_picked_up_it_says_what_was_asked_for() -> None:
    request = asked()
    (line,) = lines_of(request, 1)
    assert line[1:] == " shop/orders-db was asked for a rotation"
    assert line[0] not in " ✓✗", "nothing turns"


def test_steps_are_ticked_off_one_after_the_other() -> None:
    request = asked()
    for second, step in enumerate((Step.CREATE, Step.SET, Step.TEST), start=1):
        assert request.take(changed(rotation=claim_of(step=step)), second) is None
    title, *steps = lines_of(request, 3.5)
    assert title == "shop/orders-db"
    assert steps[0] == "  ✓ CreateSecret 1.0s"
    assert steps[1] == "  ✓ SetSecret    1.0s"
    assert steps[2][3:] == " TestSecret   0.5s"
    assert steps[3] == "  · FinishSecret"


def test_trouble_stands_beside_the_step_that_it_is_about() -> None:
    request = asked()
    trouble = {ConditionType.ROTATED: (False, Reason.SET_FAILED, "no route to host; it is tried again")}
    request.take(Changed(seen_of(status_of(trouble, rotation=claim_of()), annotations=ASKED)), 1)
    assert "no route to host; it is tried again" in lines_of(request, 2, 120)[2]
    request.take(CutOff("orders-db", "the API server could not be reached"), 3)
    assert "the API server could not be reached" in lines_of(request, 3, 120)[2]
    request.take(CutOff("orders-db", ""), 4)
    assert "the API server" not in "".join(lines_of(request, 4, 120))


def test_a_new_attempt_begins_with_no_step_done() -> None:
    request = asked()
    request.take(changed(rotation=claim_of(step=Step.TEST)), 1)
    again = claim_of(step=Step.CREATE, attempt=2, version_id=None)
    failed = entry_of(Outcome.ROLLED_BACK, step=Step.TEST, message="refused")
    request.take(changed(rotation=again, history=(failed,), next_rotation_time=NOW + timedelta(seconds=40)), 2)
    told = " ".join(" ".join(lines_of(request, 3)).split())
    assert "attempt 1 failed at TestSecret: refused; attempt 2 begins at 2026-11-22 12:00:40 UTC" in told
    request.take(changed(rotation=claim_of(step=Step.CREATE, attempt=2), history=(failed,)), 40)
    assert [line[2] == "✓" for line in lines_of(request, 41)[1:]] == [False] * 4


@pytest.mark.parametrize("width", [30, 60])
def test_a_narrow_screen_breaks_lines_and_loses_no_word(width: int) -> None:
    request = asked()
    request.take(CutOff("orders-db", "the API server could not be reached at all"), 1)
    lines = lines_of(request, 2, width)
    assert max(map(len, lines)) <= width
    assert "could not be reached at all" in " ".join(" ".join(lines).split())


def test_what_nobody_picks_up_is_said_in_time() -> None:
    request = asked()
    assert request.line(PICK_UP - 1) == ""
    assert request.line(PICK_UP).startswith("was not picked up in 20 s; is an operator running")
    request.take(changed(rotation=claim_of()), PICK_UP + 1)
    assert request.line(PICK_UP + 2) == "SetSecret"


def test_the_end_leaves_the_steps_on_the_screen() -> None:
    request = asked()
    request.take(changed(rotation=claim_of(step=Step.FINISH)), 1)
    served = HandledRequests(rotate="now")
    answer = request.take(changed(handled_requests=served, history=(entry_of(),), current_version_id=SECOND), 1.5)
    assert answer is not None
    assert answer.is_good
    assert answer.message == f"rotated in 1.2s: active user orders_clone, version {SECOND}"
    left = drawn_at_the_end(request, answer, 1.5)
    assert left is not None
    assert text_of(left).splitlines()[-1] == "  ✓ FinishSecret 0.5s"
    failed = drawn_at_the_end(request, Answer("shop", "orders-db", "now", Ending.FAILED, ""), 1.5)
    assert failed is not None
    assert text_of(failed).splitlines()[-1] == "  ✗ FinishSecret 0.5s"
    assert drawn_at_the_end(asked(), answer, 1.5) is None


def test_what_ends_the_waiting_whatever_it_was_for() -> None:
    gone, unseen = asked().take(Deleted("orders-db"), 1), asked().take(Failed("orders-db", Problem("you may not")), 1)
    assert [(each.outcome, each.message) for each in (gone, unseen) if each] == [
        ("Deleted", "was deleted meanwhile"),
        ("Failed", "cannot be watched: you may not"),
    ]


def test_an_old_hold_is_believed_when_it_stays() -> None:
    held = {ConditionType.HELD: (True, Reason.UNSYNCED, "held: the Secret is older")}
    request = Asked("now", seen_of(status_of(held), annotations=ASKED), "7", of_rotation, "a rotation", since=10)
    assert request.ended(10 + PATIENCE - 1) is None
    answer = request.ended(10 + PATIENCE)
    assert answer is not None
    assert answer.outcome == "Held"
    was_before = "; this was so before it was asked for, and nothing was heard since: is an operator running"
    assert answer.message.startswith(f"waits, Unsynced: the Secret is older{was_before}")


def test_a_rotation_of_ones_own_is_waited_for_however_long_an_old_hold_stays() -> None:
    held = {ConditionType.HELD: (True, Reason.UNSYNCED, "held: the Secret is older")}
    request = Asked("now", seen_of(status_of(held), annotations=ASKED), "7", of_rotation, "a rotation", since=0)
    created = status_of(held, rotation=claim_of(step=Step.CREATE, version_id=None))
    assert request.take(Changed(seen_of(created, annotations=ASKED)), 1) is None
    assert request.ended(1 + 10 * PATIENCE) is None
    assert request.line(1 + 10 * PATIENCE) == "CreateSecret"


def test_a_look_that_finds_no_database_is_waited_for_and_told_of() -> None:
    before = seen_of(status_of(), annotations=LOOK)
    request = Asked("now", before, "7", of_resync, "a look at everything", since=0)
    silent = told_anew(before, ConditionType.READY, status="False", reason="DatabaseUnreachable", message="no answer")
    assert request.take(Changed(silent), 1) is None
    assert request.ended(PICK_UP + 10) is None
    assert request.line(PICK_UP + 10) == "was looked at, but DatabaseUnreachable: no answer"
    late = request.out_of_time(60, "rotated-secrets")
    assert late.outcome == "TimedOut"
    assert late.message.startswith("has not come to an end in 60 s (was looked at, but DatabaseUnreachable: no answer)")
    assert "is an operator running" not in late.message
    handled = status_of(handled_requests=HandledRequests(resync="now"))
    answer = request.take(Changed(seen_of(handled, annotations=LOOK)), 61)
    assert answer is not None
    assert answer.is_good


def test_what_was_wrong_before_and_still_is_does_not_pass_for_a_look() -> None:
    silent = {"status": "False", "reason": "DatabaseUnreachable", "message": "no answer"}
    before = told_anew(seen_of(status_of(), annotations=LOOK), ConditionType.READY, **silent)
    request = Asked("now", before, "7", of_resync, "a look at everything", since=0)
    told = "was not picked up in 20 s (it was not Ready before already, DatabaseUnreachable: no answer); is an operator"
    assert request.line(PICK_UP).startswith(told)
    assert request.out_of_time(20, "rotated-secrets").message.startswith(told)
