"""docs/reference.md is what ``make reference`` writes."""

from __future__ import annotations

import pytest

from sandbox.reference import LINKS, PAGE, TABLES, NoPlace, written


def test_the_page_is_what_the_models_say() -> None:
    page = PAGE.read_text()
    assert page == written(page), "run: make reference"


def test_an_edited_row_is_written_again() -> None:
    page = PAGE.read_text()
    assert "| Which secret in AWS Secrets Manager is rotated. |" in page
    assert written(page.replace("| Which secret in AWS Secrets Manager is rotated. |", "| A secret. |")) == page


def test_text_beside_the_tables_stays() -> None:
    page = PAGE.read_text().replace("# Reference\n", "# Reference\n\nA sentence by hand.\n", 1)
    assert written(page) == page


@pytest.mark.parametrize("table", TABLES)
def test_a_page_without_a_place_for_a_table_is_refused(table: str) -> None:
    with pytest.raises(NoPlace, match=f"end of {table}"):
        written(PAGE.read_text().replace(f"<!-- end of {table} -->", ""))


@pytest.mark.parametrize("name", LINKS)
def test_every_link_belongs_to_a_row(name: str) -> None:
    (row,) = (line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{name}` |"))
    assert row.endswith(f"{LINKS[name]} |")
