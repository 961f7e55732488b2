"""Exit codes, lines and records of results, and messages for a wait that ends without one."""

from __future__ import annotations

import pytest

from rotated_secrets.api.status import Outcome
from rotated_secrets.cli.requests.messages import timed_out
from rotated_secrets.cli.requests.progress import (
    NotPickedUp,
    RotationEnded,
    Running,
)
from rotated_secrets.cli.requests.result import RequestOutcome, RequestResult, exit_code, outcome_of
from tests.support.cli.resource_builders import claim_of, entry_of, status_of, view_of


def answer_of(outcome: RequestOutcome) -> RequestResult:
    return RequestResult("shop", "orders-db", "now", outcome, "is so")


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([], 0),
        ([RequestOutcome.ASKED, RequestOutcome.SUCCEEDED, RequestOutcome.READY], 0),
        ([RequestOutcome.SUCCEEDED, RequestOutcome.HELD], 2),
        ([RequestOutcome.HELD, RequestOutcome.FAILED], 1),
        ([RequestOutcome.FAILED, RequestOutcome.INTERRUPTED], 130),
        *([[each], 1] for each in RequestOutcome if each not in ("Asked", "Succeeded", "Ready", "Held", "Interrupted")),
    ],
)
def test_the_exit_code_is_that_of_the_worst_result(outcomes: list[RequestOutcome], code: int) -> None:
    assert exit_code(map(answer_of, outcomes)) == code


def test_every_outcome_of_an_attempt_is_an_outcome_of_a_request() -> None:
    for outcome in Outcome:
        attempt = view_of(status_of(history=(entry_of(outcome),))).history[0]
        ended = outcome_of(RotationEnded(attempt, status_updated=True), quiet=0, patience=5)
        assert ended is not None
        assert ended[0].value == outcome.value


def test_a_timeout_says_where_to_look() -> None:
    resource = view_of(status_of())
    output = timed_out(NotPickedUp(), resource, 90, "kubectl rotatedsecret")
    assert output.startswith("was not picked up in 90 s; is an operator running that serves namespace shop?")
    claim = view_of(status_of(rotation=claim_of())).claim
    assert claim is not None
    output = timed_out(Running(claim, "no route to host"), resource, 90, "kubectl rotatedsecret")
    assert "has not ended after 90 s (SetSecret: no route to host)" in output
    assert output.endswith("see kubectl rotatedsecret describe -n shop orders-db")


def test_a_result_has_a_line_and_a_record() -> None:
    attempt = view_of(status_of(history=(entry_of(),))).history[0]
    result = RequestResult("shop", "orders-db", "now", RequestOutcome.SUCCEEDED, "rotated", attempt)
    assert result.line().plain == "✓ shop/orders-db rotated"
    assert result.record() == {
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
    assert [answer_of(each).line().plain[0] for each in (RequestOutcome.HELD, RequestOutcome.FAILED)] == ["‖", "✗"]
