"""Verify queries of MongoDB read, and ask for one row at most."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotated_secrets.databases.mongo.queries import COMMANDS, NotAQuery, read_query


def test_a_find_is_cut_to_one_row_of_which_nothing_is_sent() -> None:
    assert read_query('{"find": "prices", "limit": 500}') == {
        "find": "prices",
        "limit": 1,
        "projection": {"_id": 1},
        "singleBatch": True,
    }


def test_an_aggregate_runs_whole_and_its_first_result_stays_there() -> None:
    command = read_query('{"aggregate": "prices", "pipeline": [{"$sort": {"_id": 1}}], "cursor": {"batchSize": 9}}')
    assert command["pipeline"][0] == {"$sort": {"_id": 1}}
    assert command["pipeline"][1:] == [{"$limit": 1}, {"$project": {"_id": 0, "one": {"$literal": 1}}}]
    assert command["cursor"] == {}


def test_types_without_a_word_in_json_are_written_in_extended_json() -> None:
    command = read_query('{"count": "prices", "query": {"_id": {"$oid": "5f1d7f1e8b0c9a0001d3b0aa"}}}')
    assert str(command["query"]["_id"]) == "5f1d7f1e8b0c9a0001d3b0aa"


@pytest.mark.parametrize("text", ["", "{", "null", "5", '"find"', '{"$oid": 1}', "[" * 100_000])
def test_what_is_no_command_is_told(text: str) -> None:
    with pytest.raises(NotAQuery):
        read_query(text)


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    try:
        command = read_query(text)
    except NotAQuery as error:
        assert len(str(error)) < 200
    else:
        assert next(iter(command)) in COMMANDS


@pytest.mark.parametrize("name", ["insert", "update", "delete", "mapReduce", "eval", "getMore", "createUser", "$eval"])
def test_no_other_command_is_taken(name: str) -> None:
    with pytest.raises(NotAQuery, match="has to begin with"):
        read_query(f'{{"{name}": "prices"}}')
