"""CONTRIBUTING draws the house: its floors, rooms and limits are those of the tree."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

from rotated_secrets.databases.registry import BUILT_IN
from tests.support.documents import ROOT

PACKAGE = ROOT / "operator" / "rotated_secrets"
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CONTRACTS = {
    contract["name"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}
MODULES = sorted(PACKAGE.rglob("*.py"))
ENGINES = {target.split(":")[0].rpartition(".")[2] for target in BUILT_IN.values()} | {"webhook"}
"""Packages of one shape, whose classes may share names."""
MOST_MODULES, MOST_LINES = 8, 350


def table(first_header: str) -> list[list[str]]:
    """The cells of a table, row by row, without its header."""
    lines = iter(PAGE.splitlines())
    for line in lines:
        if line.startswith(f"| {first_header} |"):
            break
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def layers(contract: str) -> list[set[str]]:
    return [set(re.split(r"[ |:]+", layer)) for layer in CONTRACTS[contract]["layers"]]


def test_floors_are_the_layers_that_imports_keep() -> None:
    drawn = [set(re.findall(r"`(\w+)`", row[1])) for row in table("floor")]
    kept = [layer for layer in layers("Imports only go down") if layer != {"__main__"}]
    assert drawn == kept
    assert [int(row[0]) for row in table("floor")] == list(range(len(kept), 0, -1))


def test_rooms_of_the_controller_are_the_layers_that_imports_keep() -> None:
    drawn = [set(re.findall(r"`(\w+)`", row[0])) for row in table("room")]
    assert drawn == layers("The rooms of the controller")
    found = {path.stem for path in (PACKAGE / "controller").iterdir() if path.stem not in ("__init__", "__pycache__")}
    assert set().union(*drawn) == found


def test_every_file_that_is_named_is_there() -> None:
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", PAGE))
    rooms = [ROOT, PACKAGE, PACKAGE / "controller", ROOT / "tests" / "unit"]
    assert named
    assert [name for name in sorted(named) if not any((room / name).exists() for room in rooms)] == []


def test_only_one_file_imports_kopf() -> None:
    importing = [path for path in MODULES if re.search(r"^\s*(import|from) kopf\b", path.read_text(), re.MULTILINE)]
    assert importing == [PACKAGE / "controller" / "watch" / "informer.py"]


def test_the_plan_is_asked_in_one_place() -> None:
    """Product, models and suites run the same loop. Tests of the plan itself are aside."""
    everything = [*MODULES, *(ROOT / "sandbox").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    importing = [
        path for path in everything if re.search(r"import plan$|rotation\.plan import", path.read_text(), re.M)
    ]
    tests = ROOT / "tests" / "unit" / "rotation"
    assert [path for path in importing if path.parent != tests] == [PACKAGE / "rotation" / "run.py"]


@pytest.mark.parametrize("room", sorted((PACKAGE / "controller").glob("*/")), ids=lambda room: room.name)
def test_room_of_the_controller_has_few_modules(room: Path) -> None:
    assert len([path for path in room.glob("*.py") if path.stem != "__init__"]) <= MOST_MODULES


def test_files_can_be_read_in_one_sitting() -> None:
    long = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in MODULES}
    assert {path: lines for path, lines in long.items() if lines > MOST_LINES} == {}


def test_no_two_classes_share_a_name() -> None:
    """Engines are parallel packages, and may."""
    found = defaultdict(set)
    for path in MODULES:
        where = path.relative_to(PACKAGE)
        if where.parts[0] == "databases" and len(where.parts) > 2 and where.parts[1] in ENGINES:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found[node.name].add(str(where))
    assert {name: sorted(places) for name, places in found.items() if len(places) > 1} == {}
