"""Whatever is in a name or text, Redshift reads back what was written; a backslash is special to it."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from rotated_secrets.databases.redshift.rights import literal, quoted

# STRING and delimited identifier of Redshift's grammar, each to its closing quotation mark.
STRING = re.compile(r"'((?:[^'\\]|''|\\.)*)'", re.DOTALL)
NAME = re.compile(r'"((?:[^"]|"")*)"')
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40) | st.text(
    "'\"\\ab", max_size=20
)


def read_string(written: str) -> str:
    found = STRING.fullmatch(written)
    assert found, written
    return re.sub(r"''|\\(.)", lambda escape: escape[1] or "'", found[1], flags=re.DOTALL)


@given(TEXTS)
def test_a_text_is_read_back_as_it_was(text: str) -> None:
    assert read_string(literal(text)) == text


@given(TEXTS.filter(bool))
def test_a_name_is_read_back_as_it_was(name: str) -> None:
    found = NAME.fullmatch(quoted(name))
    assert found is not None
    assert found[1].replace('""', '"') == name
