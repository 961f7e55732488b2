"""Verify queries for MongoDB: read commands, written as JSON. Pure.

``{"find": "prices", "filter": {"currency": "EUR"}}``: the command's name comes first, then its fields as MongoDB's
manual has them, in Extended JSON for types that JSON lacks. Only commands are allowed that read little, write nothing
and run no JavaScript; of the rows the operator asks only whether there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bson import json_util
from bson.errors import BSONError

Document = dict[str, Any]

COMMANDS: Mapping[str, frozenset[str]] = {
    "ping": frozenset(),
    "find": frozenset({"filter", "sort", "projection", "skip", "limit", "hint", "collation", "min", "max", "comment"}),
    "count": frozenset({"query", "limit", "skip", "hint", "collation", "comment"}),
    "aggregate": frozenset({"pipeline", "collation", "hint", "let", "comment", "cursor"}),
}
_REFUSED: Mapping[str, str] = {
    "$out": "writes, and a verify query only reads",
    "$merge": "writes, and a verify query only reads",
    "$where": "runs JavaScript; use MongoDB's operators",
    "$function": "runs JavaScript; use MongoDB's operators",
    "$accumulator": "runs JavaScript; use MongoDB's operators",
    "$changeStream": "waits for future changes; a verify query reads what exists",
}


class NotAQuery(Exception):
    """Says what a verify query has to be; holds nothing of the query but names."""


def read_query(text: str) -> Document:
    """Return the command to send for a verify query, without a time limit.

    Raises:
        NotAQuery
    """
    try:
        command = json_util.loads(text)
    except (ValueError, TypeError, KeyError, RecursionError, BSONError):
        command = None
    if not isinstance(command, dict) or not command:
        raise NotAQuery('it has to be a JSON object such as {"find": "prices"}')
    name = next(iter(command))
    if name not in COMMANDS:
        raise NotAQuery(f"it has to begin with one of {', '.join(COMMANDS)}")
    if name != "ping" and not isinstance(command[name], str):
        raise NotAQuery(f"{name} has to name a collection")
    beyond = sorted(command.keys() - COMMANDS[name] - {name})
    if beyond:
        raise NotAQuery(f"{name} may have only {', '.join(sorted(COMMANDS[name])) or 'its own field'}")
    for key in _keys(command):
        if key in _REFUSED:
            raise NotAQuery(f"{key} {_REFUSED[key]}")
    if name == "find":
        return {**_one_row(command), "limit": 1, "singleBatch": True}
    if name == "aggregate":
        return _one_result(command)
    return command


def _one_row(command: Document) -> Document:
    return command if "projection" in command else {**command, "projection": {"_id": 1}}


def _one_result(command: Document) -> Document:
    pipeline = command.get("pipeline")
    if not isinstance(pipeline, list):
        raise NotAQuery("aggregate has to have a pipeline, a list of stages")
    # The server runs all of it as far as its first result, and keeps that to itself.
    one = ({"$limit": 1}, {"$project": {"_id": 0, "one": {"$literal": 1}}})
    return {**command, "pipeline": [*pipeline, *one], "cursor": {}}


def _keys(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)
