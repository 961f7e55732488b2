"""What comes out of a cell: values of the expected type, declared errors, else one plain sentence."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from rotated_secrets.cells import Cell, CellFailed
from rotated_secrets.cells.cell import MOST_PARTS
from rotated_secrets.values import SecretText
from tests.support.cell_work import Declared, Work

OpenCell = Callable[..., Cell]


@dataclass(frozen=True)
class Pair:
    left: str
    right: tuple[int, ...]


def call(cell: Cell, method: str, *arguments: object, returns: Any = object, within: float = 20, **options: Any) -> Any:
    return cell.call(method, *arguments, returns=returns, within=within, **options)


def test_methods_are_called_one_after_the_other(open_cell: OpenCell) -> None:
    cell = open_cell()
    assert [call(cell, "echo", each, returns=int) for each in range(3)] == [0, 1, 2]
    assert cell.is_open


def test_an_answer_becomes_the_type_that_is_expected(open_cell: OpenCell) -> None:
    cell = open_cell()
    assert call(cell, "echo", {"left": "a", "right": [1, 2]}, returns=Pair) == Pair("a", (1, 2))


@pytest.mark.parametrize("answer", [None, "text", 7, {"left": "a"}, {"left": 1, "right": ["x"]}])
def test_an_answer_of_another_type_ends_the_cell(open_cell: OpenCell, answer: object) -> None:
    cell = open_cell()
    with pytest.raises(CellFailed, match="no answer"):
        call(cell, "echo", answer, returns=Pair)
    assert not cell.is_open


@pytest.mark.parametrize("answer", [[[]], [{}], [1, 2, 3, 4]])
def test_an_answer_of_very_many_elements_is_not_parsed(
    open_cell: OpenCell, answer: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A megabyte of them would take a hundred once it is parsed, in each of many threads."""
    cell = open_cell()
    many = answer * (MOST_PARTS // 8)
    assert call(cell, "echo", many, returns=list[Any]) == many
    parsed: list[bytes] = []
    monkeypatch.setattr(json, "loads", parsed.append)
    with pytest.raises(CellFailed, match="something that is no answer"):
        call(cell, "echo", answer * MOST_PARTS, returns=list[Any])
    assert parsed == []
    assert not cell.is_open


def test_a_secret_text_goes_into_a_cell_though_it_cannot_be_pickled(open_cell: OpenCell) -> None:
    assert call(open_cell(Work(SecretText("seven77"))), "length", returns=int) == 7


@pytest.mark.parametrize("kind", ["Declared", "Special"])
def test_a_declared_error_arrives_as_itself(open_cell: OpenCell, kind: str) -> None:
    cell = open_cell()
    with pytest.raises(Declared, match="user app was refused"):
        call(cell, "raises", kind, "user app was refused")
    assert call(cell, "echo", 1, returns=int) == 1


def test_another_error_is_told_by_kind_and_place_and_never_by_its_text(open_cell: OpenCell) -> None:
    cell = open_cell()
    with pytest.raises(CellFailed) as failed:
        call(cell, "raises", "KeyError", "hunter2")
    assert str(failed.value).startswith("failed (KeyError at support/cell_work.py:")
    assert "hunter2" not in str(failed.value)


def test_an_error_is_one_line_of_bounded_length(open_cell: OpenCell) -> None:
    forged = 'refused\n{"level": "INFO", "message": "all is well"}\r\u2028\x1b[2J' + "x" * 100_000
    with pytest.raises(Declared) as failed:
        call(open_cell(), "raises", "Declared", forged)
    assert len(str(failed.value)) <= 4000
    assert str(failed.value).isprintable()


def test_texts_of_an_answer_are_one_line_where_it_is_not_asked_otherwise(open_cell: OpenCell) -> None:
    cell = open_cell()
    assert call(cell, "echo", ["a\nb", {"c\n": "d\x00"}], returns=list[Any]) == ["a b", {"c ": "d "}]
    assert call(cell, "echo", ["a\nb"], returns=list[str], one_line=False) == ["a\nb"]


@pytest.mark.parametrize("size", [1025, 2**32 - 1])
def test_an_answer_larger_than_accepted_ends_the_cell(open_cell: OpenCell, size: int) -> None:
    cell = open_cell()
    with pytest.raises(CellFailed, match="more than it can"):
        call(cell, "announce", size, most=1024)
    assert not cell.is_open


@pytest.mark.parametrize("content", ["", "[]", "{}", "nonsense", '{"value": ', "[" * 1000, '{"raised": "SystemExit"}'])
def test_what_is_no_answer_ends_the_cell(open_cell: OpenCell, content: str) -> None:
    cell = open_cell()
    with pytest.raises(CellFailed):
        call(cell, "write_raw", content, returns=int)
    assert not cell.is_open


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_is_told(open_cell: OpenCell, number: int) -> None:
    cell = open_cell()
    with pytest.raises(CellFailed, match="crashed"):
        call(cell, "die", number)
    assert not cell.is_open
    with pytest.raises(CellFailed, match="has ended before"):
        call(cell, "echo", 1)


def test_what_takes_too_long_is_ended(open_cell: OpenCell) -> None:
    cell = open_cell()
    with pytest.raises(CellFailed, match=r"did not end within 0\.2 s") as failed:
        call(cell, "sleep", 60, within=0.2)
    assert failed.value.outcome == "time"
    assert not cell.is_open


def test_a_stack_that_overflows_ends_the_cell_alone(open_cell: OpenCell) -> None:
    with pytest.raises(CellFailed):
        call(open_cell(), "recurse")
    assert call(open_cell(), "echo", 1, returns=int) == 1
