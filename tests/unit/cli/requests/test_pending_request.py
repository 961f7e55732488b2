"""A request that a command waits for: its steps on the screen, and its result."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rotated_secrets.api.names import RESYNC_ANNOTATION, ROTATE_ANNOTATION
from rotated_secrets.api.status import ConditionType, HandledRequests, Outcome, Reason, Step
from rotated_secrets.cli.errors import CommandError
from rotated_secrets.cli.kube.watch_events import Changed, Deleted, Disconnected, WatchFailed
from rotated_secrets.cli.requests.pending_request import PATIENCE, PICK_UP_SECONDS, PendingRequest
from rotated_secrets.cli.requests.progress import resync_progress, rotation_progress
from rotated_secrets.cli.requests.result import RequestOutcome, RequestResult, exit_code
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
    return PendingRequest("now", view_of(status_of(), annotations=ASKED), "7", rotation_progress, "rotation", since=0)


def changed(**status: Any) -> Changed:
    return Changed(view_of(status_of(**status), annotations=ASKED))


def lines_of(request: PendingRequest, now: float, width: int = 80) -> list[str]:
    return text_of(render_steps(request, now, width), width).splitlines()


def test_before_it_is_picked_up_the_line_says_what_was_requested() -> None:
    request = pending()
    (line,) = lines_of(request, 1)
    assert line[1:] == " shop/orders-db rotation requested"
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


def test_an_error_is_shown_beside_its_step() -> None:
    request = pending()
    trouble = {ConditionType.ROTATED: (False, Reason.SET_FAILED, "no route to host; it is tried again")}
    request.handle(Changed(view_of(status_of(trouble, rotation=claim_of()), annotations=ASKED)), 1)
    assert "no route to host; it is tried again" in lines_of(request, 2, 120)[2]
    request.handle(Disconnected("orders-db", "the API server could not be reached"), 3)
    assert "the API server could not be reached" in lines_of(request, 3, 120)[2]
    request.handle(Disconnected("orders-db", ""), 4)
    assert "the API server" not in "".join(lines_of(request, 4, 120))


def test_an_error_stands_below_the_steps_where_there_is_no_room_beside_them() -> None:
    request = pending()
    message = "no route to host db.example.com; it is tried again"
    trouble = {ConditionType.ROTATED: (False, Reason.SET_FAILED, message)}
    request.handle(Changed(view_of(status_of(trouble, rotation=claim_of()), annotations=ASKED)), 1)
    lines = lines_of(request, 2, 70)
    assert lines[-1] == f"  SetSecret: {message}"
    assert len(lines) == 6


def test_what_ends_the_wait_unless_it_changes_is_said_by_the_result_alone() -> None:
    held = {ConditionType.HELD: (True, Reason.UNSYNCED, "held: the Secret is older")}
    before = view_of(status_of(held), annotations=ASKED)
    request = PendingRequest("now", before, "7", rotation_progress, "rotation", since=0)
    assert request.is_about_to_end
    assert not pending().is_about_to_end


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
def test_a_narrow_terminal_wraps_lines_and_loses_no_word(width: int) -> None:
    request = pending()
    request.handle(Disconnected("orders-db", "the API server could not be reached at all"), 1)
    lines = lines_of(request, 2, width)
    assert max(map(len, lines)) <= width
    assert "could not be reached at all" in " ".join(" ".join(lines).split())


def test_a_request_that_no_operator_picks_up_is_reported_in_time() -> None:
    request = pending()
    assert request.status_line(PICK_UP_SECONDS - 1) == ""
    assert request.status_line(PICK_UP_SECONDS).startswith("was not picked up in 20 s; is an operator running")
    request.handle(changed(rotation=claim_of()), PICK_UP_SECONDS + 1)
    assert request.status_line(PICK_UP_SECONDS + 2) == "SetSecret"


def test_the_steps_stay_on_the_screen_after_the_end() -> None:
    request = pending()
    request.handle(changed(rotation=claim_of(step=Step.FINISH)), 1)
    served = HandledRequests(rotate="now")
    result = request.handle(changed(handled_requests=served, history=(entry_of(),), current_version_id=SECOND), 1.5)
    assert result is not None
    assert result.is_good
    assert result.message == f"rotated in 1.2s: active user orders_clone, version {SECOND}"
    left = render_final_steps(request, result, 1.5)
    assert left is not None
    assert text_of(left).splitlines()[-1] == "  ✓ FinishSecret 0.5s"
    failed = render_final_steps(request, RequestResult("shop", "orders-db", "now", RequestOutcome.FAILED, ""), 1.5)
    assert failed is not None
    assert text_of(failed).splitlines()[-1] == "  ✗ FinishSecret 0.5s"
    assert render_final_steps(pending(), result, 1.5) is None


def test_steps_that_were_not_seen_have_no_time() -> None:
    request = pending()
    request.handle(changed(rotation=claim_of(step=Step.CREATE)), 1)
    request.handle(changed(rotation=claim_of(step=Step.SET)), 1.5)
    ended = changed(handled_requests=HandledRequests(rotate="now"), history=(entry_of(),), current_version_id=SECOND)
    result = request.handle(ended, 3)
    assert result is not None
    left = render_final_steps(request, result, 3)
    assert left is not None
    times = [(line.split()[1], *line.split()[2:]) for line in text_of(left).splitlines()[1:]]
    assert times == [("CreateSecret", "0.5s"), ("SetSecret",), ("TestSecret",), ("FinishSecret",)]
    assert text_of(left).count("✓") == 4


def test_deletion_and_a_failing_watch_end_every_wait() -> None:
    deleted, failed = (
        pending().handle(Deleted("orders-db"), 1),
        pending().handle(WatchFailed("orders-db", CommandError("you may not")), 1),
    )
    assert [(each.outcome, each.message) for each in (deleted, failed) if each] == [
        ("Deleted", "was deleted during the wait"),
        ("Failed", "cannot be watched: you may not"),
    ]


def test_an_old_hold_counts_when_it_stays() -> None:
    held = {ConditionType.HELD: (True, Reason.UNSYNCED, "held: the Secret is older")}
    request = PendingRequest(
        "now", view_of(status_of(held), annotations=ASKED), "7", rotation_progress, "rotation", since=10
    )
    assert request.result_at(10 + PATIENCE - 1) is None
    result = request.result_at(10 + PATIENCE)
    assert result is not None
    assert result.outcome == "Held"
    was_before = "; this was so before the request, and the operator has not answered since: is an operator running"
    assert result.message.startswith(f"waits, Unsynced: the Secret is older{was_before}")


def test_an_old_hold_that_the_operator_has_seen_again_counts_at_once() -> None:
    held = {ConditionType.HELD: (True, Reason.UNSYNCED, "held: the Secret is older")}
    before = view_of(status_of(held), annotations=ASKED)
    request = PendingRequest("now", before, "7", rotation_progress, "rotation", since=10)
    result = request.handle(Changed(replace(before, observed_rotate="now")), 10.1)
    assert result is not None
    assert (result.outcome, exit_code([result])) == ("Held", 2)
    assert result.message == "waits, Unsynced: the Secret is older"


def test_a_request_that_was_seen_is_not_said_to_need_an_operator() -> None:
    before = view_of(status_of(), annotations=ASKED)
    request = PendingRequest("now", before, "7", rotation_progress, "rotation", since=0)
    assert request.handle(Changed(replace(before, observed_rotate="now")), 1) is None
    assert "is an operator running" not in request.status_line(PICK_UP_SECONDS + 1)
    late = request.timed_out(60, "rotated-secrets").message
    assert late.startswith("has not ended after 60 s (was seen by the operator, which tries it again); it continues")


def test_the_requested_rotation_is_waited_for_however_long_an_old_hold_stays() -> None:
    held = {ConditionType.HELD: (True, Reason.UNSYNCED, "held: the Secret is older")}
    request = PendingRequest(
        "now", view_of(status_of(held), annotations=ASKED), "7", rotation_progress, "rotation", since=0
    )
    created = status_of(held, rotation=claim_of(step=Step.CREATE, version_id=None))
    assert request.handle(Changed(view_of(created, annotations=ASKED)), 1) is None
    assert request.result_at(1 + 10 * PATIENCE) is None
    assert request.status_line(1 + 10 * PATIENCE) == "CreateSecret"


def test_a_check_that_cannot_reach_the_database_is_waited_for_and_reported() -> None:
    before = view_of(status_of(), annotations=LOOK)
    request = PendingRequest("now", before, "7", resync_progress, "check", since=0)
    silent = with_condition(
        before, ConditionType.READY, status="False", reason="DatabaseUnreachable", message="no answer"
    )
    assert request.handle(Changed(silent), 1) is None
    assert request.result_at(PICK_UP_SECONDS + 10) is None
    assert request.status_line(PICK_UP_SECONDS + 10) == "was checked, but DatabaseUnreachable: no answer"
    late = request.timed_out(60, "rotated-secrets")
    assert late.outcome == "TimedOut"
    assert late.message.startswith("has not ended after 60 s (was checked, but DatabaseUnreachable: no answer)")
    assert "is an operator running" not in late.message
    handled = status_of(handled_requests=HandledRequests(resync="now"))
    result = request.handle(Changed(view_of(handled, annotations=LOOK)), 61)
    assert result is not None
    assert result.is_good


def test_an_unchanged_problem_does_not_count_as_a_new_check() -> None:
    silent = {"status": "False", "reason": "DatabaseUnreachable", "message": "no answer"}
    before = with_condition(view_of(status_of(), annotations=LOOK), ConditionType.READY, **silent)
    request = PendingRequest("now", before, "7", resync_progress, "check", since=0)
    output = (
        "was not picked up in 20 s (it was already not Ready before, DatabaseUnreachable: no answer); is an operator"
    )
    assert request.status_line(PICK_UP_SECONDS).startswith(output)
    assert request.timed_out(20, "rotated-secrets").message.startswith(output)
