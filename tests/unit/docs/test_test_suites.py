"""The parts of ``make test`` are all of it, and the workflow runs each of them."""

from __future__ import annotations

import re

import pytest
import yaml

from sandbox.applications.versions import NEWER, Version
from tests.support.documents import ROOT
from tests.support.examples import FRESH, are_repeated

MAKEFILE = (ROOT / "Makefile").read_text()
SUITES = {name: folders.split() for name, folders in re.findall(r"^suite\.(\w+) := (.+)$", MAKEFILE, re.MULTILINE)}
LEFT_OUT = set(re.findall(r"--ignore (tests/\w+)", MAKEFILE))
"""Folders that are no part of `make test`: each has its own target."""
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
JOBS = WORKFLOW["jobs"].values()


def folders_with_tests() -> list[str]:
    return sorted({f"tests/{path.relative_to(ROOT / 'tests').parts[0]}" for path in ROOT.glob("tests/**/test_*.py")})


def commands() -> set[str]:
    """What the workflow runs, with the matrix put in."""
    found = set()
    for job in JOBS:
        targets = job.get("strategy", {}).get("matrix", {}).get("target", [""])
        steps = [step["run"] for step in job["steps"] if "run" in step]
        found |= {step.replace("${{ matrix.target }}", target) for step in steps for target in targets}
    return found


def test_every_folder_of_tests_belongs_to_exactly_one_suite() -> None:
    assert sorted([*LEFT_OUT, *(folder for folders in SUITES.values() for folder in folders)]) == folders_with_tests()


def test_make_help_lists_every_suite() -> None:
    (line,) = re.findall(r"^test: .*## .*SUITE=(.*?) runs a part", MAKEFILE, re.MULTILINE)
    assert set(re.findall(r"\w+", line)) - {"or"} == SUITES.keys()


def test_the_workflow_runs_every_suite_and_all_else_that_must_pass() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    needed = {f"make {target}" for target in re.findall(r"^make (\S+)$", script, re.MULTILINE)}
    needed = (needed - {"make test"}) | {f"make test SUITE={name}" for name in SUITES}
    assert needed == {re.sub(r"^sudo --preserve-env=CI ", "", command) for command in commands()}


def test_property_tests_try_the_same_examples_each_time() -> None:
    """Each takes its settings from `tests.support.examples`; what is not in tests/unit, `make fuzz` would not run."""
    tests = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "tests").rglob("*.py")}
    support = {"tests/support/examples.py", "tests/support/fuzz.py"}
    own = [path for path, text in tests.items() if re.search(r"hypothesis(\.| import .*\b)settings\b", text)]
    assert set(own) == support
    users = {path for path, text in tests.items() if re.search(r"^(from|import) hypothesis\b", text, re.MULTILINE)}
    assert {path for path in users if not path.startswith("tests/unit/")} == support
    assert FRESH or are_repeated()
    assert re.search(r"^\tFUZZ_EXAMPLES=.* -m hypothesis .*\n.*,tests/unit\)$", MAKEFILE, re.MULTILINE)


def test_the_workflow_needs_no_secrets_and_no_permissions() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert "{{ secrets" not in (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def test_actions_are_pinned() -> None:
    used = [step["uses"] for job in JOBS for step in job["steps"] if "uses" in step]
    assert used
    assert [each for each in used if not re.fullmatch(r"[\w.-]+/[\w.-]+@(v\d+|[0-9a-f]{40})", each)] == []


@pytest.mark.parametrize("version", NEWER, ids=str)
def test_the_readme_names_every_server_of_make_test_versions(version: Version) -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    (row,) = [line for line in lines if line.startswith("| [") and f"| `{version.engine}`" in line and "✓" in line]
    tested_on = row.strip("| ").rpartition("|")[2]
    assert version.product in tested_on
    assert version.language is None or "German" in tested_on
