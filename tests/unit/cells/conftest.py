"""Cells for tests: one zygote for all of a file."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rotated_secrets.cells import Cell, CellLimits, Cells, CellSettings
from tests.support.cell_work import Declared, Work

MODULES = ("tests.support.cell_work",)
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def importable() -> Iterator[None]:
    """The zygote finds the modules of tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        yield


@pytest.fixture
def outcomes() -> Counter[str]:
    return Counter()


@pytest.fixture
def make_cells(importable: None, outcomes: Counter[str]) -> Iterator[Callable[..., Cells]]:
    with contextlib.ExitStack() as made:

        def make(**settings: Any) -> Cells:
            def ended(outcome: str, output: int) -> None:
                outcomes.update([outcome])
                outcomes["output"] += output

            cells = Cells(CellSettings(modules=MODULES, **settings), ended)
            made.callback(cells.close)
            return cells

        yield make


@pytest.fixture(scope="module")
def shared(importable: None) -> Iterator[Cells]:
    cells = Cells(CellSettings(modules=MODULES))
    yield cells
    cells.close()


@pytest.fixture
def open_cell(shared: Cells) -> Iterator[Callable[..., Cell]]:
    """Opens a cell with an object of class Work in it."""
    with contextlib.ExitStack() as opened:

        def open_(work: Work | None = None, *, tenant: str = "shop", **limits: Any) -> Cell:
            cell = shared.open(work or Work(), tenant=tenant, limits=CellLimits(**limits), declared=(Declared,))
            opened.callback(cell.close)
            return cell

        yield open_
