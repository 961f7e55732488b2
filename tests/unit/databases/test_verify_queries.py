"""The loop that all engines run their verify queries in."""

from __future__ import annotations

import pytest

from rotated_secrets.databases import verify_queries
from rotated_secrets.databases.base import Unavailable
from rotated_secrets.databases.verify_queries import OutOfTime, Query, SessionOver, VerifyQueries


class Clock:
    """Stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(verify_queries, "time", clock)
    return clock


def test_each_failure_is_a_sentence_about_its_query_and_holds_no_text_of_it() -> None:
    def run(query: Query) -> str | None:
        return None if query.text == "good" else "failed: error 1"

    assert list(VerifyQueries(["bad", "good", "bad"], 5).failures(run)) == [
        "verify query 1 failed: error 1",
        "verify query 3 failed: error 1",
    ]


def test_out_of_time_ends_the_loop_and_says_at_which_query() -> None:
    ran = []

    def run(query: Query) -> str | None:
        ran.append(query.number)
        if query.number == 2:
            raise OutOfTime
        return None

    [failure] = VerifyQueries(["a", "b", "c"], 0.5).failures(run)
    assert failure == "verify queries took longer than 0.5 s together (at query 2); make them cheaper"
    assert ran == [1, 2]


def test_what_ends_the_session_ends_the_loop() -> None:
    def run(query: Query) -> str | None:
        raise SessionOver("returns too much")

    assert list(VerifyQueries(["a", "b"], 5).failures(run)) == ["verify query 1 returns too much"]


def test_what_may_succeed_later_is_raised() -> None:
    def run(query: Query) -> str | None:
        raise Unavailable("not now")

    with pytest.raises(Unavailable):
        list(VerifyQueries(["a"], 5).failures(run))


def test_the_queries_share_their_time_on_all_servers(clock: Clock) -> None:
    left = []

    def run(query: Query) -> str | None:
        left.append((query.left, query.is_late))
        clock.now += 2
        return None

    queries = VerifyQueries(["a", "b"], 5)
    assert list(queries.failures(run)) == []
    clock.now += 60  # what comes between two servers does not count
    assert list(queries.failures(run)) == []
    assert left == [(5, False), (3, False), (1, False), (0.001, True)]
