"""A rotation that somebody watches, as it stands on the screen."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from rotated_secrets.api.names import RESYNC_ANNOTATION, ROTATE_ANNOTATION
from rotated_secrets.api.status import ConditionType, HandledRequests, Outcome, Reason, Step
from rotated_secrets.cli.errors import CommandError
from rotated_secrets.cli.kube.watch_events import Changed, Deleted, Disconnected, WatchFailed
from rotated_secrets.cli.requests.pending_request import PATIENCE, PICK_UP_SECONDS, PendingRequest
from rotated_secrets.cli.requests.progress import resync_progress, rotation_progress
from rotated_secrets.cli.requests.result import RequestOutcome, RequestResult
from rotated_secrets.cli.requests.steps_view import render_final_steps, render_steps
from tests.support.cli.resource_builders import (
    NOW,
    SECOND,
    claim_of,
    entry_of,
    status_of,
    text_of,
    view_of,
    with_condition,
)

ASKED, LOOK = {ROTATE_ANNOTATION: "now"}, {RESYNC_ANNOTATION: "now"}


def pending() -> PendingRequest:
    return PendingRequest("now", view_of(status_of(), annotations=ASKED), "7", rotation_progress, "a rotation", since=0)


def changed(**status: Any) -> Changed:
    return Changed(view_of(status_of(**status), annotations=ASKED))


def lines_of(request: PendingRequest, now: float, width: int = 80) -> list[str]:
    return text_of(render_steps(request, now), width).splitlines()


def test_before_it_is_picked_up_it_says_what_was_asked_for() -> None:
    request = pending()
    (line,) = lines_of(request, 1)
    assert line[1:] == " shop/orders-db was asked for a rotation"
    assert line[0] not in " ✓✗", "nothing turns"


def test_steps_are_ticked_off_one_after_the_other() -> None:
    request = pending()
    for second, step in enumerate((Step.CREATE, Step.SET, Step.TEST), start=1):
        assert request.handle(changed(rotation=claim_of(step=step)), second) is None
    title, *steps = lines_of(request, 3.5)
    assert title == "shop/orders-db"
    assert steps[0] == "  ✓ CreateSecret 1.0s"
    assert steps[1] == "  ✓ SetSecret    1.0s"
    assert steps[2][3:] == " TestSecret   0.5s"
    assert steps[3] == "  · FinishSecret"


def test_trouble_stands_beside_the_step_that_it_is_about() -> None:
    request = pending()
    trouble = {ConditionType.ROTATED: (False, Reason.SET_FAILED, "no route to host; it is tried again")}
    request.handle(Changed(view_of(status_of(trouble, rotation=claim_of()), annotations=ASKED)), 1)
    assert "no route to host; it is tried again" in lines_of(request, 2, 120)[2]
    request.handle(Disconnected("orders-db", "the API server could not be reached"), 3)
    assert "the API server could not be reached" in lines_of(request, 3, 120)[2]
    request.handle(Disconnected("orders-db", ""), 4)
    assert "the API server" not in "".join(lines_of(request, 4, 120))


def test_a_new_attempt_begins_with_no_step_done() -> None:
    request = pending()
    request.handle(changed(rotation=claim_of(step=Step.TEST)), 1)
    again = claim_of(step=Step.CREATE, attempt=2, version_id=None)
    failed = entry_of(Outcome.ROLLED_BACK, step=Step.TEST, message="refused")
    request.handle(changed(rotation=again, history=(failed,), next_rotation_time=NOW + timedelta(seconds=40)), 2)
    output = " ".join(" ".join(lines_of(request, 3)).split())
    assert "attempt 1 failed at TestSecret: refused; attempt 2 begins at 2026-11-22 12:00:40 UTC" in output
    request.handle(changed(rotation=claim_of(step=Step.CREATE, attempt=2), history=(failed,)), 40)
    assert [line[2] == "✓" for line in lines_of(request, 41)[1:]] == [False] * 4


@pytest.mark.parametrize("width", [30, 60])
def test_a_narrow_screen_breaks_lines_and_loses_no_word(width: int) -> None:
    request = pending()
    request.handle(Disconnected("orders-db", "the API server could not be reached at all"), 1)
    lines = lines_of(request, 2, width)
    assert max(map(len, lines)) <= width
    assert "could not be reached at all" in " ".join(" ".join(lines).split())


def test_what_nobody_picks_up_is_said_in_time() -> None:
    request = pending()
    assert request.status_line(PICK_UP_SECONDS - 1) == ""
    assert request.status_line(PICK_UP_SECONDS).startswith("was not picked up in 20 s; is an operator running")
    request.handle(changed(rotation=claim_of()), PICK_UP_SECONDS + 1)
    assert request.status_line(PICK_UP_SECONDS + 2) == "SetSecret"


def test_the_end_leaves_the_steps_on_the_screen() -> None:
    request = pending()
    request.handle(changed(rotation=claim_of(step=Step.FINISH)), 1)
    served = HandledRequests(rotate="now")
    answer = request.handle(changed(handled_requests=served, history=(entry_of(),), current_version_id=SECOND), 1.5)
    assert answer is not None
    assert answer.is_good
    assert answer.message == f"rotated in 1.2s: active user orders_clone, version {SECOND}"
    left = render_final_steps(request, answer, 1.5)
    assert left is not None
    assert text_of(left).splitlines()[-1] == "  ✓ FinishSecret 0.5s"
    failed = render_final_steps(request, RequestResult("shop", "orders-db", "now", RequestOutcome.FAILED, ""), 1.5)
    assert failed is not None
    assert text_of(failed).splitlines()[-1] == "  ✗ FinishSecret 0.5s"
    assert render_final_steps(pending(), answer, 1.5) is None


def test_what_ends_the_waiting_whatever_it_was_for() -> None:
    gone, unseen = (
        pending().handle(Deleted("orders-db"), 1),
        pending().handle(WatchFailed("orders-db", CommandError("you may not")), 1),
    )
    assert [(each.outcome, each.message) for each in (gone, unseen) if each] == [
        ("Deleted", "was deleted meanwhile"),
        ("Failed", "cannot be watched: you may not"),
    ]


def test_an_old_hold_is_believed_when_it_stays() -> None:
    held = {ConditionType.HELD: (True, Reason.UNSYNCED, "held: the Secret is older")}
    request = PendingRequest(
        "now", view_of(status_of(held), annotations=ASKED), "7", rotation_progress, "a rotation", since=10
    )
    assert request.result_at(10 + PATIENCE - 1) is None
    answer = request.result_at(10 + PATIENCE)
    assert answer is not None
    assert answer.outcome == "Held"
    was_before = "; this was so before it was asked for, and nothing was heard since: is an operator running"
    assert answer.message.startswith(f"waits, Unsynced: the Secret is older{was_before}")


def test_a_rotation_of_ones_own_is_waited_for_however_long_an_old_hold_stays() -> None:
    held = {ConditionType.HELD: (True, Reason.UNSYNCED, "held: the Secret is older")}
    request = PendingRequest(
        "now", view_of(status_of(held), annotations=ASKED), "7", rotation_progress, "a rotation", since=0
    )
    created = status_of(held, rotation=claim_of(step=Step.CREATE, version_id=None))
    assert request.handle(Changed(view_of(created, annotations=ASKED)), 1) is None
    assert request.result_at(1 + 10 * PATIENCE) is None
    assert request.status_line(1 + 10 * PATIENCE) == "CreateSecret"


def test_a_look_that_finds_no_database_is_waited_for_and_told_of() -> None:
    before = view_of(status_of(), annotations=LOOK)
    request = PendingRequest("now", before, "7", resync_progress, "a look at everything", since=0)
    silent = with_condition(
        before, ConditionType.READY, status="False", reason="DatabaseUnreachable", message="no answer"
    )
    assert request.handle(Changed(silent), 1) is None
    assert request.result_at(PICK_UP_SECONDS + 10) is None
    assert request.status_line(PICK_UP_SECONDS + 10) == "was looked at, but DatabaseUnreachable: no answer"
    late = request.timed_out(60, "rotated-secrets")
    assert late.outcome == "TimedOut"
    assert late.message.startswith("has not come to an end in 60 s (was looked at, but DatabaseUnreachable: no answer)")
    assert "is an operator running" not in late.message
    handled = status_of(handled_requests=HandledRequests(resync="now"))
    answer = request.handle(Changed(view_of(handled, annotations=LOOK)), 61)
    assert answer is not None
    assert answer.is_good


def test_what_was_wrong_before_and_still_is_does_not_pass_for_a_look() -> None:
    silent = {"status": "False", "reason": "DatabaseUnreachable", "message": "no answer"}
    before = with_condition(view_of(status_of(), annotations=LOOK), ConditionType.READY, **silent)
    request = PendingRequest("now", before, "7", resync_progress, "a look at everything", since=0)
    output = (
        "was not picked up in 20 s (it was not Ready before already, DatabaseUnreachable: no answer); is an operator"
    )
    assert request.status_line(PICK_UP_SECONDS).startswith(output)
    assert request.timed_out(20, "rotated-secrets").message.startswith(output)
