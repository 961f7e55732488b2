"""JSON objects keep every byte that nobody changes, however they are written."""

from __future__ import annotations

import json
import pickle
import random
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotated_secrets.json_object import (
    BYTE_ORDER_MARK,
    is_standard,
    json_text,
    parse_object,
    repeated_keys,
    with_keys_changed,
)

KEYS = st.sampled_from(("password", "username", "note", 'a"b', "{", "ü", ""))

digits = st.text("0123456789", min_size=1, max_size=30)
integers = st.sampled_from(("0", "-0", "7", "123456789012345678901234567890", "9" * 5000))
numbers = integers | st.builds(
    lambda whole, fraction, exponent: f"{whole}.{fraction}{exponent}",
    st.sampled_from(("0", "1", "-12")),
    digits,
    st.sampled_from(("", "e400", "E+2", "e-400")),
)
spaces = st.text(" \t\r\n", max_size=3)
strings = st.text(max_size=8).map(json.dumps) | st.text(max_size=8).map(
    lambda text: json.dumps(text, ensure_ascii=False)
)
strings |= st.sampled_from((r'"\ud83d"', r'"\u0061\/"', '"}"', '"\\\\"', '"\\""', '"[{"'))
scalars = numbers | strings | st.sampled_from(("true", "false", "null", "NaN", "-Infinity"))


def _list(inside: list[str], space: str) -> str:
    return f"[{space}{f' ,{space}'.join(inside)}{space}]"


def _object(members: list[tuple[str, str]], space: str) -> str:
    written = (f"{space}{json.dumps(key)}{space}:{space}{value}" for key, value in members)
    return f"{{{f'{space},'.join(written)}{space}}}"


written_values = st.recursive(
    scalars,
    lambda inside: (
        st.builds(_list, st.lists(inside, max_size=3), spaces)
        | st.builds(_object, st.lists(st.tuples(KEYS, inside), max_size=3), spaces)
    ),
    max_leaves=8,
)
members = st.lists(st.tuples(KEYS, written_values), max_size=6)


@given(members, spaces, st.sampled_from(("", BYTE_ORDER_MARK)), st.dictionaries(KEYS, st.text(max_size=6), max_size=3))
def test_only_the_keys_that_change_are_written_again(
    given_members: list[tuple[str, str]], space: str, mark: str, changes: dict[str, str]
) -> None:
    before = mark + space + _object(given_members, space) + space
    after = with_keys_changed(before, changes)
    kept = [value for key, value in given_members if key not in changes]
    position = 0
    for value in kept:
        position = after.index(value, position) + len(value)
    assert after.startswith(mark + space + "{")
    assert after.endswith("}" + space)
    found = parse_object(after)
    assert {key: found[key] for key in changes} == changes
    assert _shown(found, but=changes) == _shown(parse_object(before), but=changes)
    assert with_keys_changed(after, changes) == after


@given(st.lists(st.tuples(KEYS, written_values), max_size=6, unique_by=lambda member: member[0]), spaces)
def test_object_in_which_nothing_changes_is_the_same_text(given_members: list[tuple[str, str]], space: str) -> None:
    text = _object(given_members, space)
    same = {key: value for key, value in parse_object(text).items() if isinstance(value, str)}
    assert with_keys_changed(text, same) == text


def _shown(found: dict[str, Any], but: dict[str, str]) -> dict[str, str]:
    return {key: json_text(value) for key, value in found.items() if key not in but}


@given(st.lists(KEYS, max_size=8))
def test_repeated_keys_are_found(keys: list[str]) -> None:
    text = _object([(key, '{"x": 1, "x": 2}') for key in keys], " ")
    assert repeated_keys(text) == {key for key in keys if keys.count(key) > 1}


@given(numbers)
def test_number_keeps_its_text_wherever_it_stands(number: str) -> None:
    found = parse_object(f'{{"n": {number}, "more": [{{"n": {number}}}]}}')
    assert json_text(found["n"]) == number
    assert json_text(found["more"]) == f'[{{"n": {number}}}]'


@pytest.mark.parametrize("number", ["-0", "7", "1.5", "1.10", "1e400", "9" * 5000])
def test_number_keeps_its_text_on_the_way_into_a_cell(number: str) -> None:
    found = parse_object(f'{{"n": {number}}}')["n"]
    copy = pickle.loads(pickle.dumps(found))
    assert (copy, json_text(copy), type(copy)) == (found, number, type(found))


@pytest.mark.parametrize("part", ["1", "12", "1.5", "1.50", "-0", "1e5", "[]", "{}", '{"a":1}', '{"":{}}', '""'])
def test_a_value_takes_little_more_memory_than_a_list_of_its_parts_must(part: str) -> None:
    """Each of 128 workers may hold one while it waits for its host, all of a few namespaces."""
    text = f'{{"a":[{",".join([part] * (65_000 // (len(part) + 1)))}]}}'
    tracemalloc.start()
    try:
        found = parse_object(text)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found["a"]
    assert size < 5 << 19


def test_number_is_still_a_number() -> None:
    found = parse_object('{"port": 5432, "ratio": 0.50}')
    assert found == {"port": 5432, "ratio": 0.5}


def test_half_of_a_surrogate_pair_is_an_escape() -> None:
    assert json_text(["\ud83d", "ü"]) == r'["\ud83d", "ü"]'


def test_text_grows_by_no_escape_that_was_not_there() -> None:
    text = '{"note": "' + "ü" * 30_000 + r'\ud83d", "password": "x"}'
    assert with_keys_changed(text, {"password": "y"}) == text.replace('"x"', '"y"')


@pytest.mark.parametrize(
    ("text", "standard"),
    [('{"n": 1e400}', True), ('{"n": "NaN"}', True), ('{"n": [NaN]}', False), ('\ufeff{"n": -Infinity}', False)],
)
def test_numbers_that_json_does_not_have_are_found(text: str, standard: bool) -> None:
    assert is_standard(text) is standard


def test_brackets_in_texts_are_no_levels() -> None:
    brackets = "".join(random.Random(1).choice("[{") for _ in range(1000))
    assert parse_object(json.dumps({"a": brackets})) == {"a": brackets}
